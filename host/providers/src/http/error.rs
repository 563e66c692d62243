//! Why a request failed, for people, for models and for guests. Never contains a header, a body or
//! a secret.

use crate::permits::Denied;
use crate::tools::{ToolError, ToolErrorKind};

/// A failed request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct HttpError {
    /// The kind of failure.
    pub kind: HttpErrorKind,
    /// What happened and what to do.
    pub message: String,
}

/// The kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpErrorKind {
    /// The address is not one that the host sends requests to.
    Url,
    /// A header that a guest may not set, or that cannot be sent.
    Header,
    /// The request was not allowed.
    Denied,
    /// The name resolves to an address that is not public.
    Private,
    /// The name cannot be resolved.
    Resolve,
    /// No connection could be made.
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// The request's body is larger than allowed.
    RequestBytes,
    /// The response's headers are larger than allowed.
    ResponseHeaders,
    /// The response's body is larger than allowed.
    ResponseBytes,
    /// The response is invalid, or was cut off.
    Protocol,
    /// The response has an encoding or a range in which secrets could not be found.
    Coding,
    /// It took too long.
    Timeout,
    /// The run has too many requests in flight.
    Busy,
}

impl HttpError {
    /// Creates an error of this kind.
    pub fn new(kind: HttpErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    /// Converts an error of reqwest, without the address, which may hold secrets.
    pub(super) fn of(error: &reqwest::Error, target: &str) -> Self {
        let secure = caused_by(error, |cause| cause.is::<rustls::Error>());
        if let Some(reason) = secure {
            let message = format!("there is no secure connection to {target}: {reason}");
            return Self::new(HttpErrorKind::Tls, message);
        }

        let system = caused_by(error, |cause| cause.is::<std::io::Error>());
        let reason = system.map_or(String::new(), |reason| format!(": {reason}"));

        let (kind, what) = match () {
            () if error.is_timeout() => (HttpErrorKind::Timeout, "does not take the connection"),
            () if error.is_connect() => (HttpErrorKind::Connect, "cannot be reached"),
            () => (HttpErrorKind::Protocol, "broke off, or did not speak HTTP"),
        };

        Self::new(kind, format!("{target} {what}{reason}"))
    }
}

/// Returns the text of the first cause that matches.
fn caused_by(
    error: &reqwest::Error,
    is: impl Fn(&(dyn std::error::Error + 'static)) -> bool,
) -> Option<String> {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        // An I/O error wraps another error without naming it as its source.
        let within = std::iter::successors(Some(error), |error| {
            let wraps = error.downcast_ref::<std::io::Error>()?.get_ref()?;
            Some(wraps as &(dyn std::error::Error + 'static))
        });
        let within: Vec<_> = within.collect();
        if let Some(found) = within.iter().rev().find(|error| is(**error)) {
            return Some(found.to_string());
        }
        cause = error.source();
    }

    None
}

impl From<Denied> for HttpError {
    fn from(denied: Denied) -> Self {
        Self::new(HttpErrorKind::Denied, denied.to_string())
    }
}

impl From<HttpError> for ToolError {
    fn from(error: HttpError) -> Self {
        let kind = match error.kind {
            HttpErrorKind::Url | HttpErrorKind::Header => ToolErrorKind::Invalid,
            HttpErrorKind::Denied | HttpErrorKind::Private => ToolErrorKind::Denied,
            HttpErrorKind::Resolve
            | HttpErrorKind::Connect
            | HttpErrorKind::Tls
            | HttpErrorKind::Protocol
            | HttpErrorKind::Coding => ToolErrorKind::Unavailable,
            HttpErrorKind::RequestBytes
            | HttpErrorKind::ResponseHeaders
            | HttpErrorKind::ResponseBytes
            | HttpErrorKind::Busy => ToolErrorKind::Limit,
            HttpErrorKind::Timeout => ToolErrorKind::Timeout,
        };
        Self::new(kind, error.message)
    }
}
