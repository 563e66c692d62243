//! Where an embedder has nested the API: the part of the address that the router does not see, put
//! before the addresses that it answers.

use axum::extract::{FromRequestParts, OriginalUri, Request};
use axum::http::header::LOCATION;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Uri};
use axum::middleware::Next;
use axum::response::Response;
use std::convert::Infallible;

/// The path under which the API lies; empty where it lies at the root.
pub(super) struct Mount(pub(super) String);

impl<S: Sync> FromRequestParts<S> for Mount {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let original = parts.extensions.get::<OriginalUri>();
        Ok(Self(original.map_or_else(String::new, |original| {
            before(original, &parts.uri).to_owned()
        })))
    }
}

/// The beginning of a path that nesting took off.
fn before<'u>(original: &'u OriginalUri, seen: &Uri) -> &'u str {
    let whole = original.0.path();
    whole.strip_suffix(seen.path()).unwrap_or_default()
}

/// Puts it before the address of what a request made.
pub(super) async fn mount(Mount(mount): Mount, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if !mount.is_empty()
        && let Some(location) = response.headers_mut().get_mut(LOCATION)
        && let Ok(path) = location.to_str()
        && let Ok(whole) = HeaderValue::try_from(format!("{mount}{path}"))
    {
        *location = whole;
    }
    response
}
