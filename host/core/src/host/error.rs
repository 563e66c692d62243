//! The errors that an embedder receives, with their names in the contract.

use crate::run::RunState;
use lastword_sandbox::{ComponentError, EngineError};
use lastword_store::{Damage, OpenError, Refusal, SHUT_DOWN, StoreError};
use lastword_types::hint::Hint;
use lastword_types::id::{
    AgentId, ClientId, GrantId, InvalidAgentId, MessageId, QuestionId, RunId, SessionId,
    WorkspaceId,
};
use lastword_types::retry::is_retryable;
use lastword_types::session::Answer;
use lastword_types::workspace::WorkspaceKey;
use std::any::Any;
use std::path::PathBuf;
use tokio::task::JoinError;

/// Why the host did not carry out a request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The data directory could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The engine could not be created.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A component could not be loaded.
    #[error("cannot load {name}: {source}")]
    Component {
        /// The file, or the agent's name.
        name: String,
        /// The reason.
        source: ComponentError,
    },
    /// A file or directory could not be read.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// The operation that failed.
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A workspace lies within one of the host's own directories, or the other way around.
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
        /// The host's own directory.
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
    /// A task of the host panicked. Its work is not done; everything else continues.
    #[error(
        "the host could not {doing}: it panicked ({message}); that is a bug of lastword or of what \
         its embedder brings, which the log of panics places"
    )]
    Panicked {
        /// The operation of the task.
        doing: &'static str,
        /// The panic's message.
        message: String,
    },
    /// The host cannot do something that every build of it must be able to do.
    #[error("the host could not {doing}: {why}; that is a bug of this build of lastword")]
    Internal {
        /// The operation that failed.
        doing: &'static str,
        /// The reason.
        why: String,
    },
    /// The prompt contains only white space, and the agent has no default prompt.
    #[error("the prompt is empty and the agent `{0}` has no default prompt; say what it shall do")]
    EmptyPrompt(AgentId),
    /// The queue of the session is full.
    #[error("the queue of the session {0} is full; wait for a run to end, or cancel one")]
    QueueFull(SessionId),
    /// The idempotency key was used before with another request: in this session, or to create it.
    #[error(
        "this idempotency key was used before with another request, for the session {0}; use a new key"
    )]
    KeyConflict(SessionId),
    /// The workspace accepts no more prompts and clients.
    #[error("the workspace {0} is closing; open it again once its runs are over")]
    WorkspaceClosing(WorkspaceId),
    /// The workspace is not open, or does not exist.
    #[error(
        "the workspace {0} is not open; open it first; it stays open as long as it is claimed or has runs"
    )]
    UnknownWorkspace(WorkspaceId),
    /// Only a part of the path of the workspace's directory is stored.
    #[error(
        "the workspace {0} cannot be opened: an earlier lastword kept only the part of its path that \
         is UTF-8, so that which directory it was cannot be told; read its sessions, and begin new \
         ones by opening the directory"
    )]
    UnknownDirectory(WorkspaceId),
    /// The stored options of the workspace cannot be read.
    #[error(
        "what the workspace {0} was opened with last cannot be read: it is damaged, or a later \
         lastword kept it; open it with options"
    )]
    UnreadableOptions(WorkspaceKey),
    /// The embedder's function did not supply the providers of the workspace
    /// ([`HostBuilder::workspace_providers`](super::HostBuilder::workspace_providers)).
    #[error(
        "the workspace {workspace} was not opened, since the program that runs this host did not \
         supply its models and tools: {why}; try again once that is mended"
    )]
    ProvidersUnavailable {
        /// The workspace.
        workspace: WorkspaceKey,
        /// Why not, in the words of the embedder.
        why: String,
    },
    /// The agent is not loaded.
    #[error("there is no agent `{0}`; load it first")]
    UnknownAgent(AgentId),
    /// The client was retired.
    #[error("the client {0} was retired; come back with a new client id")]
    ClientRetired(ClientId),
    /// The client has no claim on the workspace.
    #[error(
        "the client {client} has no claim on the workspace {workspace}; create it or attach a \
         stream first"
    )]
    ClientNotAttached {
        /// The client.
        client: ClientId,
        /// The workspace.
        workspace: WorkspaceId,
    },
    /// The cursor is older than the log.
    #[error(
        "events up to number {resume_after} were folded into their messages; read the messages, \
         then follow from there"
    )]
    CursorExpired {
        /// The number of the last deleted event: the oldest cursor that still works.
        resume_after: u64,
    },
    /// The cursor does not belong to this log.
    #[error("the cursor is not one of this log, whose last number is {last}")]
    InvalidCursor {
        /// The last number of the log; 0 if it does not apply.
        last: u64,
    },
    /// The prompt cannot be changed any more, since its run has started.
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
        /// Its state.
        state: RunState,
    },
    /// The run cannot be resumed.
    #[error("the run {run} is {state}; only one that is held or ended early can be resumed")]
    NotResumable {
        /// The run.
        run: RunId,
        /// Its state.
        state: RunState,
    },
    /// The run was resumed by another run, which has ended as well.
    #[error("the run {run} was gone on with by the run {by}, which is over too; resume that one")]
    AlreadyResumed {
        /// The run.
        run: RunId,
        /// The run that continued it.
        by: RunId,
    },
    /// The run was started by another run.
    #[error(
        "the run {0} was begun by another run, on behalf of that one; resume that one, or ask \
         something in this session yourself"
    )]
    BegunByRun(RunId),
    /// The question does not exist.
    #[error("there is no question {0}")]
    UnknownQuestion(QuestionId),
    /// Another answer came first.
    #[error("the question {question} was answered already; the first answer counts")]
    AlreadyAnswered {
        /// The question.
        question: QuestionId,
        /// The answer that counts.
        answer: Answer,
    },
    /// The answer came too late: the run that asked has ended, or continued without an answer.
    #[error("nobody waits for an answer any more: the run that asked {0} is over or went on")]
    QuestionDismissed(QuestionId),
    /// The grant does not exist.
    #[error("there is no grant {0}; it may have been revoked already")]
    UnknownGrant(GrantId),
    /// The message is not in the session's history.
    #[error("there is no message {0} in the session's history")]
    UnknownMessage(MessageId),
    /// The value is not valid, for this reason.
    #[error("{0}")]
    Invalid(String),
    /// The session does not exist.
    #[error("there is no session {0}; list the sessions to see those that there are")]
    UnknownSession(SessionId),
    /// The session belongs to another agent.
    #[error(
        "session {session} belongs to the agent `{agent}`; go on with that one, or begin a new session"
    )]
    OtherAgent {
        /// The session.
        session: SessionId,
        /// Its agent.
        agent: String,
    },
    /// The session belongs to another workspace. The error does not name that workspace.
    #[error("session {0} belongs to another workspace; open that one, or begin a new session")]
    OtherWorkspace(SessionId),
    /// The run does not exist.
    #[error("there is no run {0}")]
    UnknownRun(RunId),
    /// The host is shutting down.
    #[error("the host is shutting down and takes no more prompts")]
    HostClosing,
    /// The store is not available. If the request was a write, its outcome is unknown.
    #[error(
        "the store cannot do this now: {0}; free disk space or look at the host's log, then ask again with the same idempotency key"
    )]
    StoreUnavailable(String),
    /// The stored data cannot be read. A retry does not help; everything else continues.
    #[error(
        "what is stored is damaged: {0}; an examination of the data directory says what else is, and \
         the rest can be exported"
    )]
    Damaged(Box<Damage>),
}

