//! Why a run ended: the causes, and the terminal state and finish reason of each. Pure.

use super::RunState;
use crate::session::FinishReason;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

/// What ended a run. The first cause that is latched is kept.
///
/// [`Cause::name`] is the form in a [`Receipt`](super::Receipt) and in everything for people:
/// `user`, `trap(unreachable)`. Its own JSON, which the store keeps, has the name and its details
/// as separate fields: `{"cause":"trap","kind":"unreachable"}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "cause", content = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Cause {
    /// The agent returned with this reason.
    Returned(FinishReason),
    /// A user cancelled.
    User,
    /// The run's deadline passed.
    Deadline,
    /// The client that asked for the run went away, and the run depended on it.
    ClientGone,
    /// The run that started it ended.
    Parent,
    /// The agent returned an error, or reported an end that only the host may report.
    AgentError,
    /// The component trapped, with the trap's name.
    Trap(String),
    /// The component trapped after its memory limit had refused it.
    OutOfMemory,
    /// The component's stack overflowed.
    StackOverflow,
    /// A limit of the run was reached: `tokens`, `output`, `host-memory`, …
    Limit(String),
    /// The host was shut down.
    Shutdown,
    /// The host died; written at its next start.
    HostCrash,
    /// A name that this version does not know, from the receipt of a later version. No run of this
    /// host ends with it.
    Other(String),
}

