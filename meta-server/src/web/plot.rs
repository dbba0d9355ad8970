//! Lines over the last hour, as SVG in the page: colours come from the page's style, so that they suit dark screens too.

use super::history::{STEP, STEPS};
use maud::{Markup, html};
use std::fmt::Write;

const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 120.0;

/// One line: what it is called, and a value for each step; NaN where there is none.
pub(super) type Line = (&'static str, Vec<f64>);

/// A plot with its title, the scale, and the last value of each line. `unit` writes a value.
pub(super) fn plot(title: &str, lines: &[Line], unit: fn(f64) -> String) -> Markup {
    let all = lines.iter().flat_map(|(_, values)| values);
    let top = all.fold(0.0_f64, |top, &value| top.max(value));
    let minutes = STEP.as_secs() * STEPS as u64 / 60;
    html! {
        figure {
            figcaption {
                b { (title) }
                @for (index, (name, values)) in lines.iter().enumerate() {
                    " " span class={ "key k" (index) } { (name) " " (last(values, unit)) }
                }
            }
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-label=(title) {
                line class="grid" x1="0" y1=(HEIGHT / 2.0) x2=(WIDTH) y2=(HEIGHT / 2.0) {}
                line class="grid" x1="0" y1=(HEIGHT - 0.5) x2=(WIDTH) y2=(HEIGHT - 0.5) {}
                @for (index, (_, values)) in lines.iter().enumerate() {
                    polyline class={ "line k" (index) } points=(points(values, top, WIDTH, HEIGHT)) {}
                }
            }
            p.scale { span { (minutes) " min ago" } span { "top: " (unit(top)) } span { "now" } }
        }
    }
}

/// The newest value, as a person reads it.
fn last(values: &[f64], unit: fn(f64) -> String) -> String {
    match values.last() {
        Some(value) if !value.is_nan() => unit(*value),
        _ => "none".into(),
    }
}

/// A small line for a row of a table.
pub(super) fn spark(values: &[f64]) -> Markup {
    const SIZE: (f64, f64) = (90.0, 18.0);
    let top = values.iter().fold(0.0_f64, |top, &value| top.max(value));
    html! {
        svg.spark viewBox={ "0 0 " (SIZE.0) " " (SIZE.1) } preserveAspectRatio="none" aria-hidden="true" {
            polyline class="line k0" points=(points(values, top, SIZE.0, SIZE.1)) {}
        }
    }
}

/// The corners of a line; those between two equal neighbours are left out, and so is what is no number.
fn points(values: &[f64], top: f64, width: f64, height: f64) -> String {
    let mut text = String::new();
    let last = values.len().saturating_sub(1);
    for (index, &value) in values.iter().enumerate() {
        let same = |other: usize| values.get(other) == Some(&value);
        let between = index > 0 && index < last && same(index - 1) && same(index + 1);
        if value.is_nan() || between {
            continue;
        }
        let share = if top > 0.0 { value / top } else { 0.0 };
        let x = width * index as f64 / last.max(1) as f64;
        let y = (height - 2.0) * (1.0 - share) + 1.0;
        let _ = write!(text, "{x:.1},{y:.1} ");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reaches_from_the_bottom_to_the_top_of_its_own_scale() {
        assert_eq!(
            points(&[0.0, 5.0, 10.0], 10.0, 100.0, 12.0),
            "0.0,11.0 50.0,6.0 100.0,1.0 "
        );
        let nan = f64::NAN;
        assert_eq!(points(&[nan, 5.0, nan], 5.0, 100.0, 12.0), "50.0,1.0 ");
        assert_eq!(last(&[1.0, nan], |_| String::new()), "none");
        assert_eq!(
            points(&[0.0; 180], 0.0, 100.0, 12.0),
            "0.0,11.0 100.0,11.0 "
        );
    }
}