impl HostError {
    /// Whether a prompt was refused because the host or the workspace accepts none, because its
    /// agent is not loaded, or because the workspace's directory is not there.
    pub(super) fn is_about_taking_prompts(&self) -> bool {
        matches!(
            self,
            Self::HostClosing
                | Self::WorkspaceClosing(_)
                | Self::UnknownWorkspace(_)
                | Self::UnknownAgent(_)
                | Self::Io { .. }
        )
    }

    /// Converts the failure of a task: it panicked, or its runtime is gone.
    pub(crate) fn of_task(error: JoinError, doing: &'static str) -> Self {
        match error.try_into_panic() {
            Ok(panic) => Self::Panicked {
                doing,
                message: panic_message(panic.as_ref()),
            },
            Err(_) => Self::NoRuntime,
        }
    }

    /// Returns the kind of the error, for programs that do not know the name.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        // Every name is listed, as a test checks.
        ErrorKind::of_name(self.name()).unwrap_or(ErrorKind::Internal)
    }

    /// Whether the same request may succeed later without any other change: at this host, or,
    /// once that has closed, at the next one on its data directory.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Open(error) => error.is_retryable(),
            other => is_retryable(other.name()),
        }
    }

    /// Returns a remedy, if there is a single one that a program can offer to its user.
    #[must_use]
    pub fn hint(&self) -> Option<Hint> {
        Some(match self {
            Self::Open(error) => return error.hint(),
            Self::NotApart { .. } => Hint::OtherDataDirectory,
            Self::EmptyPrompt(agent) => Hint::Prompt(agent.clone()),
            Self::UnknownAgent(agent) => Hint::LoadAgent(agent.clone()),
            Self::OtherAgent { session, agent } => Hint::UseAgent {
                session: *session,
                agent: agent.clone(),
            },
            Self::UnknownSession(_) => Hint::ListSessions,
            Self::Held(run) | Self::AlreadyResumed { by: run, .. } => Hint::Resume(*run),
            Self::RunStarted(run) => Hint::Cancel(*run),
            Self::StoreUnavailable(_) => Hint::FreeDiskSpace,
            Self::Damaged(_) => Hint::Examine,
            _ => return None,
        })
    }

    /// Returns the error's name in the contract, for programs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Open(_) | Self::Engine(_) | Self::Io { .. } | Self::NoRuntime => {
                "host-unavailable"
            }
            Self::NotApart { .. } | Self::UnknownDirectory(_) => "invalid-directory",
            Self::Panicked { .. } | Self::Internal { .. } => "internal",
            Self::UnreadableOptions(_) => "unreadable-options",
            Self::ProvidersUnavailable { .. } => "providers-unavailable",
            Self::Component { .. } | Self::AgentId(_) => "invalid-agent",
            Self::EmptyPrompt(_) => "empty-prompt",
            Self::QueueFull(_) => "queue-full",
            Self::KeyConflict(_) => "key-conflict",
            Self::UnknownSession(_) => "unknown-session",
            Self::OtherAgent { .. } => "unknown-agent",
            Self::OtherWorkspace(_) => "unknown-workspace",
            Self::UnknownRun(_) => "unknown-run",
            Self::WorkspaceClosing(_) => "workspace-closing",
            Self::UnknownWorkspace(_) => "unknown-workspace",
            Self::UnknownAgent(_) => "unknown-agent",
            Self::ClientRetired(_) => "client-retired",
            Self::ClientNotAttached { .. } => "client-not-attached",
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
            Refusal::KeyConflict(session) => Self::KeyConflict(session),
            Refusal::QueueFull(session) => Self::QueueFull(session),
            Refusal::InvalidCursor => Self::InvalidCursor { last: 0 },
            Refusal::Expired { through } => Self::CursorExpired {
                resume_after: through,
            },
            Refusal::Beyond { last } => Self::InvalidCursor { last },
            // The callers that can get these refusals convert them to specific errors themselves.
            Refusal::Empty
            | Refusal::UnreadableOptions
            | Refusal::WrongState
            | Refusal::AlreadyEnded
            | Refusal::Resumed { .. }
            | Refusal::Quota => Self::StoreUnavailable(format!("{refusal:?}")),
        }
    }
}

