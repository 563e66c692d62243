//! Examines all stored data with the decoders that the host uses, and the file with SQLite's own
//! check. Reads only, also while a host runs.

use super::consistency::{changed, contradictions, missing_events};
use super::listing::{Listing, digest};
use super::{agent, event, grant, message, question};
use super::{queue, session, wake};
use crate::damage::{Damage, Describe as _};
use crate::{Archive, OpenError, StoreError, options};
use lastword_types::id::{AgentId, RunId, SessionId};
use lastword_types::run::{Cause, Receipt, RunState};
use rusqlite::{Connection, Row};
use std::collections::HashSet;
use std::path::Path;

/// The largest number of lines of SQLite's own check.
const LINES_MAX: u32 = 1000;

/// The result of an examination: what was read, and what cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Examination {
    /// The number of readable rows, by table.
    pub rows: Vec<(&'static str, u64)>,
    /// The readable sessions, the newest first.
    pub sessions: Vec<SessionId>,
    /// Rows that cannot be read, or that were changed after they were written.
    pub damaged: Vec<Damage>,
    /// The findings of SQLite's own check of the file; empty if there are none.
    pub file: Vec<String>,
}

impl Examination {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.damaged.is_empty() && self.file.is_empty()
    }
}

/// Examines all data in a data directory. Takes as long as reading the file several times.
///
/// # Errors
/// As for [`Archive::open`].
pub fn examine(directory: &Path) -> Result<Examination, OpenError> {
    let archive = Archive::open(directory)?;
    let conn = archive.conn();
    let (mut rows, mut damaged) = (Vec::new(), Vec::new());
    for table in TABLES {
        let (readable, unread) = look(conn, table);
        rows.push((table.listing.table, readable));
        damaged.extend(unread);
    }
    damaged.extend(missing_events(conn));
    damaged.extend(contradictions(conn));
    let sessions = session::latest(conn, None, u32::MAX).unwrap_or_default();
    let sessions: Vec<SessionId> = sessions
        .into_iter()
        .filter_map(|row| Some(row.ok()?.record.id))
        .collect();
    for id in &sessions {
        match changed(conn, *id) {
            Ok(changed) => damaged.extend(changed),
            Err(error) => damaged.push(unread(Damage::of("event").session(*id), error)),
        }
    }
    name_tables_once(&mut damaged);
    Ok(Examination {
        rows,
        sessions,
        damaged,
        file: check(conn),
    })
}

/// Several checks read the same tables: a part that none of them can read is named once.
fn name_tables_once(damaged: &mut Vec<Damage>) {
    let mut named = HashSet::new();
    damaged.retain(|damage| {
        let place = (damage.table.clone(), damage.session, damage.why.clone());
        damage.row.is_some() || named.insert(place)
    });
}

pub(super) fn unread(place: Damage, error: StoreError) -> Damage {
    match place.name(error) {
        StoreError::Damaged(damage) => *damage,
        other => Damage::of("").why(other.to_string()),
    }
}

