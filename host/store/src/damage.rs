//! What in the database cannot be read: named by its place, with what is lost by it, and
//! remembered. Knows the tables' names, not what their rows mean.

use super::StoreError;
use lastword_types::id::{RunId, SessionId};
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Row, ToSql};
use sha2::{Digest, Sha256};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Damages that are remembered one by one.
const REMEMBERED_MAX: usize = 1000;

/// One row, or one part of the database, that cannot be read.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Damage {
    /// The table; empty where a part of the file belongs to none that could be told.
    pub table: String,
    /// The row's key in its table, if one row alone is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row: Option<String>,
    /// The session that it belongs to, if that can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// The run that it belongs to, if that can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// What cannot be read, and why.
    pub why: String,
    /// What is lost by it.
    pub lost: String,
}

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
        "agent" => "a component that was kept: load it again",
        _ => "what lay on a part of the file",
    }
}

impl Damage {
    /// Of a table as a whole.
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

    /// Where a list goes on after this row.
    pub fn cursor(&self) -> Option<String> {
        let no = self.row.as_ref()?.parse().ok()?;
        Some(super::session::cursor(no))
    }

    /// Names the place of an error that says that something cannot be read; other errors stay.
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

    /// Notes what an error says that something cannot be read.
    pub(super) fn note_error(&self, error: &StoreError) {
        if let StoreError::Damaged(damage) = error {
            self.note(Damage::clone(damage));
        }
    }

    /// The rows that could be read; the others are noted.
    pub(super) fn readable<T>(&self, rows: Vec<Result<T, Damage>>) -> Vec<T> {
        let note = |row: Result<T, Damage>| row.map_err(|damage| self.note(damage)).ok();
        rows.into_iter().filter_map(note).collect()
    }

    pub(super) fn all(&self) -> Vec<Damage> {
        self.lock().clone()
    }
}

/// A list that goes on behind a row that cannot be read.
pub(super) struct Listing<'a> {
    /// The table whose rows are listed.
    pub(super) table: &'static str,
    /// The column that tells them apart.
    pub(super) key: &'static str,
    /// What is read of each.
    pub(super) columns: &'a str,
    /// What is joined to the table.
    pub(super) joins: &'a str,
    /// Which rows, and in which order.
    pub(super) which: &'a str,
}

impl Listing<'_> {
    /// Reads the list at once; row by row where that fails, which a row or a page that cannot be
    /// read does not end.
    ///
    /// # Errors
    /// When nothing of it can be read, or the store cannot read now.
    pub(super) fn read<T>(
        &self,
        conn: &Connection,
        bound: &[&dyn ToSql],
        read: impl Fn(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<Result<T, Damage>>, StoreError> {
        match self.at_once(conn, bound, &read) {
            Ok(rows) => Ok(rows.into_iter().map(Ok).collect()),
            Err(StoreError::Content(_) | StoreError::Damaged(_)) => {
                self.one_by_one(conn, bound, &read)
            }
            Err(other) => Err(other),
        }
    }

    fn at_once<T>(
        &self,
        conn: &Connection,
        bound: &[&dyn ToSql],
        read: &impl Fn(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let Self {
            table,
            columns,
            joins,
            which,
            ..
        } = self;
        let sql = format!("SELECT {columns} FROM {table} {joins} WHERE {which}");
        let mut query = conn.prepare_cached(&sql)?;
        let mut rows = query.query(bound)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(read(row)?);
        }
        Ok(found)
    }

    fn one_by_one<T>(
        &self,
        conn: &Connection,
        bound: &[&dyn ToSql],
        read: &impl Fn(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<Result<T, Damage>>, StoreError> {
        let Self {
            table,
            key,
            columns,
            joins,
            which,
        } = self;
        // From an index if there is one, from the table if that is what can be read.
        let listed = |indexed: &str| {
            let sql = format!("SELECT {table}.{key} FROM {table} {indexed} {joins} WHERE {which}");
            keys(conn, &sql, bound)
        };
        let keys = listed("").or_else(|_| listed("NOT INDEXED"));
        let keys = keys.map_err(|error| Damage::of(table).name(error))?;
        let sql = format!("SELECT {columns} FROM {table} {joins} WHERE {table}.{key} = ?1");
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            let one = || {
                let mut query = conn.prepare_cached(&sql)?;
                let mut rows = query.query([&key])?;
                rows.next()?.map(read).transpose()
            };
            match one() {
                Ok(row) => found.extend(row.map(Ok)),
                Err(error @ (StoreError::Content(_) | StoreError::Damaged(_))) => {
                    found.push(Err(place(conn, table, &key, error)));
                }
                Err(other) => return Err(other),
            }
        }
        Ok(found)
    }
}

fn keys(conn: &Connection, sql: &str, bound: &[&dyn ToSql]) -> Result<Vec<Value>, StoreError> {
    let mut query = conn.prepare(sql)?;
    let rows = query.query_map(bound, |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The damage that an error tells of; other errors stay errors.
pub(super) fn damage_of(error: StoreError) -> Result<Damage, StoreError> {
    match super::reader::unreadable(error) {
        StoreError::Damaged(damage) => Ok(*damage),
        other => Err(other),
    }
}

/// Names a row that cannot be read, by its session and run as far as those can be.
pub(super) fn place(conn: &Connection, table: &str, key: &Value, error: StoreError) -> Damage {
    let why = match error {
        StoreError::Content(why) => why,
        StoreError::Damaged(damage) => damage.why,
        other => other.to_string(),
    };
    let mut damage = Damage::of(table).row(shown(key)).why(why);
    let (session, run) = match table {
        "session" => ("no = ?1", ""),
        "run" | "run_terminal" | "wake" => ("no = (SELECT session FROM run WHERE no = ?1)", "?1"),
        "event" => (
            "no = (SELECT session FROM event WHERE pos = ?1)",
            "(SELECT run FROM event WHERE pos = ?1)",
        ),
        "message" => (
            "no = (SELECT session FROM message WHERE no = ?1)",
            "(SELECT run FROM message WHERE no = ?1)",
        ),
        "question" => (
            "no = (SELECT session FROM question WHERE no = ?1)",
            "(SELECT run FROM question WHERE no = ?1)",
        ),
        "granted" => ("no = (SELECT session FROM granted WHERE id = ?1)", ""),
        _ => ("", ""),
    };
    let id =
        |sql: String| -> Option<[u8; 16]> { conn.query_row(&sql, [key], |row| row.get(0)).ok() };
    if !session.is_empty() {
        let found = id(format!("SELECT id FROM session WHERE {session}"));
        damage.session = found.map(SessionId::from_bytes);
    }
    if !run.is_empty() {
        damage.run = id(format!("SELECT id FROM run WHERE no = {run}")).map(RunId::from_bytes);
    }
    damage
}

fn shown(key: &Value) -> String {
    match ValueRef::from(key) {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Integer(no) => no.to_string(),
        ValueRef::Real(no) => no.to_string(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
        ValueRef::Blob(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

/// A column that may not be what it should be: nothing then.
pub(super) fn lenient<T: rusqlite::types::FromSql>(row: &Row<'_>, column: usize) -> Option<T> {
    row.get::<_, Option<T>>(column).ok().flatten()
}

/// The lower-case hex SHA-256 of bytes, by which components and attachments are told apart.
pub(super) fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