/// The kind of an error, for programs that do not know its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request is not valid.
    Invalid,
    /// It is not allowed.
    Denied,
    /// The requested thing does not exist.
    NotFound,
    /// It conflicts with the current state.
    Conflict,
    /// The requested thing no longer exists.
    Gone,
    /// A limit is reached.
    Limit,
    /// The host failed permanently.
    Internal,
    /// The host cannot carry it out now.
    Unavailable,
}

impl ErrorKind {
    /// Returns the corresponding HTTP status.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Invalid => 400,
            Self::Denied => 403,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::Gone => 410,
            Self::Limit => 429,
            Self::Internal => 500,
            Self::Unavailable => 503,
        }
    }

    /// Returns the kind of the errors with this name; `None` if no [`HostError`] has it.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        let named = ERROR_NAMES.iter().find(|(own, _)| *own == name);
        named.map(|(_, kind)| *kind)
    }
}

/// Every [name](HostError::name) of a [`HostError`], with its kind.
pub const ERROR_NAMES: &[(&str, ErrorKind)] = &[
    ("empty-prompt", ErrorKind::Invalid),
    ("invalid-agent", ErrorKind::Invalid),
    ("invalid-cursor", ErrorKind::Invalid),
    ("invalid-directory", ErrorKind::Invalid),
    ("invalid-value", ErrorKind::Invalid),
    ("client-not-attached", ErrorKind::NotFound),
    ("unknown-agent", ErrorKind::NotFound),
    ("unknown-grant", ErrorKind::NotFound),
    ("unknown-message", ErrorKind::NotFound),
    ("unknown-question", ErrorKind::NotFound),
    ("unknown-run", ErrorKind::NotFound),
    ("unknown-session", ErrorKind::NotFound),
    ("unknown-workspace", ErrorKind::NotFound),
    ("already-answered", ErrorKind::Conflict),
    ("already-resumed", ErrorKind::Conflict),
    ("client-retired", ErrorKind::Conflict),
    ("key-conflict", ErrorKind::Conflict),
    ("not-resumable", ErrorKind::Conflict),
    ("question-dismissed", ErrorKind::Conflict),
    ("run-held", ErrorKind::Conflict),
    ("run-not-ended", ErrorKind::Conflict),
    ("run-started", ErrorKind::Conflict),
    ("unreadable-options", ErrorKind::Conflict),
    ("workspace-closing", ErrorKind::Conflict),
    ("cursor-expired", ErrorKind::Gone),
    ("queue-full", ErrorKind::Limit),
    ("internal", ErrorKind::Internal),
    ("store-damaged", ErrorKind::Internal),
    ("host-closing", ErrorKind::Unavailable),
    ("host-unavailable", ErrorKind::Unavailable),
    ("providers-unavailable", ErrorKind::Unavailable),
    ("store-unavailable", ErrorKind::Unavailable),
];

