//! Everything that is ever written, as plain data: one struct for each command, and what a
//! backend replies to it. `backend` applies them in batches; `writer` decides which go together.
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

/// A command of one kind, and what it is replied with.
pub trait CommandKind: Into<Command> + Send + 'static {
    /// What a backend replies once it is committed.
    type Reply: Send + 'static;

    /// Takes the reply out of the one that a backend gave.
    ///
    /// # Errors
    /// [`StoreError::Content`] for the reply to another command, which no backend gives.
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
    CreateSession -> ();
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
    /// Whether it is kept and tried again while the store cannot write. Others are answered
    /// with the error.
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

    /// The run whose log it goes on with: behind one of those that is kept, the others of the
    /// same run are kept too.
    #[must_use]
    pub fn ordered_run(&self) -> Option<RunId> {
        match self {
            Self::Append(append) => Some(append.run),
            Self::Finish(finish) => Some(finish.run),
            _ => None,
        }
    }

    /// The runs that it ends, and how: what the next host has to know if this one ends before
    /// that is committed.
    pub(super) fn ends(&self) -> Option<(&[RunId], &RunOutcome)> {
        match self {
            Self::Finish(finish) => Some((std::slice::from_ref(&finish.run), &finish.ending)),
            Self::Withdraw(withdraw) => Some((&withdraw.runs, &withdraw.ending)),
            _ => None,
        }
    }
}

/// Makes or finds the workspace with a key, and keeps what it is opened with: what is given, or
/// else what it was opened with last.
///
/// Refused with [`Refusal::UnreadableOptions`](super::Refusal::UnreadableOptions) where nothing
/// is given and what was kept cannot be read.
#[derive(Clone, Debug)]
pub struct OpenWorkspace {
    /// Its id, if it is to be made.
    pub id: WorkspaceId,
    /// What it is known by.
    pub key: String,
    /// What it is opened with.
    pub options: Option<StoredOptions>,
}

/// A workspace that was opened.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenedWorkspace {
    /// Its id: an earlier one's if it was known.
    pub id: WorkspaceId,
    /// What it is opened with.
    pub options: StoredOptions,
}

/// Keeps what an open workspace is opened with from now on. Of one that is gone, nothing.
#[derive(Clone, Debug)]
pub struct KeepOptions {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// What holds from now on.
    pub options: StoredOptions,
}

/// Deletes a workspace that has no sessions;
/// [`Refusal::WrongState`](super::Refusal::WrongState) while it has some.
#[derive(Clone, Debug)]
pub struct DeleteWorkspace {
    /// The workspace.
    pub workspace: WorkspaceId,
}

