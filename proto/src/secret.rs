//! Secrets that callers show: the operators' in the metadata of each call, and how a shown one is compared with the one that is kept.

use std::fmt;
use std::sync::Arc;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::{Request, Status};

/// The metadata key in which operators show the admin secret.
pub const ADMIN_SECRET: &str = "admin-secret";

/// Stands before a whole service, so that no call of it, also none that it gets later, is answered without the admin secret.
#[derive(Clone)]
pub struct AdminGuard(Arc<str>);

impl AdminGuard {
    /// `secret`: what must be shown. Empty: nothing.
    pub fn new(secret: &str) -> Self {
        Self(secret.into())
    }

    /// The service behind the guard.
    pub fn before<S>(self, service: S) -> InterceptedService<S, Self> {
        InterceptedService::new(service, self)
    }
}

impl fmt::Debug for AdminGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminGuard")
    }
}

impl Interceptor for AdminGuard {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let shown = request.metadata().get(ADMIN_SECRET);
        let shown = shown.map_or(&[][..], |value| value.as_bytes());
        if self.0.is_empty() || same(shown, self.0.as_bytes()) {
            return Ok(request);
        }
        let text = "the admin secret is missing or wrong";
        Err(Status::unauthenticated(text))
    }
}

/// Compares in a time that does not tell how much of a guess was right.
pub fn same(shown: &[u8], kept: &[u8]) -> bool {
    let differ = shown
        .iter()
        .zip(kept)
        .fold(shown.len() ^ kept.len(), |differ, (a, b)| {
            differ | usize::from(a ^ b)
        });
    differ == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(secret: &str, shown: Option<&str>) -> bool {
        let mut request = Request::new(());
        if let Some(shown) = shown {
            let shown = shown.parse().unwrap();
            request.metadata_mut().insert(ADMIN_SECRET, shown);
        }
        AdminGuard::new(secret).call(request).is_ok()
    }

    #[test]
    fn only_the_whole_secret_opens() {
        assert!(answer("open sesame", Some("open sesame")));
        assert!(!answer("open sesame", None));
        for wrong in ["", "open", "open sesamE", "open sesame and more"] {
            assert!(!answer("open sesame", Some(wrong)), "{wrong}");
        }
        assert!(answer("", None) && answer("", Some("anything")));
    }
}
