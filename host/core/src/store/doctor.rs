//! Looks at everything that is kept, with the decoders that the host reads it with, and at the
//! file with SQLite's own check. Reads only, beside a host that runs as well.

use super::damage::{Damage, Listing, digest};
use super::{Archive, OpenError, StoreError, agent, event, grant, message, options, question};
use super::{queue, session, wake};
use crate::clock::UnixMillis;
use crate::event::EventBody;
use crate::id::{AgentId, RunId, SessionId};
use crate::run::{Cause, Receipt, RunState, Transcript};
use crate::session::{Message, Part, PartBody};
use rusqlite::types::Value;
use rusqlite::{Connection, Row};
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// Lines of SQLite's own check at the most.
const LINES_MAX: u32 = 1000;

/// What was looked at, and what of it cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Examination {
    /// Rows that can be read, by table.
    pub rows: Vec<(&'static str, u64)>,
    /// Sessions that can be read, the newest first.
    pub sessions: Vec<SessionId>,
    /// What cannot be read, or says something else than it said when it was written.
    pub damaged: Vec<Damage>,
    /// What SQLite's own check says of the file; empty if nothing is wrong with it.
    pub file: Vec<String>,
}

impl Examination {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.damaged.is_empty() && self.file.is_empty()
    }
}

/// Looks at all that a data directory keeps. Takes as long as reading the file several times.
///
/// # Errors
/// As [`Archive::open`].
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
    Ok(Examination {
        rows,
        sessions,
        damaged,
        file: check(conn),
    })
}

fn unread(place: Damage, error: StoreError) -> Damage {
    match place.name(error) {
        StoreError::Damaged(damage) => *damage,
        other => Damage::of("").why(other.to_string()),
    }
}

