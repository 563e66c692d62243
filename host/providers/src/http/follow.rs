//! Redirects, for the host's own tools. Each hop is a request of its own, allowed and checked like
//! the first; confidential headers are only sent to their own origin.

use super::error::{HttpError, HttpErrorKind};
use super::guarded::{Deadline, Guarded, Request, Response};
use super::target::Target;
use crate::permits::PermissionChecker;
use crate::secrets::placeholders;
use futures_util::{FutureExt, StreamExt};
use http::{HeaderMap, Method, StatusCode, header};
use lastword_types::id::RunId;
use reqwest::Url;

/// How many redirects of one request are followed.
const HOPS_MAX: usize = 5;

impl Guarded {
    /// Sends a request without a body and follows its redirects. All hops together have the time of
    /// one request.
    pub async fn follow(
        &self,
        run: RunId,
        method: Method,
        mut url: Url,
        mut headers: HeaderMap,
        permits: &PermissionChecker,
    ) -> Result<Response, HttpError> {
        let mut deadline: Deadline = None;

        for _ in 0..=HOPS_MAX {
            let request = Request {
                method: method.clone(),
                url: url.clone(),
                headers: headers.clone(),
                body: futures_util::stream::empty().boxed(),
            };
            let mut response = self
                .send_within(&mut deadline, run, request, permits)
                .await?;
            let Some(next) = location(&response)? else {
                return Ok(response);
            };

            // The next hop gets the remaining time.
            let remaining =
                std::mem::replace(&mut response.body.deadline, std::future::pending().boxed());
            deadline = Some(remaining);
            drop(response);

            let (from, to) = (Target::of(&mut url)?, next);
            url = to;

            if !Target::of(&mut url)?.is_same_origin(&from) {
                drop_confidential(&mut headers);
            }
        }

        let message = format!("there were more than {HOPS_MAX} redirects");
        Err(HttpError::new(HttpErrorKind::Protocol, message))
    }
}

/// Returns the address that a response redirects to.
fn location(response: &Response) -> Result<Option<Url>, HttpError> {
    let redirects = [
        StatusCode::MOVED_PERMANENTLY,
        StatusCode::FOUND,
        StatusCode::SEE_OTHER,
        StatusCode::TEMPORARY_REDIRECT,
        StatusCode::PERMANENT_REDIRECT,
    ];

    let location = response.headers.get(header::LOCATION);
    let Some(location) = location.filter(|_| redirects.contains(&response.status)) else {
        return Ok(None);
    };
    let next = location.to_str().ok();
    let next = next.and_then(|next| response.url.join(next).ok());
    let message = "a redirect has an invalid address";

    next.map(Some)
        .ok_or_else(|| HttpError::new(HttpErrorKind::Protocol, message))
}

/// Removes headers that are meant for one origin only.
fn drop_confidential(headers: &mut HeaderMap) {
    let meant: Vec<_> = headers
        .iter()
        .filter(|(name, value)| {
            let text = String::from_utf8_lossy(value.as_bytes());
            **name == header::AUTHORIZATION
                || **name == header::COOKIE
                || placeholders(&text).map_or(true, |names| !names.is_empty())
        })
        .map(|(name, _)| name.clone())
        .collect();

    for name in meant {
        headers.remove(name);
    }
}
