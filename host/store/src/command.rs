//! Every write to the store as plain data: one struct for each command, and the reply that a
//! backend gives to it. `writer` collects commands into batches, and a `backend` applies them.
//!
//! Commands name rows by their ids. A command that a backend refuses has changed nothing.

use super::StoreError;
use super::options::StoredOptions;
use super::prompt::{Key, PromptRecord};
use super::rows::{QueuedRow, SessionRow};
use crate::transcript::Entry;
use lastword_types::clock::UnixMillis;
use lastword_types::id::{AgentId, GrantId, MessageId, RunId, SessionId, WorkspaceId};
use lastword_types::run::{Cause, OutputStats, Receipt, RunOutcome};
use lastword_types::session::{Answer, BlobId, Message, Part, Todo};
use std::time::Duration;

/// A kind of command with the type of its reply.
pub trait CommandKind: Into<Command> + Send + 'static {
    /// The reply of a backend once the command is committed.
    type Reply: Send + 'static;

    /// Extracts the reply of this kind from the one that a backend returned.
    ///
    /// # Errors
    /// [`StoreError::Content`] for the reply to another kind of command, which no backend returns.
    fn reply(reply: Reply) -> Result<Self::Reply, StoreError>;
}

macro_rules! commands {
    ($($name:ident -> $reply:ty;)*) => {
        /// One command of any kind.
        #[derive(Clone, Debug)]
        pub enum Command {
            $(
                #[doc = concat!("See [`", stringify!($name), "`].")]
                $name($name),
            )*
        }

        /// The reply to a command, by its kind.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Reply {
            $(
                #[doc = concat!("To [`", stringify!($name), "`].")]
                $name($reply),
            )*
        }

        $(
            impl From<$name> for Command {
                fn from(command: $name) -> Self {
                    Self::$name(command)
                }
            }

            impl CommandKind for $name {
                type Reply = $reply;

                fn reply(reply: Reply) -> Result<Self::Reply, StoreError> {
                    match reply {
                        Reply::$name(reply) => Ok(reply),
                        other => Err(StoreError::Content(format!(
                            concat!("replied to ", stringify!($name), " with {:?}"),
                            other
                        ))),
                    }
                }
            }
        )*
    };
}

commands! {
    OpenWorkspace -> OpenedWorkspace;
    KeepOptions -> ();
    DeleteWorkspace -> ();
    CreateSession -> SessionId;
    RenameSession -> SessionRow;
    SetTodo -> SessionRow;
    ForkSession -> SessionId;
    BeginDelete -> ();
    DeleteRows -> bool;
    Accept -> Accepted;
    EditQueued -> QueuedRow;
    Hold -> ();
    Resume -> ();
    KeepKey -> ();
    Start -> PromptRecord;
    Append -> ();
    Summarise -> ();
    Latch -> ();
    Finish -> Finished;
    Withdraw -> Vec<Receipt>;
    TakeWaitsBack -> Vec<Receipt>;
    ShiftWakes -> ();
    PutState -> bool;
    Revoke -> bool;
    KeepAgent -> ();
    ForgetAgent -> bool;
    CutLog -> ();
    SweepLog -> u64;
    Probe -> ();
}

impl Command {
    /// Whether the writer keeps the command and tries it again while the store cannot write. Any
    /// other command fails with the error at once.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        matches!(
            self,
            Self::Start(_)
                | Self::Append(_)
                | Self::Latch(_)
                | Self::Finish(_)
                | Self::Withdraw(_)
                | Self::Hold(_)
        )
    }

    /// The run whose log the command continues. While one such command is kept for another try,
    /// later ones of the same run are kept too, so that the log stays in order.
    #[must_use]
    pub fn ordered_run(&self) -> Option<RunId> {
        match self {
            Self::Append(append) => Some(append.run),
            Self::Finish(finish) => Some(finish.run),
            _ => None,
        }
    }

    /// The runs that the command ends, and how they end. The next host needs both if this one
    /// ends before the command is committed.
    pub(super) fn ends(&self) -> Option<(&[RunId], &RunOutcome)> {
        match self {
            Self::Finish(finish) => Some((std::slice::from_ref(&finish.run), &finish.ending)),
            Self::Withdraw(withdraw) => Some((&withdraw.runs, &withdraw.ending)),
            _ => None,
        }
    }
}

