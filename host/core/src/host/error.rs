//! What can go wrong for an embedder, under the contract's names.

use crate::run::RunState;
use lastword_sandbox::{ComponentError, EngineError};
use lastword_store::{Damage, OpenError, Refusal, SHUT_DOWN, StoreError};
use lastword_types::id::{
    AgentId, ClientId, GrantId, InvalidAgentId, MessageId, QuestionId, RunId, SessionId,
    WorkspaceId,
};
use lastword_types::session::Answer;
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
    /// A workspace and what the host keeps lie one within the other.
    #[error(
        "the directory {} cannot be a workspace: {}, where this host keeps its sessions or its \
         compiled agents, lies in it or around it, so that agents could read and change them; \
         open a directory apart from it, or have the host keep its data elsewhere",
        directory.display(),
        kept.display()
    )]
    NotApart {
        /// The workspace.
        directory: PathBuf,
        /// What the host keeps.
        kept: PathBuf,
    },
    /// There is no tokio runtime with timers and I/O, or the one that the host was built on is
    /// gone.
    #[error(
        "a host needs a tokio runtime with timers and I/O (`enable_all`): call `build` from an async \
         function that such a runtime runs, and keep the runtime as long as the host"
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
    /// The idempotency key came before with another request.
    #[error("this idempotency key was used before with another request; use a new key")]
    KeyConflict,
    /// The workspace takes no more prompts and clients.
    #[error("the workspace is closing; open it again once its runs are over")]
    WorkspaceClosing,
    /// The workspace is not open, or there is none.
    #[error("the workspace {0} is not open; open it first")]
    UnknownWorkspace(WorkspaceId),
    /// The workspace was a directory of whose path only a part was kept.
    #[error(
        "the workspace {0} cannot be opened: an earlier lastword kept only the part of its path that \
         is UTF-8, so that which directory it was cannot be told; read its sessions, and begin new \
         ones by opening the directory"
    )]
    UnknownDirectory(WorkspaceId),
    /// What the workspace was opened with last cannot be read.
    #[error(
        "what this workspace was opened with last cannot be read: it is damaged, or a later lastword \
         kept it; open it with options"
    )]
    UnreadableOptions,
    /// The agent is not loaded.
    #[error("there is no agent `{0}`; load it first")]
    UnknownAgent(AgentId),
    /// The client said that it is gone.
    #[error("the client {0} was retired; come back with a new client id")]
    ClientRetired(ClientId),
    /// The client has no claim on the workspace.
    #[error("the client has no claim on this workspace; create it or attach a stream first")]
    ClientNotAttached,
    /// The cursor is older than the log.
    #[error(
        "events up to number {resume_after} were folded into their messages; read the messages, \
         then follow from there"
    )]
    CursorExpired {
        /// The last number that is gone: the oldest cursor that still works.
        resume_after: u64,
    },
    /// The cursor is none of this log.
    #[error("the cursor is not one of this log, whose last number is {last}")]
    InvalidCursor {
        /// The last number there is; 0 where that makes no sense.
        last: u64,
    },
    /// A queued prompt was to be changed that has started.
    #[error("the run {0} does not wait any more; cancel it instead")]
    RunStarted(RunId),
    /// The run waits on disk until it is resumed.
    #[error("the run {0} is held: its workspace closed before it started; resume it")]
    Held(RunId),
    /// The run has no end yet.
    #[error("the run {run} has no end yet: it is {state}; wait for it with `ended`")]
    NotEnded {
        /// The run.
        run: RunId,
        /// Where it stands.
        state: RunState,
    },
    /// The run cannot be gone on with.
    #[error("the run {run} is {state}; only one that is held or ended early can be resumed")]
    NotResumable {
        /// The run.
        run: RunId,
        /// Where it stands.
        state: RunState,
    },
    /// The run was gone on with, and the run that went on has its end as well.
    #[error("the run {run} was gone on with by the run {by}, which is over too; resume that one")]
    AlreadyResumed {
        /// The run.
        run: RunId,
        /// The run that went on with it.
        by: RunId,
    },
    /// The run was begun by another run.
    #[error(
        "the run {0} was begun by another run, on behalf of that one; resume that one, or ask \
         something in this session yourself"
    )]
    BegunByRun(RunId),
    /// There is no such question.
    #[error("there is no question {0}")]
    UnknownQuestion(QuestionId),
    /// Somebody was quicker.
    #[error("the question {question} was answered already; the first answer counts")]
    AlreadyAnswered {
        /// The question.
        question: QuestionId,
        /// The answer that counts.
        answer: Answer,
    },
    /// Nobody answered in time: the run that asked ended, or went on without an answer.
    #[error("nobody waits for an answer any more: the run that asked {0} is over or went on")]
    QuestionDismissed(QuestionId),
    /// There is no such grant.
    #[error("there is no grant {0}; it may have been revoked already")]
    UnknownGrant(GrantId),
    /// There is no such message in the session.
    #[error("there is no message {0} in the session's history")]
    UnknownMessage(MessageId),
    /// A value that cannot be kept.
    #[error("{0}")]
    Invalid(String),
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
    /// The session belongs to another workspace; to which is not told.
    #[error("session {0} belongs to another workspace; open that one, or begin a new session")]
    OtherWorkspace(SessionId),
    /// There is no such run.
    #[error("there is no run {0}")]
    UnknownRun(RunId),
    /// The host is shutting down.
    #[error("the host is shutting down and takes no more prompts")]
    HostClosing,
    /// The store cannot do it; whether it did is unknown if it was a write.
    #[error(
        "the store cannot do this now: {0}; free disk space or look at the host's log, then ask again with the same idempotency key"
    )]
    StoreUnavailable(String),
    /// What is stored cannot be read. Asking again does not help; everything else goes on.
    #[error(
        "what is stored is damaged: {0}; `lastword doctor` says what else is, and how to export \
         the rest"
    )]
    Damaged(Box<Damage>),
}