/// Returns the message of a panic.
fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("without a message").to_owned()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_panicked_is_not_one_whose_runtime_is_gone() {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let panicked = runtime.block_on(async {
            let task = tokio::task::spawn_blocking(|| panic!("oh {}", "dear"));
            HostError::of_task(task.await.expect_err("it panics"), "read the file")
        });
        let HostError::Panicked { doing, message } = &panicked else {
            panic!("{panicked}");
        };
        assert_eq!((*doing, message.as_str()), ("read the file", "oh dear"));
        assert_eq!(
            (panicked.name(), panicked.kind()),
            ("internal", ErrorKind::Internal)
        );

        let gone = runtime.block_on(async {
            let task = tokio::spawn(std::future::pending::<()>());
            task.abort();
            HostError::of_task(task.await.expect_err("it was aborted"), "wait")
        });
        assert!(matches!(gone, HostError::NoRuntime), "{gone}");
    }

    #[test]
    fn every_name_is_listed_once() {
        for (at, (name, _)) in ERROR_NAMES.iter().enumerate() {
            let again = ERROR_NAMES[at + 1..].iter().any(|(other, _)| other == name);
            assert!(!again, "{name} is listed twice");
        }

        let session = SessionId::generate();
        let agent = AgentId::new("a").expect("a name");
        for (error, kind, again, hint) in [
            (HostError::QueueFull(session), ErrorKind::Limit, true, None),
            (HostError::HostClosing, ErrorKind::Unavailable, true, None),
            (HostError::NoRuntime, ErrorKind::Unavailable, false, None),
            (
                HostError::UnknownSession(session),
                ErrorKind::NotFound,
                false,
                Some(Hint::ListSessions),
            ),
            (
                HostError::StoreUnavailable("full".to_owned()),
                ErrorKind::Unavailable,
                true,
                Some(Hint::FreeDiskSpace),
            ),
            (
                HostError::EmptyPrompt(agent.clone()),
                ErrorKind::Invalid,
                false,
                Some(Hint::Prompt(agent)),
            ),
        ] {
            let told = (error.kind(), error.is_retryable(), error.hint());
            assert_eq!(told, (kind, again, hint), "{error}");
        }
    }
}