/// Finds or creates the workspace with a key, and stores the given options. Without any, the
/// options that were stored last hold.
///
/// Refused with [`Refusal::UnreadableOptions`](super::Refusal::UnreadableOptions) if none are
/// given and the stored ones cannot be read.
#[derive(Clone, Debug)]
pub struct OpenWorkspace {
    /// The id of the workspace if it is created.
    pub id: WorkspaceId,
    /// The text form of its key.
    pub key: String,
    /// Its options; `None` takes the stored ones.
    pub options: Option<StoredOptions>,
}

/// A workspace that was opened.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenedWorkspace {
    /// Its id: the stored one if the workspace existed.
    pub id: WorkspaceId,
    /// The options that hold for it.
    pub options: StoredOptions,
}

/// Stores new options of an open workspace. Does nothing if the workspace is deleted.
#[derive(Clone, Debug)]
pub struct KeepOptions {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// Its options from now on.
    pub options: StoredOptions,
}

/// Deletes a workspace that has no sessions;
/// [`Refusal::WrongState`](super::Refusal::WrongState) while it has some.
#[derive(Clone, Debug)]
pub struct DeleteWorkspace {
    /// The workspace.
    pub workspace: WorkspaceId,
}

/// Begins a session, which may have a parent in the same workspace. Replies with its id. The same
/// key in the same workspace again replies with the first session, until that is deleted.
#[derive(Clone, Debug)]
pub struct CreateSession {
    /// Its id, made by the host.
    pub id: SessionId,
    /// The workspace that it belongs to.
    pub workspace: WorkspaceId,
    /// The agent that it talks to.
    pub agent: AgentId,
    /// The session that begins it, if one does.
    pub parent: Option<SessionId>,
    /// The caller's idempotency key.
    pub key: Option<Key>,
}

/// Sets a session's title, and nothing else.
#[derive(Clone, Debug)]
pub struct RenameSession {
    /// The session.
    pub session: SessionId,
    /// Its title from now on.
    pub title: String,
}

/// Sets a session's plan, and nothing else.
#[derive(Clone, Debug)]
pub struct SetTodo {
    /// The session.
    pub session: SessionId,
    /// Its plan from now on.
    pub todo: Vec<Todo>,
}

/// Begins a session with a copy of another session's history up to and including one message. The
/// same key for the same source again replies with the first copy.
#[derive(Clone, Debug)]
pub struct ForkSession {
    /// The id of the new one, made by the host.
    pub id: SessionId,
    /// The run that owns the copies, made by the host.
    pub run: RunId,
    /// The session whose history is copied.
    pub from: SessionId,
    /// The last message that is copied.
    pub through: MessageId,
    /// The caller's idempotency key.
    pub key: Option<Key>,
}

/// Marks a session as being deleted: it takes no more prompts and is in no list. [`DeleteRows`]
/// follows, in this process or when the store is opened again.
#[derive(Clone, Debug)]
pub struct BeginDelete {
    /// The session.
    pub session: SessionId,
}

/// Deletes a bounded number of rows of a session that [`BeginDelete`] marked. Replies whether
/// those were the last. Refused with [`Refusal::WrongState`](super::Refusal::WrongState) while a
/// run has no end, except for held prompts, which are deleted with the session.
#[derive(Clone, Debug)]
pub struct DeleteRows {
    /// The session.
    pub session: SessionId,
}

/// Accepts a prompt: stores the run, its attached bytes and the user's message, and settles what
/// the session waited for.
#[derive(Clone, Debug)]
pub struct Accept {
    /// The run's id, made by the host.
    pub run: RunId,
    /// The session.
    pub session: SessionId,
    /// The prompt.
    pub prompt: PromptRecord,
    /// The bytes that the prompt names, by their digest.
    pub attached: Vec<(BlobId, Vec<u8>)>,
    /// The digest of the agent's component.
    pub digest: String,
    /// The caller's idempotency key.
    pub key: Option<Key>,
    /// The waiting run that this prompt continues, if any. Refused with
    /// [`Refusal::WrongState`](super::Refusal::WrongState) if another prompt has continued it
    /// already.
    pub goes_on: Option<Continuation>,
    /// The run that ended early and that this prompt resumes, if any. If another run already
    /// resumes it, the reply names that run; refused with
    /// [`Refusal::Resumed`](super::Refusal::Resumed) if that run has ended.
    pub resumes: Option<RunId>,
    /// The run that begins it, if one does.
    pub parent: Option<RunId>,
    /// The largest number of prompts of this session that may wait.
    pub queue_max: u32,
    /// Whether the run starts at once, since the session is idle and the host holds a slot for it.
    pub start: bool,
}