impl HostError {
    /// Whether the prompt was refused because nothing new is taken, or taken there.
    pub(super) fn is_about_taking_prompts(&self) -> bool {
        matches!(
            self,
            Self::HostClosing
                | Self::WorkspaceClosing
                | Self::UnknownWorkspace(_)
                | Self::UnknownAgent(_)
        )
    }

    /// The error's name in the contract, for programs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Open(_) | Self::Engine(_) | Self::Io { .. } | Self::NoRuntime => {
                "host-unavailable"
            }
            Self::NotApart { .. } | Self::UnknownDirectory(_) => "invalid-directory",
            Self::UnreadableOptions => "unreadable-options",
            Self::Component { .. } | Self::AgentId(_) => "invalid-agent",
            Self::EmptyPrompt => "empty-prompt",
            Self::QueueFull => "queue-full",
            Self::KeyConflict => "key-conflict",
            Self::UnknownSession(_) => "unknown-session",
            Self::OtherAgent { .. } => "unknown-agent",
            Self::OtherWorkspace(_) => "unknown-workspace",
            Self::UnknownRun(_) => "unknown-run",
            Self::WorkspaceClosing => "workspace-closing",
            Self::UnknownWorkspace(_) => "unknown-workspace",
            Self::UnknownAgent(_) => "unknown-agent",
            Self::ClientRetired(_) => "client-retired",
            Self::ClientNotAttached => "client-not-attached",
            Self::CursorExpired { .. } => "cursor-expired",
            Self::InvalidCursor { .. } => "invalid-cursor",
            Self::RunStarted(_) => "run-started",
            Self::Held(_) => "run-held",
            Self::NotEnded { .. } => "run-not-ended",
            Self::NotResumable { .. } | Self::BegunByRun(_) => "not-resumable",
            Self::AlreadyResumed { .. } => "already-resumed",
            Self::UnknownMessage(_) => "unknown-message",
            Self::UnknownQuestion(_) => "unknown-question",
            Self::AlreadyAnswered { .. } => "already-answered",
            Self::QuestionDismissed(_) => "question-dismissed",
            Self::UnknownGrant(_) => "unknown-grant",
            Self::Invalid(_) => "invalid-value",
            Self::HostClosing => "host-closing",
            Self::StoreUnavailable(_) => "store-unavailable",
            Self::Damaged(_) => "store-damaged",
        }
    }
}

impl From<Refusal> for HostError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::UnknownSession(id) => Self::UnknownSession(id),
            Refusal::UnknownWorkspace(id) => Self::UnknownWorkspace(id),
            Refusal::UnknownRun(id) => Self::UnknownRun(id),
            Refusal::UnknownMessage(id) => Self::UnknownMessage(id),
            Refusal::KeyConflict => Self::KeyConflict,
            Refusal::QueueFull => Self::QueueFull,
            Refusal::Empty => Self::EmptyPrompt,
            Refusal::UnreadableOptions => Self::UnreadableOptions,
            Refusal::InvalidCursor => Self::InvalidCursor { last: 0 },
            Refusal::Expired { through } => Self::CursorExpired {
                resume_after: through,
            },
            Refusal::Beyond { last } => Self::InvalidCursor { last },
            Refusal::WrongState
            | Refusal::AlreadyEnded
            | Refusal::Resumed { .. }
            | Refusal::Quota => Self::StoreUnavailable(format!("{refusal:?}")),
        }
    }
}

impl From<StoreError> for HostError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Refused(refusal) => refusal.into(),
            StoreError::Closed(why) if why == SHUT_DOWN => Self::HostClosing,
            StoreError::Unavailable(why) | StoreError::Closed(why) | StoreError::Content(why) => {
                Self::StoreUnavailable(why)
            }
            StoreError::Damaged(damage) => Self::Damaged(damage),
        }
    }
}