/// Begins a session, which may have a parent in the same workspace.
#[derive(Clone, Debug)]
pub struct CreateSession {
    /// Its id, made by the host.
    pub id: SessionId,
    /// Where it belongs.
    pub workspace: WorkspaceId,
    /// The agent that it talks to.
    pub agent: AgentId,
    /// The session that it is begun by, if one does.
    pub parent: Option<SessionId>,
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

/// Begins a session with the history of another, through one of its messages; the same key of
/// that session again replies with the same one.
#[derive(Clone, Debug)]
pub struct ForkSession {
    /// The id of the new one, made by the host.
    pub id: SessionId,
    /// The run that owns the copies, made by the host.
    pub run: RunId,
    /// Whose history.
    pub from: SessionId,
    /// Through this message.
    pub through: MessageId,
    /// The caller's idempotency key.
    pub key: Option<Key>,
}

/// Marks a session: it takes no more prompts and is in no list. [`DeleteRows`] follows, here or
/// when the store is opened again.
#[derive(Clone, Debug)]
pub struct BeginDelete {
    /// The session.
    pub session: SessionId,
}

/// Deletes a bounded number of rows of a session that [`BeginDelete`] marked. Replies whether
/// that was the last of them. [`Refusal::WrongState`](super::Refusal::WrongState) while a run has
/// no end: prompts that are held go with it, all others must have ended.
#[derive(Clone, Debug)]
pub struct DeleteRows {
    /// The session.
    pub session: SessionId,
}

/// Accepts a prompt: the run, its bytes, the user's message, and what becomes of what was waited
/// for.
#[derive(Clone, Debug)]
pub struct Accept {
    /// The run's id, made by the host.
    pub run: RunId,
    /// The session.
    pub session: SessionId,
    /// What is asked.
    pub prompt: PromptRecord,
    /// Bytes that it names, by their digest.
    pub attached: Vec<(BlobId, Vec<u8>)>,
    /// The digest of the agent's component.
    pub digest: String,
    /// The caller's idempotency key.
    pub key: Option<Key>,
    /// What it goes on with, if it does; refused with
    /// [`Refusal::WrongState`](super::Refusal::WrongState) if another prompt has gone on with
    /// that.
    pub goes_on: Option<Continuation>,
    /// The run that ended early and that it goes on with, if it does. If a run does so that
    /// has no end yet, that is the run; refused with
    /// [`Refusal::Resumed`](super::Refusal::Resumed) if that has its end.
    pub resumes: Option<RunId>,
    /// The run that begins it, if one does.
    pub parent: Option<RunId>,
    /// Prompts of this session that may wait at the most.
    pub queue_max: u32,
    /// Whether it starts with its acceptance: the session is idle and a slot is held.
    pub start: bool,
}

/// The run that a prompt goes on with: one that ended waiting.
#[derive(Clone, Debug, PartialEq)]
pub struct Continuation {
    /// That run.
    pub run: RunId,
    /// The answer to what it asked, which is dismissed without one.
    pub answer: Option<Answer>,
}

/// What became of a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It is durable as a new run.
    New,
    /// Its key came before, with the same content, or the run that it was to go on with is
    /// gone on with: this is the run of that time.
    Known(RunId),
}

/// Replaces what a prompt asks that is queued or held;
/// [`Refusal::WrongState`](super::Refusal::WrongState) if it is neither,
/// [`Refusal::Empty`](super::Refusal::Empty) if nothing would be left to ask.
#[derive(Clone, Debug)]
pub struct EditQueued {
    /// Its session.
    pub session: SessionId,
    /// Its run.
    pub run: RunId,
    /// What is said; `None` leaves it as it is.
    pub said: Option<Vec<Part>>,
    /// What is attached; `None` leaves it as it is.
    pub attached: Option<Vec<Part>>,
    /// Bytes that this names, by their digest.
    pub blobs: Vec<(BlobId, Vec<u8>)>,
}

/// Holds runs that are queued; those that are not any more are left as they are.
#[derive(Clone, Debug)]
pub struct Hold {
    /// The runs.
    pub runs: Vec<RunId>,
}

/// Puts a held run back into the queue, for which the key stands from then on.
#[derive(Clone, Debug)]
pub struct Resume {
    /// The run.
    pub run: RunId,
    /// The caller's idempotency key.
    pub key: Option<Key>,
}

/// Has a key stand for a run that was there before it, unless it stands for one already.
#[derive(Clone, Debug)]
pub struct KeepKey {
    /// The run.
    pub run: RunId,
    /// The key, of the run's session.
    pub key: Key,
}

/// Starts a queued run. Replies with what is asked, which may have been edited since it was
/// accepted.
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

/// Keeps a summary that stands for everything through one message of the run's session, if it is
/// another than the present one. The originals stay.
#[derive(Clone, Debug)]
pub struct Summarise {
    /// The run that made it.
    pub run: RunId,
    /// What it says.
    pub summary: Message,
    /// The last message that it stands for.
    pub through: MessageId,
}

/// Notes a latched cause whose end still takes a while, so that a crash in between keeps the
/// cause.
#[derive(Clone, Debug)]
pub struct Latch {
    /// The run.
    pub run: RunId,
    /// Its cause.
    pub cause: Cause,
}