/// The run that a prompt continues: one that ended waiting.
#[derive(Clone, Debug, PartialEq)]
pub struct Continuation {
    /// That run.
    pub run: RunId,
    /// The answer to its question. Without one the question is dismissed.
    pub answer: Option<Answer>,
}

/// The result of accepting a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It is durable as a new run.
    New,
    /// An earlier run stands for it: the key was used before with the same content, or another run
    /// already continues the one that it was to continue.
    Known(RunId),
}

/// Replaces the content of a prompt that is queued or held. Refused with
/// [`Refusal::WrongState`](super::Refusal::WrongState) if it is neither, and with
/// [`Refusal::Empty`](super::Refusal::Empty) if the prompt would be empty.
#[derive(Clone, Debug)]
pub struct EditQueued {
    /// Its session.
    pub session: SessionId,
    /// Its run.
    pub run: RunId,
    /// The new text; `None` leaves it as it is.
    pub said: Option<Vec<Part>>,
    /// The new attachments; `None` leaves them as they are.
    pub attached: Option<Vec<Part>>,
    /// The bytes that the new attachments name, by their digest.
    pub blobs: Vec<(BlobId, Vec<u8>)>,
}

/// Holds queued runs. Runs that are no longer queued are left as they are.
#[derive(Clone, Debug)]
pub struct Hold {
    /// The runs.
    pub runs: Vec<RunId>,
}

/// Puts a held run back into the queue. The key stands for the run from then on.
#[derive(Clone, Debug)]
pub struct Resume {
    /// The run.
    pub run: RunId,
    /// The caller's idempotency key.
    pub key: Option<Key>,
}

/// Makes a key stand for an existing run, unless it already stands for one.
#[derive(Clone, Debug)]
pub struct KeepKey {
    /// The run.
    pub run: RunId,
    /// The key, of the run's session.
    pub key: Key,
}

/// Starts a queued run. Replies with its prompt, which may have been edited since it was accepted.
#[derive(Clone, Debug)]
pub struct Start {
    /// The run.
    pub run: RunId,
}

/// Writes what a run said.
#[derive(Clone, Debug)]
pub struct Append {
    /// The run.
    pub run: RunId,
    /// What it said, in order.
    pub entries: Vec<Entry>,
}

/// Stores a summary that replaces everything up to and including one message of the run's session
/// in requests to a model, unless it is the present summary. The original messages stay.
#[derive(Clone, Debug)]
pub struct Summarise {
    /// The run that made it.
    pub run: RunId,
    /// The summary.
    pub summary: Message,
    /// The last message that it replaces.
    pub through: MessageId,
}

/// Stores the latched cause of a run whose end still takes a while, so that the cause survives a
/// crash in between.
#[derive(Clone, Debug)]
pub struct Latch {
    /// The run.
    pub run: RunId,
    /// Its cause.
    pub cause: Cause,
}

/// Ends a run: stores the rest of its output and its receipt.
#[derive(Clone, Debug)]
pub struct Finish {
    /// The run.
    pub run: RunId,
    /// The output that is not yet written, and the entries that close the transcript, in order.
    pub entries: Vec<Entry>,
    /// Counts of the run's output.
    pub said: OutputStats,
    /// How it ended.
    pub ending: RunOutcome,
    /// When the guest ended, on the scale of [`BatchTime::elapsed`].
    pub since: Duration,
}

/// A run's end as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Finished {
    /// Its receipt.
    pub receipt: Receipt,
    /// Why only the end was stored and not the rest of the output, if that is so.
    pub rejected: Option<StoreError>,
}

