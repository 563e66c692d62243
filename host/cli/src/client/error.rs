//! Why a request came to nothing, and what that is to a person. Knows the names of refusals, not the
//! requests.

use crate::failure::{Exit, Failure};
use crate::hints;
use lastword::session::Answer;

/// The name of a refusal that asking again does not change.
pub(super) const DAMAGED: &str = "store-damaged";

/// Why a request came to nothing.
#[derive(Debug)]
pub(crate) enum CallError {
    /// There was no answer.
    Unreachable {
        place: String,
        why: String,
        /// Whether the same may be asked of another owner, since it did not arrive, or does no more
        /// when it arrives twice.
        again: bool,
    },
    /// The server said why not.
    Refused(Box<Refusal>),
    /// What answers is no lastword server.
    Foreign { place: String, what: String },
}

/// A server's refusal.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) name: String,
    pub(super) status: u16,
    pub(super) detail: String,
    /// The oldest cursor that still works, of a cursor that is older than the log.
    pub(super) resume_after: Option<u64>,
    /// The answer that counted, of a question that was answered already.
    pub(super) answer: Option<Answer>,
    pub(super) place: String,
}

impl CallError {
    /// The name of a refusal.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::Refused(refusal) => Some(&refusal.name),
            _ => None,
        }
    }

    /// The answer that counted, of a question that was answered already.
    pub(crate) fn answer(&self) -> Option<&Answer> {
        match self {
            Self::Refused(refusal) => refusal.answer.as_ref(),
            _ => None,
        }
    }

    /// Where a log goes on that no longer reaches back as far as was asked.
    pub(crate) fn resume_after(&self) -> Option<u64> {
        match self {
            Self::Refused(refusal) => refusal.resume_after,
            _ => None,
        }
    }

    /// Whether an owner that leaves did nothing of what was asked.
    fn is_handover(&self) -> bool {
        match self {
            Self::Unreachable { again, .. } => *again,
            Self::Refused(refusal) => refusal.name == "host-closing",
            Self::Foreign { .. } => false,
        }
    }

    /// Whether an owner of a data directory that answers so is leaving, or left.
    pub(crate) fn is_leaving(&self) -> bool {
        matches!(self, Self::Unreachable { .. }) || self.is_handover()
    }

    /// Whether the same may go well a little later.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            // What is damaged stays so.
            Self::Refused(refusal) => refusal.status >= 500 && refusal.name != DAMAGED,
            Self::Foreign { .. } => false,
        }
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        let handover = error.is_handover();
        let mut failure = match error {
            CallError::Unreachable { place, why, .. } => Self::usage(format!(
                "cannot reach a lastword server at {place}: {why}; start one with \
                 `lastword serve`, or name the address of one that runs"
            )),
            CallError::Foreign { place, what } => Self::usage(format!(
                "what answers at {place} is no lastword server that this client knows: {what}; \
                 check the address and both versions"
            )),
            CallError::Refused(refusal) => refused(&refusal),
        };
        failure.handover = handover;
        failure
    }
}

fn refused(refusal: &Refusal) -> Failure {
    let Refusal { detail, place, .. } = refusal;
    let message = match refusal.name.as_str() {
        "unauthenticated" => format!(
            "{place} does not let you in: {detail}; name the file that holds its token with \
             `--token-file`, or set LASTWORD_TOKEN"
        ),
        "outside-roots" => format!("{detail} (`lastword serve --root DIRECTORY`)"),
        name => match hints::of_name(name) {
            Some(hint) => format!("{detail}; {hint}"),
            None => detail.clone(),
        },
    };
    let exit = match (refusal.name.as_str(), refusal.status) {
        ("forbidden", _) => Exit::Denied,
        (_, 500..) => Exit::Failed,
        _ => Exit::Usage,
    };
    let mut failure = Failure::usage(message);
    failure.exit = exit;
    failure
}