/// Everything that a run leaves, and its one end.
#[derive(Clone, Debug)]
pub struct Finish {
    /// The run.
    pub run: RunId,
    /// What was not yet written, and what closes the transcript, in order.
    pub entries: Vec<Entry>,
    /// What the run said, counted.
    pub said: OutputStats,
    /// How it ended.
    pub ending: RunOutcome,
    /// When the guest was gone, on the clock's scale.
    pub since: Duration,
}

/// A run's end as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Finished {
    /// Its receipt.
    pub receipt: Receipt,
    /// Why no more is stored than that the run ended, if that is so.
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

/// Takes a page of what sessions wait for back. Replies with the ends of the runs that this
/// would have begun; with none once nothing is left.
#[derive(Clone, Debug)]
pub struct TakeWaitsBack {
    /// Whose.
    pub waits: Waits,
    /// How those runs end.
    pub ending: RunOutcome,
}

/// Whose waits are taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// All that a session waits for: a time, and an answer.
    Session(SessionId),
    /// The times that the sessions of a workspace wait for; what they asked can still be
    /// answered.
    Times(WorkspaceId),
}

/// Sets the times that sessions wait for back: those of all by so many milliseconds, as the wall
/// clock was; or else those of runs that ended, by the wall clock, in the future, to what they
/// waited for from now on.
#[derive(Clone, Debug)]
pub struct ShiftWakes {
    /// Milliseconds, if all are set back.
    pub by: Option<i64>,
}

/// Writes, replaces or deletes a value of an agent's, if what is there is as expected. Replies
/// whether it was. [`Refusal::Quota`](super::Refusal::Quota) if it would be too much.
#[derive(Clone, Debug)]
pub struct PutState {
    /// Whose.
    pub owner: StateOwner,
    /// Where.
    pub scope: StateScope,
    /// Under this key.
    pub key: String,
    /// What has to be there; `None` expects nothing in particular.
    pub expected: Option<Option<Vec<u8>>>,
    /// What is there from then on; `None` deletes it.
    pub value: Option<Vec<u8>>,
    /// What the owner may keep in this scope.
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

/// Whose values.
#[derive(Clone, Debug)]
pub struct StateOwner {
    /// The session, and with it the workspace.
    pub session: SessionId,
    /// The agent.
    pub agent: AgentId,
}

/// What one owner may keep in one scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateQuota {
    /// Bytes of keys and values together.
    pub bytes: u64,
    /// Number of keys.
    pub keys: u64,
}

/// Takes a grant back. Replies whether there was one.
#[derive(Clone, Debug)]
pub struct Revoke {
    /// The grant.
    pub grant: GrantId,
}

/// Keeps an agent's component, instead of one that was kept under the same name.
#[derive(Clone, Debug)]
pub struct KeepAgent {
    /// Its name.
    pub name: AgentId,
    /// The lower-case hex SHA-256 of the component.
    pub digest: String,
    /// The component.
    pub wasm: Vec<u8>,
}

/// Keeps an agent no longer. Replies whether it was kept.
#[derive(Clone, Debug)]
pub struct ForgetAgent {
    /// Its name.
    pub name: AgentId,
}

/// Has a session's log begin after a number, unless it begins later already. What stands before
/// is read by nobody from then on.
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

/// Changes nothing that anyone reads: asks whether the store can write.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Whether it is committed all the same, or asks only who owns the store.
    pub commit: bool,
}

/// Rows that one [`DeleteRows`] or [`SweepLog`] deletes at the most, so that nothing waits long
/// behind it.
pub const ROWS_MAX: usize = 2000;

/// What a backend is told with every batch of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchTime {
    /// The same for everything that is written together.
    pub now: UnixMillis,
    /// The same moment on the clock's scale.
    pub elapsed: Duration,
}
