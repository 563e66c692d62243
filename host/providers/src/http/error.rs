//! Why a request came to nothing, for people, for models and for guests. Never holds a header,
//! a body or a secret.

use crate::permits::Denied;
use crate::tools::{ToolError, ToolErrorKind};

/// A request that came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct HttpError {
    /// What kind of failure.
    pub kind: HttpErrorKind,
    /// What happened and what to do.
    pub message: String,
}

/// What kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpErrorKind {
    /// The address is none that the host asks.
    Url,
    /// A header that a guest may not set, or that cannot be sent.
    Header,
    /// Nobody allowed it.
    Denied,
    /// The name leads to an address that is not public.
    Private,
    /// The name leads nowhere.
    Resolve,
    /// Nobody answers there.
    Connect,
    /// There is no secure connection to it.
    Tls,
    /// What is sent is more than may be.
    RequestBytes,
    /// The answer's headers are more than may be.
    ResponseHeaders,
    /// The answer's body is more than may be.
    ResponseBytes,
    /// What came is no answer, or it broke off.
    Protocol,
    /// The answer is compressed or cut in a way that secrets could not be found in.
    Coding,
    /// It took too long.
    Timeout,
    /// The run has too many requests under way.
    Busy,
}

impl HttpError {
    /// A failure of this kind.
    pub fn new(kind: HttpErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    /// What reqwest says of it, without the address, which may hold more than it should.
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

/// The first of an error's causes that is one of these, as text.
fn caused_by(
    error: &reqwest::Error,
    is: impl Fn(&(dyn std::error::Error + 'static)) -> bool,
) -> Option<String> {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        // Errors of I/O wrap what says more, and each other, and are no source of it.
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
