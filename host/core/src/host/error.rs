//! What can go wrong for an embedder, under the contract's names.

use crate::id::{InvalidAgentId, RunId, SessionId};
use crate::sandbox::{ComponentError, EngineError};
use crate::store::{OpenError, Refusal, StoreError};
use std::path::PathBuf;

/// Why the host did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The data directory could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is no engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A component could not be loaded.
    #[error("cannot load {name}: {source}")]
    Component {
        /// The file, or the agent's name.
        name: String,
        /// Why.
        source: ComponentError,
    },
    /// A file or directory could not be read.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The builder was called outside a tokio runtime.
    #[error(
        "a host must be built inside a tokio runtime: call `build` from an async function that tokio runs"
    )]
    NoRuntime,
    /// An agent's name cannot be used.
    #[error(transparent)]
    AgentId(#[from] InvalidAgentId),
    /// The prompt holds nothing but white space, and the agent has no default.
    #[error("the prompt is empty and the agent has no default prompt; say what it shall do")]
    EmptyPrompt,
    /// As many prompts of the session wait as may.
    #[error("the session's queue is full; wait for a run to end, or cancel one")]
    QueueFull,
    /// The idempotency key came before with another prompt.
    #[error("this idempotency key was used before with another prompt; use a new key")]
    KeyConflict,
    /// There is no such session.
    #[error("there is no session {0}; `lastword sessions` lists those that there are")]
    UnknownSession(SessionId),
    /// The session talks to another agent.
    #[error(
        "session {session} belongs to the agent `{agent}`; go on with that one, or begin a new session"
    )]
    OtherAgent {
        /// The session.
        session: SessionId,
        /// Its agent.
        agent: String,
    },
    /// The session belongs to another workspace.
    #[error(
        "session {session} belongs to the workspace {workspace}; name that one, or begin a new session"
    )]
    OtherWorkspace {
        /// The session.
        session: SessionId,
        /// Its workspace.
        workspace: String,
    },
    /// There is no such run.
    #[error("there is no run {0} with an end")]
    UnknownRun(RunId),
    /// The host is shutting down.
    #[error("the host is shutting down and takes no more prompts")]
    HostClosing,
    /// The store cannot do it; whether it did is unknown if it was a write.
    #[error(
        "the store cannot do this now: {0}; free disk space or look at the host's log, then ask again with the same idempotency key"
    )]
    StoreUnavailable(String),
}

impl HostError {
    /// The error's name in the contract, for programs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Open(_) | Self::Engine(_) | Self::Io { .. } | Self::NoRuntime => {
                "host-unavailable"
            }
            Self::Component { .. } | Self::AgentId(_) => "invalid-agent",
            Self::EmptyPrompt => "empty-prompt",
            Self::QueueFull => "queue-full",
            Self::KeyConflict => "key-conflict",
            Self::UnknownSession(_) => "unknown-session",
            Self::OtherAgent { .. } => "unknown-agent",
            Self::OtherWorkspace { .. } => "unknown-workspace",
            Self::UnknownRun(_) => "unknown-run",
            Self::HostClosing => "host-closing",
            Self::StoreUnavailable(_) => "store-unavailable",
        }
    }
}

impl From<StoreError> for HostError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Refused(Refusal::QueueFull) => Self::QueueFull,
            StoreError::Refused(Refusal::KeyConflict) => Self::KeyConflict,
            StoreError::Unavailable(why) | StoreError::Closed(why) | StoreError::Content(why) => {
                Self::StoreUnavailable(why)
            }
            StoreError::Refused(other) => Self::StoreUnavailable(format!("{other:?}")),
        }
    }
}
