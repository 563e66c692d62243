//! Finds data that is stored twice with different content: messages, receipts and counts beside the
//! log, and logs whose numbers have gaps. For the doctor. Reads only.

use super::doctor::unread;
use super::listing::place;
use super::{event, message};
use crate::StoreError;
use crate::damage::{Damage, Describe as _};
use crate::transcript::Transcript;
use lastword_types::clock::UnixMillis;
use lastword_types::event::EventBody;
use lastword_types::id::{RunId, SessionId};
use lastword_types::session::{Message, Part, PartBody};
use rusqlite::Connection;
use rusqlite::types::Value;
use std::collections::{HashMap, HashSet};

/// Returns the sessions whose logs have gaps. The numbers in a log must be consecutive.
pub(super) fn missing_events(conn: &Connection) -> Vec<Damage> {
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

/// The checks of data that is stored twice: a table, a description, and a query that returns the
/// keys of the table's rows that contradict other rows.
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

/// Returns the rows that contradict other rows, since one of the two was changed.
pub(super) fn contradictions(conn: &Connection) -> Vec<Damage> {
    let mut damaged = Vec::new();
    for (table, why, sql) in TWICE {
        let rows = || -> Result<Vec<Value>, rusqlite::Error> {
            let mut query = conn.prepare(sql)?;
            query.query_map([], |row| row.get(0))?.collect()
        };
        match rows() {
            Ok(keys) => damaged.extend(keys.iter().map(|key| {
                let error = StoreError::Content(why.to_owned());
                place(conn, table, key, error)
            })),
            Err(error) => damaged.push(unread(Damage::of(table), error.into())),
        }
    }
    damaged
}

/// Returns the messages of a session that differ from its log. Rows that cannot be read at all are
/// found elsewhere.
pub(super) fn changed(conn: &Connection, session: SessionId) -> Result<Vec<Damage>, StoreError> {
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
        // If an event replaces the content of a message, only the last one counts.
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
    id: lastword_types::id::MessageId,
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
