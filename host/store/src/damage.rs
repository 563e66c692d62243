//! The parts of the database that cannot be read, each with its place and what is lost with it. The
//! store remembers them for its operator.

use super::StoreError;
use lastword_types::id::{RunId, SessionId};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The largest number of damaged places that are remembered.
const REMEMBERED_MAX: usize = 1000;

/// One row, or one part of the database, that cannot be read.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Damage {
    /// The table; empty if it is unknown to which table the damaged part of the file belongs.
    pub table: String,
    /// The row's key in its table, if the damage concerns a single row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row: Option<String>,
    /// The session that the row belongs to, if that can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// The run that the row belongs to, if that can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// What cannot be read, and why.
    pub why: String,
    /// What is lost with it.
    pub lost: String,
}

/// Returns what is lost with an unreadable row of a table.
fn lost(table: &str) -> &'static str {
    match table {
        "owner" => "nothing: it is made anew",
        "workspace" => {
            "what the workspace was opened with, or its name; open it again with the options that \
             it shall have"
        }
        "session" => {
            "the session's title, plan or place; its runs and messages are rows of their own"
        }
        "run" => "what was asked, or where the run stood",
        "run_terminal" => "the run's receipt; its messages are rows of their own",
        "message" => "what the message says; unless it was folded, the log has it too",
        "event" => {
            "one event of the log; what was said in runs that are over, their messages have too"
        }
        "question" => "a question, or its answer",
        "granted" => "a grant: what it granted is asked for again",
        "wake" => "what a run waits for: it is not gone on with by itself",
        "state" => "a value that an agent kept",
        "blob" | "blob_use" => "bytes that were attached or made",
        "agent" => "a component that was kept: load it again",
        _ => "what lay on a part of the file",
    }
}

impl Damage {
    /// Creates the damage of a whole table.
    pub(super) fn of(table: &str) -> Self {
        Self {
            table: table.to_owned(),
            lost: lost(table).to_owned(),
            ..Self::default()
        }
    }

    pub(super) fn row(mut self, key: impl fmt::Display) -> Self {
        self.row = Some(key.to_string());
        self
    }

    pub(super) fn session(mut self, id: SessionId) -> Self {
        self.session = Some(id);
        self
    }

    pub(super) fn run(mut self, id: RunId) -> Self {
        self.run = Some(id);
        self
    }

    pub(super) fn why(mut self, why: impl Into<String>) -> Self {
        self.why = why.into();
        self
    }

    /// Returns the cursor with which a list continues after this row.
    pub fn cursor(&self) -> Option<String> {
        let no = self.row.as_ref()?.parse().ok()?;
        Some(super::rows::cursor(no))
    }

    /// Adds this place to an error that reports something unreadable. Other errors stay as they
    /// are.
    pub(super) fn name(self, error: StoreError) -> StoreError {
        match error {
            StoreError::Content(why) => self.why(why).into(),
            StoreError::Damaged(unnamed) if unnamed.table.is_empty() => {
                self.why(unnamed.why).into()
            }
            other => other,
        }
    }
}

impl From<Damage> for StoreError {
    fn from(damage: Damage) -> Self {
        Self::Damaged(Box::new(damage))
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.row, self.table.is_empty()) {
            (Some(row), _) => write!(f, "row {row} of the table `{}`", self.table)?,
            (None, false) => write!(f, "the table `{}`", self.table)?,
            (None, true) => f.write_str("a part of the database")?,
        }
        match (self.session, self.run) {
            (Some(session), Some(run)) => write!(f, " (session {session}, run {run})")?,
            (Some(session), None) => write!(f, " (session {session})")?,
            (None, Some(run)) => write!(f, " (run {run})")?,
            (None, None) => {}
        }
        write!(f, " cannot be read: {}; lost: {}", self.why, self.lost)
    }
}

/// The damage that a process has found. Each place is logged once.
#[derive(Default)]
pub(super) struct Damages(Mutex<Vec<Damage>>);

impl Damages {
    fn lock(&self) -> MutexGuard<'_, Vec<Damage>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(&self, damage: Damage) {
        let mut known = self.lock();
        let same = |other: &Damage| other.table == damage.table && other.row == damage.row;
        let again = match damage.row {
            Some(_) => known.iter().any(same),
            None => known.contains(&damage),
        };
        if again || known.len() >= REMEMBERED_MAX {
            return;
        }
        tracing::error!(%damage, "set aside; an examination says what else cannot be read");
        known.push(damage);
    }

    /// Records the damage that an error reports, if it reports any.
    pub(super) fn note_error(&self, error: &StoreError) {
        if let StoreError::Damaged(damage) = error {
            self.note(Damage::clone(damage));
        }
    }

    /// Returns the rows that could be read, and records the damage of the others.
    pub(super) fn readable<T>(&self, rows: Vec<Result<T, Damage>>) -> Vec<T> {
        let note = |row: Result<T, Damage>| row.map_err(|damage| self.note(damage)).ok();
        rows.into_iter().filter_map(note).collect()
    }

    pub(super) fn all(&self) -> Vec<Damage> {
        self.lock().clone()
    }
}
