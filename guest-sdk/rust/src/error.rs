//! The error type of an agent: a failure that the host reported, or an error of the agent's own.

use std::{fmt, io};

use crate::bindings::types::Failure;
use crate::{Code, Extra};

/// The result type of an agent's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation failed: a code for programs and a message for people.
#[derive(Clone, Debug, PartialEq)]
pub struct Error {
    code: Code,
    message: String,
    retryable: bool,
    extra: Extra,
}

impl Error {
    /// Creates an error of the agent's own.
    pub fn new(code: impl Into<Code>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            retryable: false,
            extra: Vec::new(),
        }
    }

    /// Returns the error, marked as one that may succeed if it is tried again.
    #[must_use]
    pub fn retryable(mut self) -> Self {
        self.retryable = true;
        self
    }

    /// Returns the error with `doing`, the operation that failed, in front of its message. The code
    /// is kept.
    #[must_use]
    pub fn context(mut self, doing: impl fmt::Display) -> Self {
        self.message = format!("{doing}: {}", self.message);
        self
    }

    /// Returns the code.
    pub fn code(&self) -> &Code {
        &self.code
    }

    /// Returns the message.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the same operation may succeed later.
    pub fn is_retryable(&self) -> bool {
        self.retryable
    }

    /// Whether the host is stopping the run. The agent should then return and not try again.
    pub fn is_cancelled(&self) -> bool {
        self.code == Code::Cancelled
    }

    /// Whether a capability was denied.
    pub fn is_denied(&self) -> bool {
        self.code == Code::Denied
    }

    /// Whether a request to a model was longer than the model's window.
    pub fn is_context_overflow(&self) -> bool {
        self.code == Code::Limit
            && self
                .extra_value("reason")
                .is_some_and(|reason| reason == "context-overflow")
    }

    /// Returns the size of the model's window in tokens, if a request did not fit it and the
    /// service or the host knows the size.
    pub fn context_tokens(&self) -> Option<u32> {
        self.extra_value("context_tokens")?
            .as_u64()?
            .try_into()
            .ok()
    }

    fn extra_value(&self, name: &str) -> Option<serde_json::Value> {
        let (_, json) = self.extra().iter().find(|(own, _)| own == name)?;
        serde_json::from_str(json).ok()
    }

    /// Returns the named JSON values that the host added to the error.
    pub fn extra(&self) -> &Extra {
        &self.extra
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message(), self.code())
    }
}

impl std::error::Error for Error {}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self {
            code: failure.code.into(),
            message: failure.message,
            retryable: failure.retryable,
            extra: failure.extra,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            code: error.code.into(),
            message: error.message,
            retryable: error.retryable,
            extra: error.extra,
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind as Kind;
        let code = match error.kind() {
            Kind::NotFound => Code::NotFound,
            Kind::PermissionDenied | Kind::ReadOnlyFilesystem => Code::Denied,
            Kind::AlreadyExists => Code::Conflict,
            Kind::InvalidInput
            | Kind::InvalidData
            | Kind::NotADirectory
            | Kind::IsADirectory
            | Kind::UnexpectedEof => Code::Invalid,
            Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge | Kind::OutOfMemory => {
                Code::Limit
            }
            Kind::TimedOut => Code::Timeout,
            Kind::Unsupported => Code::Unavailable,
            _ => Code::Internal,
        };
        Self::new(code, error.to_string())
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::new(Code::Invalid, error.to_string())
    }
}

impl From<std::string::FromUtf8Error> for Error {
    fn from(error: std::string::FromUtf8Error) -> Self {
        Self::new(Code::Invalid, error.to_string())
    }
}

impl From<std::str::Utf8Error> for Error {
    fn from(error: std::str::Utf8Error) -> Self {
        Self::new(Code::Invalid, error.to_string())
    }
}

/// Gives a plain message the code [`Code::Internal`].
impl From<String> for Error {
    fn from(message: String) -> Self {
        Self::new(Code::Internal, message)
    }
}

/// Gives a plain message the code [`Code::Internal`].
impl From<&str> for Error {
    fn from(message: &str) -> Self {
        Self::new(Code::Internal, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_s_failure_comes_back_unchanged() {
        let failure = Failure {
            code: "limit".into(),
            message: "no tokens are left".into(),
            retryable: true,
            extra: vec![("spent".into(), "7".into())],
        };
        let error = Error::from(failure.clone());
        assert_eq!(error.code(), "limit");
        assert!(error.is_retryable());
        assert_eq!(Failure::from(error), failure);
    }

    #[test]
    fn an_overflow_is_known_by_its_reason() {
        let error = |code: &str, extra: &[(&str, &str)]| {
            let extra = extra
                .iter()
                .map(|(name, json)| ((*name).into(), (*json).into()));
            Error::from(Failure {
                extra: extra.collect(),
                ..Error::new(code, "too long").into()
            })
        };
        let reason = ("reason", "\"context-overflow\"");
        for (error, overflow, tokens) in [
            (
                error("limit", &[reason, ("context_tokens", "8192")]),
                true,
                Some(8192),
            ),
            (error("limit", &[reason]), true, None),
            (
                error("limit", &[reason, ("context_tokens", "-1")]),
                true,
                None,
            ),
            (
                error("limit", &[reason, ("context_tokens", "4294967296")]),
                true,
                None,
            ),
            (error("limit", &[("reason", "\"budget\"")]), false, None),
            (
                error("limit", &[("reason", "context-overflow")]),
                false,
                None,
            ),
            (error("limit", &[]), false, None),
            (error("invalid", &[reason]), false, None),
        ] {
            let known = (error.is_context_overflow(), error.context_tokens());
            assert_eq!(known, (overflow, tokens), "{error:?}");
            assert_eq!(error.context("asking").is_context_overflow(), overflow);
        }
    }

    #[test]
    fn question_marks_work() {
        fn missing() -> Result<Vec<u8>> {
            Ok(std::fs::read("/nowhere/at/all")?)
        }
        fn malformed() -> Result<Vec<u8>> {
            Ok(serde_json::from_str("[1,")?)
        }
        fn said() -> Result<Vec<u8>> {
            Err("the moon is full")?
        }
        assert_eq!(missing().unwrap_err().code(), "not-found");
        assert_eq!(malformed().unwrap_err().code(), "invalid");
        assert_eq!(
            said().unwrap_err(),
            Error::new("internal", "the moon is full")
        );
    }

    #[test]
    fn kinds_of_io_errors_have_codes() {
        for (kind, code) in [
            (io::ErrorKind::PermissionDenied, "denied"),
            (io::ErrorKind::ReadOnlyFilesystem, "denied"),
            (io::ErrorKind::StorageFull, "limit"),
            (io::ErrorKind::Other, "internal"),
        ] {
            assert_eq!(Error::from(io::Error::from(kind)).code(), code);
        }
    }

    #[test]
    fn context_stands_in_front_and_keeps_the_code() {
        let error = Error::new("denied", "no")
            .context("reading a.txt")
            .retryable();
        assert_eq!(error.to_string(), "reading a.txt: no (denied)");
        assert!(error.is_denied() && !error.is_cancelled() && error.is_retryable());
    }
}