/// A table and how its rows are read.
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
    table("owner", "one", "one, epoch, last_pos, last_session, last_workspace", "", |row| {
        (0..5).try_for_each(|column| number(row, column))
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
        exists(row, 21, "the summary's message")
    }),
    table(
        "run",
        "no",
        "run.no, session.no, workspace.no, run.id, session.id, session.agent, workspace.id,
         run.state, run.prompt, run.epoch, run.message, run.digest, run.key, run.content, run.cause,
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
        "run.id, session.id, run.prompt, wake.run, wake.due_ms, wake.question,
         wake.question IS NULL OR EXISTS (SELECT 1 FROM question WHERE no = wake.question)",
        "LEFT JOIN run ON run.no = wake.run LEFT JOIN session ON session.no = run.session",
        |row| {
            wake::read(row)?;
            number(row, 3)?;
            numbers(row, 4)?;
            numbers(row, 5)?;
            exists(row, 6, "its question")
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
    let known = ["dir:", "name:"]
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
    number(row, 9)?;
    numbers(row, 10)?;
    event::text(row, 11)?;
    row.get::<_, Option<String>>(12)?;
    row.get::<_, Option<Vec<u8>>>(13)?;
    if let Some(cause) = row.get::<_, Option<String>>(14)? {
        serde_json::from_str::<Cause>(&cause)?;
    }
    number(row, 15)?;
    numbers(row, 16)?;
    numbers(row, 17)?;
    row.get::<_, Option<[u8; 16]>>(19)?;
    row.get::<_, Option<[u8; 16]>>(20)?;
    let ended = row.get::<_, Option<i64>>(18)?.is_some();
    same(
        ended == at.state.is_terminal(),
        "its state and its receipt contradict each other",
    )
}

fn receipt(row: &Row<'_>) -> Result<(), StoreError> {
    let receipt: Receipt = serde_json::from_str(event::text(row, 0)?)?;
    let run = RunId::from_bytes(row.get(1)?);
    let state = RunState::from_word(event::text(row, 2)?);
    let fits = receipt.run == run && state == Some(receipt.state);
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

/// A number, or none.
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

/// Sessions whose logs have gaps: the numbers that are kept are without any.
fn missing_events(conn: &Connection) -> Vec<Damage> {
    let gaps = || -> Result<Vec<Damage>, StoreError> {
        let mut query = conn.prepare(
            "SELECT session.id, max(event.seq) - max(session.log_from, min(event.seq) - 1), count(*),
                    min(event.seq) <= session.log_from + 1
             FROM event JOIN session ON session.no = event.session
             WHERE event.seq > session.log_from AND session.going < 2 GROUP BY event.session",
        )?;
        let mut rows = query.query([])?;
        let mut gaps = Vec::new();
        while let Some(row) = rows.next()? {
            let (given, kept): (i64, i64) = (row.get(1)?, row.get(2)?);
            if given != kept || !row.get::<_, bool>(3)? {
                let id = SessionId::from_bytes(row.get(0)?);
                let why = format!("{kept} events are kept, and their numbers have gaps");
                gaps.push(Damage::of("event").session(id).why(why));
            }
        }
        Ok(gaps)
    };
    gaps().unwrap_or_else(|error| vec![unread(Damage::of("event"), error)])
}

/// What is kept twice and is not the same: each with its table, the row's key, and what it is.
const TWICE: [(&str, &str, &str); 6] = [
    (
        "session",
        "it talks to another agent than the log says",
        "SELECT session.no FROM session JOIN event ON event.session = session.no
         WHERE json_valid(body) AND json_extract(body, '$.type') = 'session.created'
           AND session.agent <> json_extract(body, '$.agent')",
    ),
    (
        "run_terminal",
        "its receipt is another than the one in the log",
        "SELECT run_terminal.run FROM run_terminal JOIN run ON run.no = run_terminal.run
         JOIN event ON event.session = run.session AND event.run = run.no
         WHERE json_valid(body) AND json_extract(body, '$.type') = 'run.ended'
           AND json_valid(receipt) AND json(receipt) <> json_extract(body, '$.receipt')",
    ),
    (
        "run",
        "it ended at another time than the log says",
        "SELECT run.no FROM run JOIN event ON event.session = run.session AND event.run = run.no
         WHERE json_valid(body) AND json_extract(body, '$.type') = 'run.ended'
           AND ended_ms IS NOT at_ms",
    ),
    (
        "run",
        "it was accepted at another time, or with another agent, than the log says",
        "SELECT run.no FROM run JOIN event ON event.session = run.session AND event.run = run.no
         WHERE json_valid(body) AND json_extract(body, '$.type') = 'run.queued'
           AND (accepted_ms IS NOT at_ms OR digest IS NOT json_extract(body, '$.digest'))",
    ),
    (
        "run",
        "it started at another time than the log says",
        "SELECT run.no FROM run JOIN event ON event.session = run.session AND event.run = run.no
         WHERE json_valid(body) AND json_extract(body, '$.type') = 'run.started'
           AND started_ms IS NOT at_ms",
    ),
    (
        "session",
        "it counts other tokens or costs than its runs",
        "SELECT session.no FROM session JOIN run ON run.session = session.no
         JOIN run_terminal ON run_terminal.run = run.no
         WHERE NOT EXISTS (SELECT 1 FROM run other JOIN run_terminal its ON its.run = other.no
           WHERE other.session = session.no AND NOT json_valid(its.receipt))
         GROUP BY session.no
         HAVING max(input_tokens) <> sum(json_extract(receipt, '$.usage.input_tokens'))
           OR max(output_tokens) <> sum(json_extract(receipt, '$.usage.output_tokens'))
           OR max(session.cost_micros) <> sum(json_extract(receipt, '$.usage.cost_micros'))",
    ),
];

/// What is kept twice and contradicts itself: one of the two was changed.
fn contradictions(conn: &Connection) -> Vec<Damage> {
    let mut damaged = Vec::new();
    for (table, why, sql) in TWICE {
        let rows = || -> Result<Vec<Value>, rusqlite::Error> {
            let mut query = conn.prepare(sql)?;
            query.query_map([], |row| row.get(0))?.collect()
        };
        match rows() {
            Ok(keys) => damaged.extend(keys.iter().map(|key| {
                let error = StoreError::Content(why.to_owned());
                super::damage::place(conn, table, key, error)
            })),
            Err(error) => damaged.push(unread(Damage::of(table), error.into())),
        }
    }
    damaged
}

/// Messages that say something else than the log of their session. What cannot be read at all is
/// found elsewhere.
fn changed(conn: &Connection, session: SessionId) -> Result<Vec<Damage>, StoreError> {
    let snapshot = conn.unchecked_transaction()?;
    let no = event::session_no(&snapshot, session)?;
    let (stored, _) = message::listed(&snapshot, "message.session = ?1", &[&no])?;
    let stored: HashMap<_, _> = stored
        .into_iter()
        .map(|message| (message.id, message))
        .collect();
    let mut query =
        snapshot.prepare("SELECT body, run FROM event WHERE session = ?1 ORDER BY seq")?;
    let mut rows = query.query([no])?;
    let mut transcripts: HashMap<Option<i64>, Transcript> = HashMap::new();
    let (mut damaged, mut whole) = (Vec::new(), HashSet::new());
    while let Some(row) = rows.next()? {
        let body: Option<EventBody> = serde_json::from_str(event::text(row, 0)?).ok();
        let (Some(body), run) = (body, row.get(1)?) else {
            continue;
        };
        let transcript = transcripts.entry(run).or_insert_with(|| {
            let id =
                snapshot.query_row("SELECT id FROM run WHERE no = ?1", [run], |row| row.get(0));
            Transcript::new(RunId::from_bytes(id.unwrap_or_default()), 0)
        });
        let told = match &body {
            EventBody::MessageCreated { message, parts, .. }
            | EventBody::MessageReplaced { message, parts }
                if !parts.is_empty() =>
            {
                whole.insert(*message);
                Some((*message, parts.clone()))
            }
            EventBody::MessageFinished { message, .. } if !whole.contains(message) => {
                let parts = transcript.open_message(*message);
                parts.map(|parts| (*message, parts.to_vec()))
            }
            _ => None,
        };
        // Of what is replaced later, only the last counts.
        if let Some((id, parts)) = told
            && let Some(message) = stored.get(&id)
            && (!message_says(message, &parts) || message.run != transcript.run())
            && !is_replaced(&snapshot, no, id)?
        {
            let why = "it says something else, or belongs to another run, than the log says: one of the two \
                was changed";
            let damage = Damage::of("message").row(id).session(session);
            damaged.push(damage.run(message.run).why(why));
        }
        transcript.replay(body, UnixMillis(0));
    }
    Ok(damaged)
}

fn message_says(message: &Message, told: &[Part]) -> bool {
    let said = |part: &&Part| !matches!(part.body, PartBody::Finish { .. });
    let words = |part: &Part| match &part.body {
        PartBody::Text { text } | PartBody::Reasoning { text, .. } => text.clone(),
        PartBody::ToolCall(call) => format!("{} {} {}", call.id, call.name, call.input),
        other => format!("{other:?}"),
    };
    let stands = |part: &Part| !matches!(&part.body, PartBody::Other { kind, .. } if kind == message::DAMAGED);
    let stored: Vec<_> = message.parts.iter().filter(said).map(words).collect();
    let told: Vec<_> = told.iter().filter(said).map(words).collect();
    stored == told || !message.parts.iter().all(stands)
}

fn is_replaced(
    conn: &Connection,
    session: i64,
    id: crate::id::MessageId,
) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM event WHERE session = ?1 AND json_valid(body)
        AND json_extract(body, '$.type') = 'message.replaced'
        AND json_extract(body, '$.message') = ?2)";
    Ok(
        conn.query_row(sql, rusqlite::params![session, id.to_string()], |row| {
            row.get(0)
        })?,
    )
}

/// What SQLite says of its own pages and indexes.
fn check(conn: &Connection) -> Vec<String> {
    let lines = || -> Result<Vec<String>, rusqlite::Error> {
        let mut query = conn.prepare(&format!("PRAGMA integrity_check({LINES_MAX})"))?;
        query.query_map([], |row| row.get(0))?.collect()
    };
    let mut lines = lines().unwrap_or_else(|error| vec![error.to_string()]);
    lines.retain(|line| line != "ok");
    lines
}
