//! Refusals as guests see them: a code, a sentence, and whether a retry may help. A refusal is
//! never a trap.

use super::control::Control;
use lastword_providers::model::{ModelError, ModelErrorKind};
use lastword_sandbox::bindings::lastword::agent::types::Failure;
use lastword_store::{OutputError, Refusal, StoreError};
use lastword_types::hint;
use lastword_types::permission::{Authority, Capability, DenyReason, Verdict};

/// A refusal with one of the codes of the WIT package.
pub(crate) fn failure(code: &str, message: impl Into<String>) -> Failure {
    Failure {
        code: code.to_owned(),
        message: message.into(),
        retryable: false,
        extra: Vec::new(),
    }
}

/// Returns the refusal of a capability of which a run has nothing.
pub(crate) fn denied(authority: &Authority, capability: Capability) -> Failure {
    failure("denied", lacking(authority, capability))
}

/// Returns why a run has nothing of a capability, and what would give it to the run.
pub(crate) fn lacking(authority: &Authority, capability: Capability) -> String {
    match authority.evaluate_any(capability) {
        Verdict::Denied(why) => refusal(capability, None, &why),
        Verdict::Undecided | Verdict::Allowed => format!(
            "the capability `{capability}` is not granted to this agent; {}",
            hint::with_rule(&capability.into())
        ),
    }
}

/// Returns the refusal of everything to an agent that describes itself or closes its run.
pub(crate) fn nothing_granted() -> Failure {
    failure(
        "denied",
        "an agent has no capabilities while it describes itself and in its epilogue; ask for this \
         in `run`",
    )
}

/// Returns the refusal of models if the host has none.
pub(crate) fn no_model() -> Failure {
    failure("not-found", "the host has no model; it has to be given one")
}

/// Returns why an access is denied without a question: to a target, or to every one.
pub(crate) fn refusal(capability: Capability, target: Option<&str>, why: &DenyReason) -> String {
    let of = target
        .map(|target| format!(" of {target}"))
        .unwrap_or_default();
    match why {
        DenyReason::NotWanted => hint::not_wanted(capability, target),
        DenyReason::NotAbove => format!(
            "the agent that started this one does not have `{capability}`{of} either, and a child \
             never has more than its parent"
        ),
        DenyReason::Rule(rule) => format!(
            "the rule `{rule}` denies it (`{capability}`{of}); the rule has to be removed where it \
             was set"
        ),
    }
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
