//! Why a run ended: the causes, the terminal state and the finish reason of each.
//! Pure; knows nothing of how a guest is stopped.

use super::RunState;
use crate::session::FinishReason;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What ended a run. The first cause that is latched stays.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "cause", content = "kind", rename_all = "kebab-case")]
pub enum Cause {
    /// The agent returned, with this reason.
    Returned(FinishReason),
    /// A user cancelled.
    User,
    /// The run's deadline passed.
    Deadline,
    /// The client that asked for it went away, and the run was bound to it.
    ClientGone,
    /// The run that started it ended.
    Parent,
    /// The agent returned an error, or claimed an end that only the host may write.
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
    /// Another host took the workspace over; written by that one.
    OwnerLost,
}

impl Cause {
    /// The cause's name, as the receipt and the model's history say it: `user`,
    /// `trap(unreachable)`, …
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Returned(_) => "returned".into(),
            Self::User => "user".into(),
            Self::Deadline => "deadline".into(),
            Self::ClientGone => "client-gone".into(),
            Self::Parent => "parent".into(),
            Self::AgentError => "agent-error".into(),
            Self::Trap(kind) => format!("trap({kind})"),
            Self::OutOfMemory => "out-of-memory".into(),
            Self::StackOverflow => "stack-overflow".into(),
            Self::Limit(kind) => format!("limit({kind})"),
            Self::Shutdown => "shutdown".into(),
            Self::HostCrash => "host-crash".into(),
            Self::OwnerLost => "owner-lost".into(),
        }
    }

    /// The terminal state that the cause leads to.
    #[must_use]
    pub fn state(&self) -> RunState {
        match self {
            Self::Returned(_) => RunState::Completed,
            Self::User | Self::Deadline | Self::ClientGone | Self::Parent => RunState::Cancelled,
            Self::AgentError
            | Self::Trap(_)
            | Self::OutOfMemory
            | Self::StackOverflow
            | Self::Limit(_) => RunState::Failed,
            Self::Shutdown | Self::HostCrash | Self::OwnerLost => RunState::Interrupted,
        }
    }

    /// The finish reason of the run's last message.
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

    /// One line for people, where the end was not the agent's own.
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
            Self::OwnerLost => "Interrupted by a change of the workspace's owner",
        })
    }

    /// Why a tool call has no result: the sentence that stands in for one.
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
            Self::OwnerLost => "Tool call interrupted: the workspace changed its owner".to_owned(),
            failed => format!("Tool call stopped: the agent failed ({})", failed.name()),
        };
        if started {
            format!("{why}; it had been started and may have taken effect")
        } else {
            why
        }
    }

    /// Whether an epilogue may follow: the guest was interrupted, the host is staying.
    #[must_use]
    pub fn allows_epilogue(&self) -> bool {
        !matches!(
            self,
            Self::Returned(_) | Self::Shutdown | Self::HostCrash | Self::OwnerLost
        )
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}
