//! The results of reads, as plain data that every backend returns: sessions, runs, waiting prompts,
//! questions, pages of logs.

use super::Damage;
use super::prompt::PromptRecord;
use lastword_types::clock::UnixMillis;
use lastword_types::event::{Event, Position};
use lastword_types::id::{AgentId, RunId, SessionId, WorkspaceId};
use lastword_types::run::{QueuedRun, Receipt, RunState, RunSummary};
use lastword_types::session::{Message, Question, QuestionState, SessionRecord};
use std::collections::HashSet;
use std::time::Duration;

/// The largest number of rows in a page of a list. A reader may ask for one more, to find out
/// whether the page is the last one.
pub const PAGE_ROWS: u32 = 200;
/// The largest number of messages in a page of history.
pub const PAGE_MESSAGES: u32 = 256;
/// The largest number of events in a page.
pub const PAGE_EVENTS: usize = 256;
/// The largest number of events that one read by position looks at, whatever their workspace.
pub(super) const SCANNED: usize = 4096;
/// The largest number of sessions whose logs may be folded, and of events of one session, that one
/// read looks at.
pub(super) const FOLD_SESSIONS: usize = 100;
pub(super) const FOLD_EVENTS: usize = 4000;
/// The largest number of due sessions, and of waits that are taken back, in one page.
pub(super) const DUE_MAX: usize = 100;
/// The largest number of open questions that are listed.
pub(super) const QUESTIONS_MAX: usize = 1000;
/// The largest number of grants that are listed, and that apply, for one agent in one workspace.
pub(super) const GRANTS_MAX: usize = 10_000;

/// A session, with its workspace's key.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionRow {
    /// The session.
    pub record: SessionRecord,
    /// The key of its workspace.
    pub workspace_key: String,
    /// Its place in lists.
    pub(super) place: i64,
}

impl SessionRow {
    /// Returns the cursor with which a list continues after this session.
    #[must_use]
    pub fn cursor(&self) -> String {
        cursor(self.place)
    }
}

/// The workspace and the agent of a session, without the counts, which cost a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionAt {
    /// The session.
    pub id: SessionId,
    /// The workspace that it belongs to.
    pub workspace: WorkspaceId,
    /// The agent that it talks to.
    pub agent: AgentId,
}

/// Which sessions are listed, and from which one on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionsPage {
    /// Only the sessions of this workspace, if set.
    pub workspace: Option<WorkspaceId>,
    /// Only the sessions that this session began, if set.
    pub parent: Option<SessionId>,
    /// The largest number of rows; at most [`PAGE_ROWS`].
    pub limit: u32,
    /// The cursor of the last row of the previous page.
    pub after: Option<String>,
}

/// A known workspace, open or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkspaceRow {
    /// Its id.
    pub id: WorkspaceId,
    /// The key under which it is stored.
    pub key: String,
    /// Unix time in milliseconds when it was first opened.
    pub created_ms: UnixMillis,
    /// The number of its sessions.
    pub sessions: u64,
    /// Its place in lists.
    pub(super) place: i64,
}

impl WorkspaceRow {
    /// Returns the cursor with which a list continues after this workspace.
    #[must_use]
    pub fn cursor(&self) -> String {
        cursor(self.place)
    }
}

/// A run as `show` prints it.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct RunRow {
    /// Its id.
    pub id: RunId,
    /// Its state. If no host owns the directory, `Running` means that it awaits recovery.
    pub state: RunState,
    /// Unix time in milliseconds when its agent was called, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_ms: Option<UnixMillis>,
    /// Unix time in milliseconds when it ended, if it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<UnixMillis>,
    /// Its receipt, if it has ended.
    pub receipt: Option<Receipt>,
    /// Its messages in order: first those with a place in the history, then the others.
    pub messages: Vec<Message>,
}

/// A run and where it stands in the list.
#[derive(Clone, Debug, PartialEq)]
pub struct RunSummaryRow {
    /// The run.
    pub run: RunSummary,
    pub(super) place: i64,
}

impl RunSummaryRow {
    /// Returns the cursor with which the list continues after this run.
    #[must_use]
    pub fn cursor(&self) -> String {
        cursor(self.place)
    }
}

/// A run with its session, workspace and state: what the host needs to resume it if it is held.
#[derive(Clone, Debug, PartialEq)]
pub struct RunAt {
    /// Its id.
    pub id: RunId,
    /// Its session.
    pub session: SessionId,
    /// The agent that the session talks to.
    pub agent: AgentId,
    /// The workspace that it belongs to.
    pub workspace: WorkspaceId,
    /// Its state.
    pub state: RunState,
    /// Its prompt.
    pub prompt: PromptRecord,
}