/// A table, and how its rows are read.
struct Table {
    listing: Listing<'static>,
    read: fn(&Row<'_>) -> Result<(), StoreError>,
}

const fn table(
    table: &'static str,
    key: &'static str,
    columns: &'static str,
    joins: &'static str,
    read: fn(&Row<'_>) -> Result<(), StoreError>,
) -> Table {
    Table {
        listing: Listing {
            table,
            key,
            columns,
            joins,
            which: "true",
        },
        read,
    }
}

const TABLES: &[Table] = &[
    table("owner", "one", "one, epoch, last_pos, last_session, last_workspace, id", "", |row| {
        (0..5).try_for_each(|column| number(row, column))?;
            row.get::<_, Vec<u8>>(5)?;
            Ok(())
    }),
    table(
        "workspace",
        "no",
        "no, id, key, created_ms, 0, options, log_from,
         coalesce(log_from > (SELECT max(last_pos, coalesce((SELECT max(pos) FROM event), 0))
           FROM owner), false)",
        "",
        workspace,
    ),
    table("session", "no", session::CHECKED, session::JOINS, |row| {
        session::read(row)?;
        within(row, 17, 0..=3)?;
        number(row, 18)?;
        numbers(row, 19)?;
        numbers(row, 20)?;
        exists(row, 21, "the summary's message")?;
        exists(row, 22, "its workspace")
    }),
    table(
        "run",
        "no",
        "run.id, session.id, session.agent, workspace.id, run.state, run.prompt, run.epoch, run.message, run.digest, run.key, run.content, run.cause,
         run.accepted_ms, run.started_ms, run.ended_ms, run_terminal.run, run.resumes, run.parent",
        "LEFT JOIN session ON session.no = run.session
         LEFT JOIN workspace ON workspace.no = session.workspace
         LEFT JOIN run_terminal ON run_terminal.run = run.no",
        run,
    ),
    table(
        "run_terminal",
        "run",
        "run_terminal.receipt, run.id, run.state",
        "LEFT JOIN run ON run.no = run_terminal.run",
        receipt,
    ),
    table("message", "no", message::CHECKED, message::RUNS_AND_SESSIONS, |row| {
        message::read(row)?;
        number(row, 11)?;
            numbers(row, 12)
    }),
    table("event", "pos", event::CHECKED, event::PLACES, |row| {
        event::read(row)?;
        exists(row, 6, "its run")
    }),
    table("question", "no", question::COLUMNS, question::PLACES, |row| question::read(row).map(drop)),
    table("granted", "id", grant::CHECKED, grant::PLACES, |row| {
        grant::granted(row)?;
        number(row, 5)?;
        exists(row, 6, "its session")
    }),
    table(
        "wake",
        "run",
        "run.id, session.id, run.prompt, wake.run, wake.due_ms, wake.carried, 0, wake.question,
         wake.question IS NULL OR EXISTS (SELECT 1 FROM question WHERE no = wake.question)",
        "LEFT JOIN run ON run.no = wake.run LEFT JOIN session ON session.no = run.session",
        |row| {
            wake::read(row)?;
            number(row, 3)?;
            numbers(row, 4)?;
            numbers(row, 7)?;
            exists(row, 8, "its question")
        },
    ),
    table(
        "state",
        "scope || '/' || owner || '/' || agent || '/' || key",
        "scope, owner, agent, key, value",
        "",
        |row| {
            within(row, 0, 1..=2)?;
            number(row, 1)?;
            name(row, 2)?;
            event::text(row, 3)?;
            row.get::<_, Vec<u8>>(4)?;
            Ok(())
        },
    ),
    table("blob", "id", "id, bytes", "", |row| {
        let (id, bytes) = (event::text(row, 0)?, row.get_ref(1)?.as_blob());
        let bytes = bytes.map_err(|error| StoreError::Content(error.to_string()))?;
        same(digest(bytes) == id, "the bytes do not have this digest")
    }),
    table(
        "blob_use",
        "session || '/' || blob",
        "blob_use.session, blob_use.blob, EXISTS (SELECT 1 FROM session WHERE no = blob_use.session)
         AND EXISTS (SELECT 1 FROM blob WHERE id = blob_use.blob)",
        "",
        |row| {
            number(row, 0)?;
            event::text(row, 1)?;
            exists(row, 2, "the session, or the bytes")
        },
    ),
    table(
        "session_key",
        "workspace || '/' || session_key.key",
        "workspace, key, content, session, EXISTS (SELECT 1 FROM session
           WHERE no = session_key.session AND workspace = session_key.workspace)",
        "",
        |row| {
            number(row, 0)?;
            event::text(row, 1)?;
            row.get::<_, Vec<u8>>(2)?;
            number(row, 3)?;
            exists(row, 4, "its session")
        },
    ),
    table(
        "later_key",
        "session || '/' || later_key.key",
        "session, key, content, run, EXISTS (SELECT 1 FROM run WHERE no = later_key.run)",
        "",
        |row| {
            number(row, 0)?;
            event::text(row, 1)?;
            row.get::<_, Vec<u8>>(2)?;
            number(row, 3)?;
            exists(row, 4, "its run")
        },
    ),
    table(
        "gone_run",
        "id",
        "id, session, EXISTS (SELECT 1 FROM session WHERE no = gone_run.session)",
        "",
        |row| {
            row.get::<_, [u8; 16]>(0)?;
            number(row, 1)?;
            exists(row, 2, "its session")
        },
    ),
    table("agent", "name", "name, digest, wasm, loaded_ms", "", |row| {
        agent::kept(row)?;
        number(row, 3)
    }),
];

fn workspace(row: &Row<'_>) -> Result<(), StoreError> {
    let found = session::workspace_row(row)?;
    let known = ["dir:", "name:", "bytes:", "lossy:"]
        .iter()
        .any(|kind| found.key.starts_with(kind));
    same(known, "its key is none that this lastword knows")?;
    options::read(row.get(5)?)?;
    number(row, 6)?;
    same(
        !row.get::<_, bool>(7)?,
        "its log would begin behind its end",
    )
}

fn run(row: &Row<'_>) -> Result<(), StoreError> {
    let at = queue::at(row)?;
    number(row, 6)?;
    numbers(row, 7)?;
    event::text(row, 8)?;
    row.get::<_, Option<String>>(9)?;
    row.get::<_, Option<Vec<u8>>>(10)?;
    if let Some(cause) = row.get::<_, Option<String>>(11)? {
        serde_json::from_str::<Cause>(&cause)?;
    }
    number(row, 12)?;
    numbers(row, 13)?;
    numbers(row, 14)?;
    row.get::<_, Option<[u8; 16]>>(16)?;
    row.get::<_, Option<[u8; 16]>>(17)?;
    let ended = row.get::<_, Option<i64>>(15)?.is_some();
    same(
        ended == at.state.is_terminal(),
        "its state and its receipt contradict each other",
    )
}

fn receipt(row: &Row<'_>) -> Result<(), StoreError> {
    let receipt: Receipt = serde_json::from_str(event::text(row, 0)?)?;
    let run = RunId::from_bytes(row.get(1)?);
    let state: RunState = event::text(row, 2)?.parse()?;
    let fits = receipt.run == run && state == receipt.state;
    same(
        fits,
        "it is of another run, or of another state than the run's",
    )
}

fn same(fits: bool, why: &str) -> Result<(), StoreError> {
    match fits.then_some(()) {
        Some(()) => Ok(()),
        None => Err(StoreError::Content(why.to_owned())),
    }
}

fn exists(row: &Row<'_>, column: usize, what: &str) -> Result<(), StoreError> {
    same(row.get(column)?, &format!("{what} is missing"))
}

fn number(row: &Row<'_>, column: usize) -> Result<(), StoreError> {
    row.get::<_, i64>(column)?;
    Ok(())
}

/// Checks that a column is an integer or null.
fn numbers(row: &Row<'_>, column: usize) -> Result<(), StoreError> {
    row.get::<_, Option<i64>>(column)?;
    Ok(())
}

fn within(
    row: &Row<'_>,
    column: usize,
    range: std::ops::RangeInclusive<i64>,
) -> Result<(), StoreError> {
    let number: i64 = row.get(column)?;
    same(
        range.contains(&number),
        &format!("{number} stands where {range:?} is expected"),
    )
}

fn name(row: &Row<'_>, column: usize) -> Result<(), StoreError> {
    let name = AgentId::new(row.get::<_, String>(column)?);
    name.map(drop)
        .map_err(|error| StoreError::Content(error.to_string()))
}

fn look(conn: &Connection, table: &Table) -> (u64, Vec<Damage>) {
    let rows = match table.listing.read(conn, &[], table.read) {
        Ok(rows) => rows,
        Err(error) => return (0, vec![unread(Damage::of(table.listing.table), error)]),
    };
    let all = rows.len();
    let unread: Vec<Damage> = rows.into_iter().filter_map(Result::err).collect();
    ((all - unread.len()) as u64, unread)
}

/// Returns SQLite's findings about its own pages and indexes.
fn check(conn: &Connection) -> Vec<String> {
    let lines = || -> Result<Vec<String>, rusqlite::Error> {
        let mut query = conn.prepare(&format!("PRAGMA integrity_check({LINES_MAX})"))?;
        query.query_map([], |row| row.get(0))?.collect()
    };
    let mut lines = lines().unwrap_or_else(|error| vec![error.to_string()]);
    lines.retain(|line| line != "ok");
    lines
}