impl Cause {
    /// Returns the cause's name, as the receipt and the history that a model sees have it: `user`,
    /// `trap(unreachable)`, …
    #[must_use]
    pub fn name(&self) -> Cow<'_, str> {
        Cow::Borrowed(match self {
            Self::Returned(_) => "returned",
            Self::User => "user",
            Self::Deadline => "deadline",
            Self::ClientGone => "client-gone",
            Self::Parent => "parent",
            Self::AgentError => "agent-error",
            Self::Trap(kind) => return Cow::Owned(format!("trap({kind})")),
            Self::OutOfMemory => "out-of-memory",
            Self::StackOverflow => "stack-overflow",
            Self::Limit(kind) => return Cow::Owned(format!("limit({kind})")),
            Self::Shutdown => "shutdown",
            Self::HostCrash => "host-crash",
            Self::Other(name) => name,
        })
    }

    /// Returns the cause with this name, as a receipt has it. The name of [`Cause::Returned`] does
    /// not contain the agent's reason, which is [`FinishReason::Unknown`] here; a receipt has it in
    /// another field.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        let kind = |prefix: &str| {
            let kind = name.strip_prefix(prefix)?.strip_suffix(')')?;
            Some(kind.to_owned())
        };
        match name {
            "returned" => Self::Returned(FinishReason::Unknown),
            "user" => Self::User,
            "deadline" => Self::Deadline,
            "client-gone" => Self::ClientGone,
            "parent" => Self::Parent,
            "agent-error" => Self::AgentError,
            "out-of-memory" => Self::OutOfMemory,
            "stack-overflow" => Self::StackOverflow,
            "shutdown" => Self::Shutdown,
            "host-crash" => Self::HostCrash,
            other => match (kind("trap("), kind("limit(")) {
                (Some(kind), _) => Self::Trap(kind),
                (None, Some(kind)) => Self::Limit(kind),
                (None, None) => Self::Other(other.to_owned()),
            },
        }
    }

    /// Returns the terminal state that the cause leads to. For [`Cause::Other`] it is unknown here;
    /// the receipt has it.
    #[must_use]
    pub fn state(&self) -> RunState {
        match self {
            Self::Returned(_) => RunState::Completed,
            Self::User | Self::Deadline | Self::ClientGone | Self::Parent => RunState::Cancelled,
            Self::AgentError
            | Self::Trap(_)
            | Self::OutOfMemory
            | Self::StackOverflow
            | Self::Limit(_)
            | Self::Other(_) => RunState::Failed,
            Self::Shutdown | Self::HostCrash => RunState::Interrupted,
        }
    }

    /// Returns the finish reason of the run's last message.
    #[must_use]
    pub fn finish_reason(&self) -> FinishReason {
        match self {
            Self::Returned(reason) => *reason,
            _ => match self.state() {
                RunState::Cancelled => FinishReason::Cancelled,
                RunState::Interrupted => FinishReason::Interrupted,
                _ => FinishReason::Error,
            },
        }
    }

    /// Returns one line for people, unless the agent itself ended the run.
    #[must_use]
    pub fn title(&self) -> Option<&'static str> {
        Some(match self {
            Self::Returned(_) => return None,
            Self::User => "Cancelled by the user",
            Self::Deadline => "Stopped at its deadline",
            Self::ClientGone => "Stopped because its client went away",
            Self::Parent => "Stopped with the run that started it",
            Self::AgentError => "The agent reported an error",
            Self::Trap(_) => "The agent crashed",
            Self::OutOfMemory => "The agent ran out of memory",
            Self::StackOverflow => "The agent's stack overflowed",
            Self::Limit(_) => "A limit was reached",
            Self::Shutdown => "Interrupted by the host's shutdown",
            Self::HostCrash => "Interrupted by a crash of the host",
            Self::Other(_) => "Ended for a reason that this version does not know",
        })
    }

    /// Returns the sentence that replaces the result of a tool call that has none.
    #[must_use]
    pub fn missing_result(&self, started: bool) -> String {
        let why = match self {
            Self::User => "Tool call cancelled by the user".to_owned(),
            Self::Returned(_) => "Tool call left without a result by the agent".to_owned(),
            Self::Deadline => "Tool call stopped: the run's deadline passed".to_owned(),
            Self::ClientGone => "Tool call stopped: the run's client went away".to_owned(),
            Self::Parent => "Tool call stopped with the run that started this one".to_owned(),
            Self::Shutdown => "Tool call interrupted by the host's shutdown".to_owned(),
            Self::HostCrash => "Tool call interrupted by a crash of the host".to_owned(),
            failed => format!("Tool call stopped: the agent failed ({})", failed.name()),
        };
        if started {
            format!("{why}; it had been started and may have taken effect")
        } else {
            why
        }
    }

    /// Whether an epilogue may follow: the guest was interrupted, and the host goes on running.
    #[must_use]
    pub fn allows_epilogue(&self) -> bool {
        !matches!(self, Self::Returned(_) | Self::Shutdown | Self::HostCrash)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

/// Every text is a cause: see [`Cause::from_name`].
impl FromStr for Cause {
    type Err = Infallible;

    fn from_str(name: &str) -> Result<Self, Infallible> {
        Ok(Self::from_name(name))
    }
}

/// Compares the [name](Cause::name).
impl PartialEq<str> for Cause {
    fn eq(&self, name: &str) -> bool {
        self.name() == name
    }
}

/// Compares the [name](Cause::name).
impl PartialEq<&str> for Cause {
    fn eq(&self, name: &&str) -> bool {
        self.name() == *name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Cause> {
        vec![
            Cause::Returned(FinishReason::Unknown),
            Cause::User,
            Cause::Deadline,
            Cause::ClientGone,
            Cause::Parent,
            Cause::AgentError,
            Cause::Trap("unreachable".to_owned()),
            Cause::OutOfMemory,
            Cause::StackOverflow,
            Cause::Limit("tool-calls".to_owned()),
            Cause::Shutdown,
            Cause::HostCrash,
            Cause::Other("owner-lost".to_owned()),
        ]
    }

    #[test]
    fn names_are_read_back() {
        for cause in all() {
            let name = cause.to_string();
            assert_eq!(name.parse(), Ok(cause.clone()), "{name}");
            assert_eq!(cause, name.as_str());
            let known = !matches!(cause, Cause::Other(_));
            assert_eq!(known, name != "owner-lost");
        }
        for odd in ["", "trap", "trap(", "limit)", "Returned"] {
            assert_eq!(Cause::from_name(odd), Cause::Other(odd.to_owned()));
        }
    }

    #[test]
    fn what_the_store_keeps_is_read_back() {
        for cause in all() {
            let json = serde_json::to_string(&cause).expect("a cause is JSON");
            assert_eq!(serde_json::from_str::<Cause>(&json).ok(), Some(cause));
        }
        let json = serde_json::to_string(&Cause::Returned(FinishReason::EndTurn));
        assert_eq!(
            json.ok().as_deref(),
            Some(r#"{"cause":"returned","kind":"end_turn"}"#)
        );
        // Never released in any version: this is damage, not a cause.
        assert!(serde_json::from_str::<Cause>(r#"{"cause":"owner-lost"}"#).is_err());
    }
}
