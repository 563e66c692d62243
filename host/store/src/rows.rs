//! The results of reads, as plain data that every backend returns: sessions, runs, prompts that
//! wait, questions, pages of logs.

use super::Damage;
use super::prompt::PromptRecord;
use lastword_types::clock::UnixMillis;
use lastword_types::event::{Event, Position};
use lastword_types::id::{AgentId, RunId, SessionId, WorkspaceId};
use lastword_types::run::{QueuedRun, Receipt, RunState, RunSummary};
use lastword_types::session::{Message, Question, QuestionState, SessionRecord};
use std::collections::HashSet;
use std::time::Duration;

/// Rows of the longest page of a list; one more may be asked for, to know whether it is the
/// last.
pub const PAGE_ROWS: u32 = 200;
/// Messages of the largest page of history.
pub const PAGE_MESSAGES: u32 = 256;
/// Events of the largest page.
pub const PAGE_EVENTS: usize = 256;
/// Events that one read by position looks at, of whatever workspace.
pub(super) const SCANNED: usize = 4096;
/// Sessions whose logs may be folded, and events of one of them, that one read looks at.
pub(super) const FOLD_SESSIONS: usize = 100;
pub(super) const FOLD_EVENTS: usize = 4000;
/// Sessions that are due, and waits that are taken back, in one page.
pub(super) const DUE_MAX: usize = 100;
/// The most open questions that are listed.
pub(super) const QUESTIONS_MAX: usize = 1000;
/// The most grants that are listed, and that count, for one agent in one workspace.
pub(super) const GRANTS_MAX: usize = 10_000;

/// A session, and its workspace's key.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionRow {
    /// The session.
    pub record: SessionRecord,
    /// The key of its workspace.
    pub workspace_key: String,
    /// Where it stands in lists.
    pub(super) place: i64,
}

impl SessionRow {
    /// Where a list goes on after this session.
    #[must_use]
    pub fn cursor(&self) -> String {
        cursor(self.place)
    }
}

/// The workspace and the agent of a session, without the figures that have to be counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionAt {
    /// The session.
    pub id: SessionId,
    /// Where it belongs.
    pub workspace: WorkspaceId,
    /// Whom it talks to.
    pub agent: AgentId,
}

/// Which sessions are listed, and from where on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionsPage {
    /// Those of one workspace.
    pub workspace: Option<WorkspaceId>,
    /// Those that one session began.
    pub parent: Option<SessionId>,
    /// How many at the most; [`PAGE_ROWS`] at the very most.
    pub limit: u32,
    /// The cursor of the last row of the page before.
    pub after: Option<String>,
}

/// A workspace that is known, open or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkspaceRow {
    /// Its id.
    pub id: WorkspaceId,
    /// The key under which it is stored.
    pub key: String,
    /// When it was first opened.
    pub created_ms: UnixMillis,
    /// How many sessions it has.
    pub sessions: u64,
    /// Where it stands in lists.
    pub(super) place: i64,
}

impl WorkspaceRow {
    /// Where a list goes on after this workspace.
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
    /// Where it stands. `Running` without an owner awaits recovery.
    pub state: RunState,
    /// When its agent was called, once it has been.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_ms: Option<UnixMillis>,
    /// When it ended, once it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<UnixMillis>,
    /// Its end, if it has one.
    pub receipt: Option<Receipt>,
    /// Its messages: those with a place first, in order.
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
    /// Where the list goes on after this run.
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
    /// Whom the session talks to.
    pub agent: AgentId,
    /// Where it belongs.
    pub workspace: WorkspaceId,
    /// Where it stands.
    pub state: RunState,
    /// What was asked.
    pub prompt: PromptRecord,
}

/// A prompt that waits.
#[derive(Clone, Debug, PartialEq)]
pub struct QueuedRow {
    /// Its run's id.
    pub id: RunId,
    /// `Queued` or `Held`.
    pub state: RunState,
    /// What is asked.
    pub prompt: PromptRecord,
    /// The caller's idempotency key.
    pub key: Option<String>,
    /// When it was accepted.
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
    /// In order.
    pub events: Vec<Event>,
    /// The position up to which the log was read.
    pub through: Position,
    /// Whether the end of the log was reached.
    pub head: bool,
}

/// Which open questions are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenQuestions {
    /// Those of all workspaces.
    All,
    /// Those of some workspaces.
    Workspaces(Vec<WorkspaceId>),
    /// Those of a session, and of those that it is the parent of, at any depth.
    Session(SessionId),
}

/// A question as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct QuestionAt {
    /// What is asked.
    pub question: Question,
    /// Whether it is answered.
    pub state: QuestionState,
    /// The workspace that it is asked in.
    pub workspace: WorkspaceId,
    /// Whether the run that asks is over: its answer queues another.
    pub waits: bool,
}

/// A session whose waiting time is over.
#[derive(Clone, Debug, PartialEq)]
pub struct Due {
    /// The run that ended waiting.
    pub run: RunId,
    /// The session to go on with.
    pub session: SessionId,
    /// What goes on with it: with the configuration of that run, and what it takes over.
    pub prompt: PromptRecord,
}

/// A page of sessions whose waiting time is over.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DuePage {
    /// In the order in which they wait.
    pub due: Vec<Due>,
    /// Where the next page begins; `None` after the last one.
    pub last: Option<DueCursor>,
}

/// Where a session stands among those that are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueCursor {
    pub(super) due_ms: i64,
    pub(super) run: i64,
}

/// Some sessions whose logs may be folded, each with the number after which its log begins, and
/// where the next page begins; `None` after the last one.
pub(super) type FoldPage = (Vec<(SessionId, u64)>, Option<i64>);

/// Looks for the end of what may be folded of one session, a page at a time.
#[derive(Clone, Debug)]
pub struct FoldScan {
    /// The last number that was looked at.
    pub(super) seen: i64,
    /// The last number at which no run was under way.
    pub(super) through: i64,
    /// Runs that began in what was seen and did not end there, by the backend's own numbers.
    pub(super) open: HashSet<i64>,
}

impl FoldScan {
    /// From behind a number, after which a log begins.
    pub(super) fn from(number: u64) -> Self {
        let number = number as i64;
        Self {
            seen: number,
            through: number,
            open: HashSet::new(),
        }
    }

    /// The last number that may be folded away.
    pub(super) fn through(&self) -> u64 {
        self.through as u64
    }
}

/// What recovery did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Runs that had begun and got their end now.
    pub ended: u64,
    /// Queued runs that are held until they are resumed.
    pub held: u64,
}

/// A row of a list, or why it cannot be read.
pub type Listed<T> = Result<T, Damage>;

/// A cursor into a list that is in the order of its rows' places.
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
