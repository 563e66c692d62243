//! Extractors for the routes. Every refusal is a problem with a name, and an unknown field is
//! refused rather than ignored.

use crate::access::{Arrival, Principal};
use crate::problem::Problem;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use std::convert::Infallible;
use std::fmt::Display;
use std::str::FromStr;

/// The sender of the request.
pub(crate) struct Caller(pub(crate) Principal);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let known = parts.extensions.get::<Principal>().cloned();
        known.map(Self).ok_or_else(|| {
            // `guard.rs` lets no request pass without one.
            Problem::new(
                "unauthenticated",
                "this request came past the server's guard",
            )
        })
    }
}

/// How the request arrived.
pub(crate) struct Arrived(pub(crate) Arrival);

impl<S: Sync> FromRequestParts<S> for Arrived {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let known = parts.extensions.get::<Arrival>().copied();
        Ok(Self(known.unwrap_or(Arrival::Unknown)))
    }
}

/// The single id in the path.
pub(crate) struct At<T>(pub(crate) T);

/// The single name in the path, with any value.
pub(crate) struct Raw(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Raw {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let [text] = texts(parts, state).await?;
        Ok(Self(text))
    }
}

/// The two ids in the path.
pub(crate) struct At2<A, B>(pub(crate) A, pub(crate) B);

impl<S: Send + Sync, T: FromStr<Err: Display>> FromRequestParts<S> for At<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let [text] = texts(parts, state).await?;
        Ok(Self(id(&text)?))
    }
}

impl<S, A, B> FromRequestParts<S> for At2<A, B>
where
    S: Send + Sync,
    A: FromStr<Err: Display>,
    B: FromStr<Err: Display>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let [first, second] = texts(parts, state).await?;
        Ok(Self(id(&first)?, id(&second)?))
    }
}

/// Returns the last parameters of the path: an embedder may have nested the API below some of its
/// own.
async fn texts<const N: usize, S: Send + Sync>(
    parts: &mut Parts,
    state: &S,
) -> Result<[String; N], Problem> {
    let params = RawPathParams::from_request_parts(parts, state).await;
    let params = params.map_err(|rejected| Problem::new("invalid-id", rejected.body_text()))?;
    let texts: Vec<_> = params.iter().map(|(_, text)| text.to_owned()).collect();
    let own = texts.last_chunk::<N>().cloned();
    own.ok_or_else(|| Problem::internal("a route has fewer parameters than it reads"))
}

fn id<T: FromStr<Err: Display>>(text: &str) -> Result<T, Problem> {
    text.parse()
        .map_err(|error: T::Err| Problem::new("invalid-id", error.to_string()))
}

/// The parameters of the query.
pub(crate) struct Asked<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = axum::extract::Query::from_request_parts(parts, state).await;
        let wrong = |rejected: QueryRejection| Problem::new("invalid-query", rejected.body_text());
        query
            .map(|axum::extract::Query(query)| Self(query))
            .map_err(wrong)
    }
}

/// A JSON body.
pub(crate) struct Json<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is(request.headers(), "application/json") {
            return Err(Problem::new(
                "unsupported-media-type",
                "send JSON, with the header `Content-Type: application/json`",
            ));
        }
        let bytes = bytes(request, state).await?;
        json(&bytes).map(Self)
    }
}

/// Reads the bytes of a body.
pub(crate) async fn bytes<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    let bytes = Bytes::from_request(request, state).await;
    bytes.map_err(|rejected: BytesRejection| match rejected.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(
            "body-too-large",
            "the body is larger than this server takes here; send less, or raise the server's limit",
        ),
        _ if timed_out(&rejected) => Problem::new(
            "body-timeout",
            "the body stopped coming; send it again",
        ),
        _ => Problem::new("invalid-body", "the body broke off; send it again"),
    })
}

fn timed_out(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut error = Some(error);
    while let Some(cause) = error {
        if cause.is::<tower_http::timeout::TimeoutError>() {
            return true;
        }
        error = cause.source();
    }
    false
}

/// Parses a single JSON object, and refuses anything after it.
pub(crate) fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // Serde would accept a list of a record's values without their names.
    let begins = bytes.trim_ascii_start().first().copied();
    if matches!(begins, Some(b'[')) {
        let detail = "the body is not what this route takes: expected a JSON object, not a list";
        return Err(Problem::new("invalid-body", detail));
    }

    serde_json::from_slice(bytes).map_err(|error| {
        let what = match error.classify() {
            Category::Data => "the body is not what this route takes",
            _ => "the body is not JSON",
        };
        Problem::new("invalid-body", format!("{what}: {error}"))
    })
}

/// Whether a body has a media type, with any parameters.
pub(crate) fn is(headers: &HeaderMap, media_type: &str) -> bool {
    let sent = headers
        .get(CONTENT_TYPE)
        .and_then(|sent| sent.to_str().ok());
    let sent = sent.and_then(|sent| sent.split(';').next());
    sent.is_some_and(|sent| sent.trim().eq_ignore_ascii_case(media_type))
}