/// A waiting prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct QueuedRow {
    /// Its run's id.
    pub id: RunId,
    /// `Queued` or `Held`.
    pub state: RunState,
    /// The prompt.
    pub prompt: PromptRecord,
    /// The caller's idempotency key.
    pub key: Option<String>,
    /// Unix time in milliseconds when it was accepted.
    pub accepted_ms: UnixMillis,
}

impl From<QueuedRow> for QueuedRun {
    fn from(row: QueuedRow) -> Self {
        let millis = |deadline: Duration| u64::try_from(deadline.as_millis());
        Self {
            run: row.id,
            state: row.state,
            origin: row.prompt.origin,
            parts: row.prompt.parts,
            key: row.key,
            deadline_ms: row.prompt.deadline.and_then(|d| millis(d).ok()),
            accepted_ms: row.accepted_ms,
        }
    }
}

/// Which held runs are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldScope {
    /// Those of all workspaces.
    All,
    /// Those of one workspace.
    Workspace(WorkspaceId),
    /// Those of one session.
    Session(SessionId),
    /// One run, if it is held.
    Run(RunId),
}

/// A session and its workspace, as a follower of the session or of one of its runs needs them; also
/// those of a deleted session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Followed {
    /// The session.
    pub session: SessionId,
    /// Its workspace.
    pub workspace: WorkspaceId,
}

/// A page of events in the order of their positions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Positions {
    /// The events, in order.
    pub events: Vec<Event>,
    /// The position up to which the log was read.
    pub through: Position,
    /// Whether the end of the log was reached.
    pub head: bool,
}

/// Which open questions a caller asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenQuestions {
    /// Those of all workspaces.
    All,
    /// Those of some workspaces.
    Workspaces(Vec<WorkspaceId>),
    /// Those of a session and of its descendants.
    Session(SessionId),
}

/// A question as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct QuestionAt {
    /// The question.
    pub question: Question,
    /// Whether it is answered.
    pub state: QuestionState,
    /// The workspace that it is asked in.
    pub workspace: WorkspaceId,
    /// Whether the run that asked has ended, so that the answer queues another run.
    pub waits: bool,
}

/// A session whose waiting time is over.
#[derive(Clone, Debug, PartialEq)]
pub struct Due {
    /// The run that ended waiting.
    pub run: RunId,
    /// The session that continues.
    pub session: SessionId,
    /// The prompt of the run that continues it: with the configuration of the waiting run, and the
    /// usage that it takes over.
    pub prompt: PromptRecord,
}

/// A page of sessions whose waiting time is over.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DuePage {
    /// The due sessions, in the order of their times.
    pub due: Vec<Due>,
    /// The cursor of the next page; `None` after the last one.
    pub last: Option<DueCursor>,
}

/// The place of a session among those that are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueCursor {
    pub(super) due_ms: i64,
    pub(super) run: i64,
}

/// A page of sessions whose logs may be folded, each with the number after which its log begins,
/// and the cursor of the next page; `None` after the last one.
pub(super) type FoldPage = (Vec<(SessionId, u64)>, Option<i64>);

/// The search for the end of the part of a session's log that may be folded, a page at a time.
#[derive(Clone, Debug)]
pub struct FoldScan {
    /// The last number that was looked at.
    pub(super) seen: i64,
    /// The last number at which no run was under way.
    pub(super) through: i64,
    /// The runs that began in the part that was looked at and did not end there, by the backend's
    /// own numbers.
    pub(super) open: HashSet<i64>,
}

impl FoldScan {
    /// Starts after a number, at which the log begins.
    pub(super) fn from(number: u64) -> Self {
        let number = number as i64;
        Self {
            seen: number,
            through: number,
            open: HashSet::new(),
        }
    }

    /// Returns the last number that may be folded away.
    pub(super) fn through(&self) -> u64 {
        self.through as u64
    }
}

/// What recovery did when a store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The number of runs that had begun and that recovery ended.
    pub ended: u64,
    /// The number of queued runs that are held until they are resumed.
    pub held: u64,
}

/// A row of a list, or why it cannot be read.
pub type Listed<T> = Result<T, Damage>;

/// Returns a cursor for a list that is ordered by the rows' places.
pub(super) fn cursor(place: i64) -> String {
    format!("{place:x}")
}

pub(super) fn parse_cursor(text: &str) -> Result<i64, super::StoreError> {
    let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let place = i64::from_str_radix(text, 16).ok().filter(|_| digits);
    place.ok_or_else(|| super::Refusal::InvalidCursor.into())
}

/// Refuses a number that is before the beginning of a log, or beyond its end.
pub(super) fn within(after: u64, from: u64, last: u64) -> Result<(), super::StoreError> {
    if after < from {
        return Err(super::Refusal::Expired { through: from }.into());
    }
    if after > last {
        return Err(super::Refusal::Beyond { last }.into());
    }
    Ok(())
}
