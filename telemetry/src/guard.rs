//! The secret that metrics and pages ask for.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::sync::Arc;

/// Lets a request pass that shows the secret, if there is one.
pub(crate) async fn check(
    State(secret): State<Arc<str>>,
    request: Request,
    next: Next,
) -> Response {
    if secret.is_empty() || shows(request.headers(), secret.as_bytes()) {
        return next.run(request).await;
    }
    let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"tulpar\"")];
    let text = "show the http_secret: as a bearer token, or as the password of any user\n";
    (StatusCode::UNAUTHORIZED, challenge, text).into_response()
}

fn shows(headers: &HeaderMap, secret: &[u8]) -> bool {
    let Some(given) = headers
        .get(header::AUTHORIZATION)
        .and_then(|given| given.to_str().ok())
    else {
        return false;
    };
    match given.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            same(token.trim().as_bytes(), secret)
        }
        Some((scheme, encoded)) if scheme.eq_ignore_ascii_case("basic") => {
            let decoded = BASE64_STANDARD.decode(encoded.trim()).unwrap_or_default();
            let password = decoded.splitn(2, |&byte| byte == b':').nth(1);
            password.is_some_and(|password| same(password, secret))
        }
        _ => false,
    }
}

/// Compares in a time that does not tell how much of a guess was right.
fn same(given: &[u8], secret: &[u8]) -> bool {
    let mut difference = given.len() ^ secret.len();
    for (index, byte) in secret.iter().enumerate() {
        difference |= usize::from(byte ^ given.get(index).unwrap_or(&0));
    }
    difference == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(authorization: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, authorization.parse().unwrap())])
    }

    #[test]
    fn the_secret_is_a_bearer_token_or_the_password_of_any_user() {
        let encoded = |pair: &str| format!("Basic {}", BASE64_STANDARD.encode(pair));
        for good in [
            "Bearer s:1",
            "bearer s:1",
            &encoded("ada:s:1"),
            &encoded(":s:1"),
        ] {
            assert!(shows(&with(good), b"s:1"), "{good}");
        }
        for bad in [
            "",
            "Bearer",
            "Bearer s:",
            "Bearer s:11",
            "s:1",
            "Basic ???",
            &encoded("s:1"),
            &encoded("ada"),
        ] {
            assert!(!shows(&with(bad), b"s:1"), "{bad}");
        }
        assert!(!shows(&HeaderMap::new(), b"s:1"));
    }
}
