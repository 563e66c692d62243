//! The parts of the database that cannot be read, each with its place and what is lost with it. The
//! store remembers them for its operator.

use super::StoreError;
pub use lastword_types::damage::Damage;
use lastword_types::id::{RunId, SessionId};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The largest number of damaged places that are remembered.
const REMEMBERED_MAX: usize = 1000;

/// What is lost with an unreadable row of a table.
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
        "session_key" | "later_key" => {
            "an idempotency key: a request that is sent again with it may be carried out a second time"
        }
        "gone_run" => {
            "that a run was deleted with its session; its followers are told that there is none"
        }
        "agent" => "a component that was kept: load it again",
        _ => "what lay on a part of the file",
    }
}

/// Builds a damage, and names it in errors.
pub(super) trait Describe: Sized {
    /// Of a table as a whole.
    fn of(table: &str) -> Self;
    /// Of the row with this key.
    fn row(self, key: impl fmt::Display) -> Self;
    /// In this session.
    fn session(self, id: SessionId) -> Self;
    /// In this run.
    fn run(self, id: RunId) -> Self;
    /// For this reason.
    fn why(self, why: impl Into<String>) -> Self;
    /// Names the place of an error that says that something cannot be read; other errors stay.
    fn name(self, error: StoreError) -> StoreError;
}

impl Describe for Damage {
    fn of(table: &str) -> Self {
        Self {
            table: table.to_owned(),
            lost: lost(table).to_owned(),
            ..Self::default()
        }
    }

    fn row(mut self, key: impl fmt::Display) -> Self {
        self.row = Some(key.to_string());
        self
    }

    fn session(mut self, id: SessionId) -> Self {
        self.session = Some(id);
        self
    }

    fn run(mut self, id: RunId) -> Self {
        self.run = Some(id);
        self
    }

    fn why(mut self, why: impl Into<String>) -> Self {
        self.why = why.into();
        self
    }

    fn name(self, error: StoreError) -> StoreError {
        match error {
            StoreError::Content(why) => self.why(why).into(),
            StoreError::Damaged(unnamed) if unnamed.table.is_empty() => {
                self.why(unnamed.why).into()
            }
            other => other,
        }
    }
}

/// Returns where a list goes on after a row that cannot be read.
#[must_use]
pub fn cursor_after(damage: &Damage) -> Option<String> {
    let no = damage.row.as_ref()?.parse().ok()?;
    Some(super::rows::cursor(no))
}

impl From<Damage> for StoreError {
    fn from(damage: Damage) -> Self {
        Self::Damaged(Box::new(damage))
    }
}

/// What a process has met. Each is told once in its log.
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
