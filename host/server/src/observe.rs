//! Records each request for the operator: its id, a span, a log line at its end, and the counters
//! of `metrics.rs`. Tokens and bodies are never recorded.

use crate::api::App;
use crate::problem::Problem;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::any::Any;
use std::sync::Arc;
use std::time::Instant;
use tracing::{Instrument, field};
use uuid::Uuid;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The largest number of characters of a client's own request id.
const ID_CHARS_MAX: usize = 64;

pub(crate) async fn observe(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let method = known(request.method());
    let matched = request.extensions().get::<MatchedPath>();
    let route = matched.map_or("unknown", MatchedPath::as_str).to_owned();
    let span = tracing::info_span!(
        "request",
        id = id.to_str().unwrap_or_default(),
        method,
        route,
        principal = field::Empty,
        status = field::Empty,
    );

    let begun = Instant::now();
    let mut response = next.run(request).instrument(span.clone()).await;
    let took = begun.elapsed();

    let status = response.status().as_u16();
    span.record("status", status);
    span.in_scope(|| tracing::info!(took_us = took.as_micros(), "answered"));
    app.metrics.answered(method, &route, status, took);
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// Returns the client's own id, if it is a short word; otherwise a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let word = |text: &str| {
        let fits = (1..=ID_CHARS_MAX).contains(&text.len());
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
        fits && text.chars().all(plain)
    };

    let sent = headers.get(REQUEST_ID);
    let sane = sent.filter(|id| id.to_str().is_ok_and(word));
    let made = || HeaderValue::from_str(&Uuid::now_v7().to_string());
    sane.cloned()
        .or_else(|| made().ok())
        .unwrap_or_else(|| HeaderValue::from_static("none"))
}

/// Returns the name of a standard method. All others count as one, so that clients cannot add
/// entries to the metrics without limit.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::PUT => "PUT",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// Returns the response to a request whose route panicked, without the panic's message.
#[expect(clippy::needless_pass_by_value, reason = "the layer hands it over")]
pub(crate) fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    Problem::internal(text.unwrap_or("a panic without words")).into_response()
}
