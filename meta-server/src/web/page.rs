//! What every page has: head, style, the way back, and the links between the pages of a long list.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use telemetry::axum;

/// Rows of a list on one page.
pub(super) const ROWS: usize = 100;

const STYLE: &str = include_str!("style.css");
/// Nothing is loaded or run, whatever a name on the page looks like.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// How often a page that shows the present asks for itself again, in seconds.
const REFRESH: u32 = 10;

/// Whether a page is loaded again by itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Refresh {
    Yes,
    No,
}

/// A whole page.
pub(super) fn page(title: &str, refresh: Refresh, body: &Markup) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                @if refresh == Refresh::Yes {
                    meta http-equiv="refresh" content=(REFRESH);
                }
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { (body) }
        }
    };
    ([(header::CONTENT_SECURITY_POLICY, POLICY)], page).into_response()
}

/// Which part of a list of `total` a page shows: the number of the page, at least 1, and how many pages there are.
pub(super) fn part(asked: Option<usize>, total: usize) -> (usize, usize) {
    let pages = total.div_ceil(ROWS).max(1);
    (asked.unwrap_or(1).clamp(1, pages), pages)
}

/// Links to the neighbouring pages; nothing if there is only one. `link` makes the address of a page.
pub(super) fn pager((number, pages): (usize, usize), link: impl Fn(usize) -> String) -> Markup {
    html! {
        @if pages > 1 {
            nav.pager {
                @if number > 1 {
                    a href=(link(1)) { "first" } " "
                    a href=(link(number - 1)) rel="prev" { "previous" } " "
                }
                span { "page " (number) " of " (pages) }
                @if number < pages {
                    " " a href=(link(number + 1)) rel="next" { "next" }
                    " " a href=(link(pages)) { "last" }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_is_cut_into_pages_and_any_number_leads_to_one_of_them() {
        assert_eq!(part(None, 0), (1, 1));
        assert_eq!(part(Some(0), 10_000), (1, 100));
        assert_eq!(part(Some(7), 10_001), (7, 101));
        assert_eq!(part(Some(usize::MAX), 101), (2, 2));
        let links = pager((2, 3), |page| format!("?page={page}")).into_string();
        assert!(
            links.contains("?page=1") && links.contains("?page=3") && links.contains("page 2 of 3")
        );
        assert!(pager((1, 1), |_| String::new()).into_string().is_empty());
    }
}