/// Ends runs that are still queued or held: all, or none.
#[derive(Clone, Debug)]
pub struct Withdraw {
    /// The runs.
    pub runs: Vec<RunId>,
    /// How they end.
    pub ending: RunOutcome,
}

/// Takes back one page of the times and answers that sessions wait for. Replies with the receipts
/// of the runs that these would have begun, and with none once no wait is left.
#[derive(Clone, Debug)]
pub struct TakeWaitsBack {
    /// The waits that are taken back.
    pub waits: Waits,
    /// How those runs end.
    pub ending: RunOutcome,
}

/// Which waits are taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// Both waits of a session: for a time, and for an answer.
    Session(SessionId),
    /// The times that the sessions of a workspace wait for. Their questions can still be answered.
    Times(WorkspaceId),
}

/// Corrects the times that sessions wait for after the wall clock was set back. If `by` is set,
/// adds it to all of them. Otherwise corrects those of runs whose end lies in the future by the
/// wall clock: their waiting time begins anew now.
#[derive(Clone, Debug)]
pub struct ShiftWakes {
    /// Milliseconds to add to all times, negative to move them back; `None` if unknown.
    pub by: Option<i64>,
}

/// Writes, replaces or deletes a value of an agent, if the present value is the expected one.
/// Replies whether it was. Refused with [`Refusal::Quota`](super::Refusal::Quota) if the quota
/// would be exceeded.
#[derive(Clone, Debug)]
pub struct PutState {
    /// The owner of the value.
    pub owner: StateOwner,
    /// The scope of the value.
    pub scope: StateScope,
    /// Its key.
    pub key: String,
    /// The value that must be present, with `Some(None)` for no value; `None` accepts any.
    pub expected: Option<Option<Vec<u8>>>,
    /// The new value; `None` deletes the present one.
    pub value: Option<Vec<u8>>,
    /// How much the owner may keep in this scope.
    pub quota: StateQuota,
}

/// Where a value belongs. Workspace values are shared by the sessions of one agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateScope {
    /// One session.
    Session,
    /// All sessions of the same agent in one workspace.
    Workspace,
}

/// The owner of values.
#[derive(Clone, Debug)]
pub struct StateOwner {
    /// The session, and with it the workspace.
    pub session: SessionId,
    /// The agent.
    pub agent: AgentId,
}

/// The quota of one owner in one scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateQuota {
    /// Bytes of keys and values together.
    pub bytes: u64,
    /// Number of keys.
    pub keys: u64,
}

/// Revokes a grant. Replies whether it existed.
#[derive(Clone, Debug)]
pub struct Revoke {
    /// The grant.
    pub grant: GrantId,
}

/// Stores an agent's component, and replaces one that was stored under the same name.
#[derive(Clone, Debug)]
pub struct KeepAgent {
    /// Its name.
    pub name: AgentId,
    /// The lower-case hex SHA-256 of the component.
    pub digest: String,
    /// The component.
    pub wasm: Vec<u8>,
}

/// Deletes a stored agent. Replies whether it existed.
#[derive(Clone, Debug)]
pub struct ForgetAgent {
    /// Its name.
    pub name: AgentId,
}

/// Makes a session's log begin after a number, unless it already begins later. Earlier events can
/// no longer be read, and [`SweepLog`] deletes them.
#[derive(Clone, Debug)]
pub struct CutLog {
    /// The session.
    pub session: SessionId,
    /// The last number that is cut off.
    pub through: u64,
}

/// Deletes a bounded number of events before the beginning of a session's log. Replies how many;
/// fewer than [`ROWS_MAX`] once none is left.
#[derive(Clone, Debug)]
pub struct SweepLog {
    /// The session.
    pub session: SessionId,
}

/// Checks that the store can write. Changes nothing that a query returns.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Whether a commit is tried, or only the ownership of the store is checked.
    pub commit: bool,
}

/// The largest number of rows that one [`DeleteRows`] or [`SweepLog`] deletes, so that no other
/// command waits long.
pub const ROWS_MAX: usize = 2000;

/// The time of a batch, the same for everything that is written in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchTime {
    /// The wall clock.
    pub now: UnixMillis,
    /// The same moment on the scale of the clock's `elapsed`. A backend that has waited since then,
    /// as for a lock, reads the clock again.
    pub elapsed: Duration,
}
