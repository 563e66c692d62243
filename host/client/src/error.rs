//! Why a request failed.

use crate::api::Problem;

/// The name of a refusal for damaged data, which a repeated request does not change.
const DAMAGED: &str = "store-damaged";
/// The name of a refusal by a host that is shutting down.
const CLOSING: &str = "host-closing";

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The text is not the address of a server.
    #[error("`{address}` is no address of a lastword server: {reason}")]
    InvalidAddress {
        /// The text.
        address: String,
        /// The reason.
        reason: String,
    },
    /// No client can be made on this machine: TLS or the socket's directory is not available.
    #[error("cannot make an HTTP client: {0}")]
    Setup(String),
    /// There was no response. It is unknown whether the server carried out the request, unless
    /// `repeatable`.
    #[error("cannot reach the lastword server at {address}: {reason}")]
    Unreachable {
        /// The server.
        address: String,
        /// What happened.
        reason: String,
        /// Whether the same request may be sent to another server over the same data: this one did
        /// not receive it, or receiving it twice has no further effect.
        repeatable: bool,
    },
    /// The server refused, and said why.
    #[error("{}", .0.problem.detail)]
    Refused(Box<Refusal>),
    /// The response is not from a lastword server, or this client does not understand it.
    #[error("what answers at {address} is no lastword server that this client knows: {reason}")]
    Foreign {
        /// The server.
        address: String,
        /// What is wrong with its response.
        reason: String,
    },
}

/// A server's refusal.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// The server.
    pub address: String,
    /// The error in its response.
    pub problem: Problem,
}

impl ClientError {
    /// Returns the server's refusal, if it refused.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused(refusal) => Some(&refusal.problem),
            _ => None,
        }
    }

    /// Returns the name of a refusal, one of [`KINDS`](crate::api::problem::KINDS).
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.problem().map(|problem| problem.name.as_str())
    }

    /// Returns the HTTP status of a refusal.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.problem().map(|problem| problem.status)
    }

    /// Whether the same request may succeed later without any other change: the server was not
    /// reached, or says so of its refusal ([`Problem::retryable`]).
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused(refusal) => refusal.problem.retryable,
            _ => false,
        }
    }

    /// Whether the request may be sent to another server over the same data: this one is shutting
    /// down and did not carry it out, so that it is carried out only once.
    #[must_use]
    pub fn is_repeatable(&self) -> bool {
        match self {
            Self::Unreachable { repeatable, .. } => *repeatable,
            Self::Refused(refusal) => refusal.problem.name == CLOSING,
            _ => false,
        }
    }

    /// Whether the server is shutting down, or is gone.
    pub(crate) fn is_leaving(&self) -> bool {
        matches!(self, Self::Unreachable { .. }) || self.is_repeatable()
    }

    /// Whether a stream that ended with this problem cannot be continued.
    pub(crate) fn is_final(problem: &Problem) -> bool {
        problem.name == DAMAGED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &str) -> ClientError {
        ClientError::Refused(Box::new(Refusal {
            address: "http://a".to_owned(),
            problem: Problem::new(name, "why"),
        }))
    }

    #[test]
    fn a_refusal_says_whether_to_ask_again() {
        for (name, retryable, repeatable) in [
            ("store-unavailable", true, false),
            ("host-closing", true, true),
            ("queue-full", true, false),
            ("internal", false, false),
            ("store-damaged", false, false),
            ("unknown-run", false, false),
        ] {
            let error = refused(name);
            assert_eq!(error.name(), Some(name));
            assert_eq!(
                (error.is_retryable(), error.is_repeatable()),
                (retryable, repeatable),
                "{name}"
            );
        }
        assert!(
            refused(DAMAGED).name() == Some(DAMAGED) && refused(CLOSING).name() == Some(CLOSING)
        );
    }
}
