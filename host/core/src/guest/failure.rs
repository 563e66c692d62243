//! Refusals as guests see them: a code, a sentence, and whether a retry may help. A refusal is
//! never a trap.

use super::control::Control;
use lastword_providers::model::{ModelError, ModelErrorKind};
use lastword_sandbox::bindings::lastword::agent::types::Failure;
use lastword_store::{OutputError, Refusal, StoreError};
use lastword_types::hint;
use lastword_types::permission::Capability;

/// A refusal with one of the codes of the WIT package.
pub(crate) fn failure(code: &str, message: impl Into<String>) -> Failure {
    Failure {
        code: code.to_owned(),
        message: message.into(),
        retryable: false,
        extra: Vec::new(),
    }
}

/// Returns the refusal of a capability that is not granted.
pub(crate) fn denied(capability: Capability) -> Failure {
    failure(
        "denied",
        format!(
            "the capability `{capability}` is not granted to this agent; {}",
            hint::with_rule(&capability.into())
        ),
    )
}

/// Returns the refusal of every new call once the run is being stopped.
pub(crate) fn cancelled() -> Failure {
    failure("cancelled", "the run is being stopped")
}

/// Refuses when the run is being stopped.
pub(crate) fn ensure_not_stopping(control: &Control) -> Result<(), Failure> {
    if control.is_asked() {
        Err(cancelled())
    } else {
        Ok(())
    }
}

/// A host error that a guest receives as a [`Failure`].
pub(crate) trait IntoFailure {
    fn into_failure(self) -> Failure;
}

/// Converts the error of a result, so that `?` can be used.
pub(crate) trait OrFailure<T> {
    fn or_failure(self) -> Result<T, Failure>;
}

impl<T, E: IntoFailure> OrFailure<T> for Result<T, E> {
    fn or_failure(self) -> Result<T, Failure> {
        self.map_err(E::into_failure)
    }
}

impl IntoFailure for OutputError {
    fn into_failure(self) -> Failure {
        use crate::run::OutputRefused;
        let code = match self {
            OutputError::Sealed => "cancelled",
            OutputError::Rejected => "internal",
            OutputError::Refused(
                OutputRefused::Bytes
                | OutputRefused::Entries
                | OutputRefused::Data
                | OutputRefused::Parts
                | OutputRefused::Questions,
            ) => "limit",
            OutputError::Refused(OutputRefused::Conflict) => "conflict",
            OutputError::Refused(OutputRefused::Incomplete) => "invalid",
            OutputError::Refused(OutputRefused::UnknownCall) => "not-found",
        };

        failure(code, self.to_string())
    }
}

impl IntoFailure for StoreError {
    fn into_failure(self) -> Failure {
        match self {
            StoreError::Refused(Refusal::Quota) => failure(
                "limit",
                "the agent keeps as much state as it may; delete some first",
            ),
            StoreError::Refused(Refusal::UnknownMessage(_)) => failure(
                "not-found",
                "there is no such message in this session's history",
            ),
            StoreError::Unavailable(_) => Failure {
                retryable: true,
                ..failure("unavailable", "the host's store cannot write now")
            },
            // SQLite's message belongs in the host's log, and is not shown to a guest.
            StoreError::Refused(_) | StoreError::Closed(_) | StoreError::Content(_) => {
                failure("internal", "the host's store failed")
            }
            StoreError::Damaged(_) => failure(
                "internal",
                "what the host's store holds there is damaged, so that asking again does not help",
            ),
        }
    }
}

impl IntoFailure for ModelError {
    fn into_failure(self) -> Failure {
        let code = match self.kind {
            ModelErrorKind::UnknownModel => "not-found",
            ModelErrorKind::Unauthorized => "denied",
            ModelErrorKind::RateLimited | ModelErrorKind::ContextOverflow => "limit",
            ModelErrorKind::Unavailable | ModelErrorKind::Truncated => "unavailable",
            ModelErrorKind::Rejected => "invalid",
            ModelErrorKind::Garbled => "internal",
            ModelErrorKind::Idle => "timeout",
        };

        let mut extra = Vec::new();
        if self.kind == ModelErrorKind::ContextOverflow {
            extra.push(("reason".to_owned(), "\"context-overflow\"".to_owned()));
            let size = self.context_tokens.map(|size| size.to_string());
            extra.extend(size.map(|size| ("context_tokens".to_owned(), size)));
        }

        Failure {
            retryable: self.is_retryable(),
            extra,
            ..failure(code, self.message)
        }
    }
}
