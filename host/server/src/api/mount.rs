//! Determines where an embedder has nested the API, from the part of the address that the router
//! does not see, and adds that part to the addresses in responses.

use axum::extract::{FromRequestParts, OriginalUri, Request};
use axum::http::HeaderValue;
use axum::http::header::LOCATION;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use std::convert::Infallible;

/// The path under which the API is nested; empty at the root.
#[derive(Clone)]
pub(super) struct Mount(pub(super) String);

impl<S: Sync> FromRequestParts<S> for Mount {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let known = parts.extensions.get::<Self>().cloned();
        Ok(known.unwrap_or_else(|| Self(String::new())))
    }
}

/// Stores the path for the routes, and adds it to the `Location` of a created resource.
pub(super) async fn mount(
    OriginalUri(original): OriginalUri,
    mut request: Request,
    next: Next,
) -> Response {
    let mount = original.path().strip_suffix(request.uri().path());
    let mount = mount.unwrap_or_default().to_owned();
    request.extensions_mut().insert(Mount(mount.clone()));
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
