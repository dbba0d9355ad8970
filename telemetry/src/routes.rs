//! What is answered at which path.
//!
//! `/health` and `/ready` are for whoever starts servers and sends clients to them: 200, or 503 with the reason in one line; they say nothing of
//! the data and need no secret. `/metrics` and the server's own pages do.

use crate::exposition::CONTENT_TYPE;
use crate::{Exposition, Subject, guard, process};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, body::Body};
use std::sync::Arc;
use std::time::Duration;

/// How long an answer may take in all.
const ANSWER: Duration = Duration::from_secs(5);

struct Shown<S> {
    subject: Arc<S>,
    /// When the process started, in Unix time.
    started: f64,
}

impl<S> Clone for Shown<S> {
    fn clone(&self) -> Self {
        Self {
            subject: self.subject.clone(),
            started: self.started,
        }
    }
}

pub(crate) fn router<S: Subject>(subject: Arc<S>, secret: &str, started: f64) -> Router {
    let secret: Arc<str> = secret.into();
    let shown = Shown { subject, started };
    let guarded = Router::new()
        .route("/metrics", get(metrics::<S>))
        .with_state(shown.clone())
        .merge(shown.subject.clone().pages())
        .layer(middleware::from_fn_with_state(secret, guard::check));
    Router::new()
        .route("/health", get(health::<S>))
        .route("/ready", get(ready::<S>))
        .with_state(shown)
        .merge(guarded)
        .layer(middleware::from_fn(in_time))
}

async fn health<S: Subject>(State(shown): State<Shown<S>>) -> Response {
    verdict(shown.subject.health())
}

async fn ready<S: Subject>(State(shown): State<Shown<S>>) -> Response {
    verdict(readiness(&*shown.subject).await)
}

/// What does not move serves nobody.
async fn readiness<S: Subject>(subject: &S) -> Result<(), String> {
    subject.health()?;
    subject.ready().await
}

fn verdict(said: Result<(), String>) -> Response {
    match said {
        Ok(()) => "ok\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason + "\n").into_response(),
    }
}

async fn metrics<S: Subject>(State(shown): State<Shown<S>>) -> Response {
    let subject = &*shown.subject;
    let mut exposition = Exposition::default();
    process::describe(subject.role(), shown.started, &mut exposition);
    exposition.gauge(
        "tulpar_healthy",
        "Whether /health says that the process moves.",
        f64::from(u8::from(subject.health().is_ok())),
    );
    exposition.gauge(
        "tulpar_ready",
        "Whether /ready says that clients may be sent here.",
        f64::from(u8::from(readiness(subject).await.is_ok())),
    );
    subject.describe(&mut exposition).await;
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], exposition.text()).into_response()
}

/// No request is waited for without end, and no answer is kept by whoever passes it on.
async fn in_time(request: Request<Body>, next: Next) -> Response {
    let answered = tokio::time::timeout(ANSWER, next.run(request)).await;
    let mut response = answered.unwrap_or_else(|_| {
        let text = "the server did not answer in time\n";
        (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
    });
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}
