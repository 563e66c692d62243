//! Reads and summarises the messages of sessions: the history that agents and users read.

use super::event;
use super::listing::{Listing, lenient};
use super::numbers::RunNo;
use super::tx::Tx;
use crate::command::Summarise;
use crate::damage::{Damage, Describe as _};
use crate::rows::{PAGE_MESSAGES, RunRow};
use crate::{Refusal, StoreError, conversation};
use lastword_types::clock::UnixMillis;
use lastword_types::event::EventBody;
use lastword_types::id::{MessageId, RunId, SessionId};
use lastword_types::run::RunState;
use lastword_types::session::{BlobId, FinishReason, Message, PartBody, Role};
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};

/// The run that a message belongs to.
pub(super) const RUNS: &str = "LEFT JOIN run ON run.no = message.run";
pub(super) const COLUMNS: &str = "message.id, run.id, message.ordinal, message.role, message.parts,
    message.model, message.provider, message.finish, message.created_ms, message.finished_ms,
    message.extra";

pub(super) fn read(row: &Row<'_>) -> Result<Message, StoreError> {
    let role: String = row.get(3)?;
    let role: Role = role.parse()?;
    let finish: Option<String> = row.get(7)?;
    let finish: Option<FinishReason> = finish.map(|word| word.parse()).transpose()?;
    let extra: Option<String> = row.get(10)?;
    Ok(Message {
        id: MessageId::from_bytes(row.get(0)?),
        run: RunId::from_bytes(row.get(1)?),
        ordinal: row.get::<_, Option<i64>>(2)?.map(|n| n as u64),
        role,
        parts: serde_json::from_str(row.get_ref(4)?.as_str().unwrap_or_default())?,
        model: row.get(5)?,
        provider: row.get(6)?,
        finish,
        created_ms: UnixMillis(row.get::<_, i64>(8)? as u64),
        finished_ms: row
            .get::<_, Option<i64>>(9)?
            .map(|at| UnixMillis(at as u64)),
        extra: extra
            .map(|json| serde_json::from_str(&json))
            .transpose()?
            .unwrap_or_default(),
    })
}

/// These columns for the doctor, with the further columns of a message that other queries read.
pub(super) const CHECKED: &str = "message.id, run.id, message.ordinal, message.role, message.parts,
    message.model, message.provider, message.finish, message.created_ms, message.finished_ms,
    message.extra, session.no, message.beside";
pub(super) const RUNS_AND_SESSIONS: &str = "LEFT JOIN run ON run.no = message.run
    LEFT JOIN session ON session.no = message.session";

/// Messages in their order, with replacements for those that cannot be read, and the damage of
/// these.
pub(super) type ReadMessages = (Vec<Message>, Vec<Damage>);

/// Returns the messages of a session that a condition selects.
pub(super) fn listed(
    conn: &Connection,
    which: &str,
    bound: &[&dyn ToSql],
) -> Result<ReadMessages, StoreError> {
    let listing = Listing {
        table: "message",
        key: "no",
        columns: COLUMNS,
        joins: RUNS,
        which,
    };
    let (mut messages, mut damaged) = (Vec::new(), Vec::new());
    for row in listing.read(conn, bound, read)? {
        match row {
            Ok(message) => messages.push(message),
            Err(damage) => {
                messages.extend(instead(conn, &damage));
                damaged.push(damage);
            }
        }
    }
    Ok((messages, damaged))
}

/// The kind of the part that replaces the content of an unreadable message.
pub(super) const DAMAGED: &str = "damaged";

/// Returns a replacement for a message that cannot be read, if its identity can be determined.
fn instead(conn: &Connection, damage: &Damage) -> Option<Message> {
    let sql = format!("SELECT {COLUMNS} FROM message {RUNS} WHERE message.no = ?1");
    let no: i64 = damage.row.as_ref()?.parse().ok()?;
    let message = conn.query_row(&sql, [no], |row| {
        let time = |column| lenient::<i64>(row, column).map(|at| UnixMillis(at as u64));
        let role = lenient::<String>(row, 3).and_then(|word| word.parse().ok());
        let run = RunId::from_bytes(row.get(1)?);
        let id = MessageId::from_bytes(row.get(0)?);
        let mut message = Message::begin(id, run, role.unwrap_or(Role::System), UnixMillis(0));
        message.ordinal = lenient::<i64>(row, 2).map(|place| place as u64);
        message.finished_ms = time(9).or(time(8));
        message.created_ms = time(8).unwrap_or_default();
        message.finish = Some(FinishReason::Unknown);
        Ok(message)
    });
    let mut message = message.ok()?;
    let part = PartBody::Other {
        kind: DAMAGED.to_owned(),
        json: serde_json::to_string(damage).ok()?,
    };
    message.parts.push(part.into());
    Some(message)
}

/// Returns the last messages of a session before `before` and after a given place, in time order.
pub(super) fn history(
    conn: &Connection,
    session: i64,
    before: Option<MessageId>,
    after: i64,
    limit: u32,
) -> Result<ReadMessages, StoreError> {
    let before = match before {
        Some(id) => ordinal(conn, session, id)?,
        None => i64::MAX,
    };
    let which = "message.session = ?1 AND message.ordinal < ?2 AND message.ordinal > ?3
        ORDER BY message.ordinal DESC LIMIT ?4";
    let limit = limit.min(PAGE_MESSAGES);
    let bound = params![session, before, after, limit];
    let (mut messages, damaged) = listed(conn, which, bound)?;
    messages.reverse();
    Ok((messages, damaged))
}

/// Returns the last messages of a session before a given one, for people: the history, and the
/// prompts that were never in it, at the place where they were taken back.
pub(super) fn page(
    conn: &Connection,
    session: i64,
    before: Option<MessageId>,
    limit: u32,
) -> Result<ReadMessages, StoreError> {
    let (place, beside, no) = match before {
        Some(id) => conn
            .prepare_cached(
                "SELECT coalesce(ordinal, beside), ordinal IS NULL, no FROM message
                 WHERE id = ?1 AND session = ?2 AND coalesce(ordinal, beside) IS NOT NULL",
            )?
            .query_row(params![id.as_bytes(), session], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .optional()?
            .ok_or(Refusal::UnknownMessage(id))?,
        None => (i64::MAX, true, i64::MAX),
    };
    let which = "message.no IN (SELECT no FROM (
          SELECT * FROM (
            SELECT no, ordinal AS place, 0 AS behind FROM message
            WHERE session = ?1 AND ordinal <= ?2 AND (ordinal, 0, no) < (?2, ?3, ?4)
            ORDER BY ordinal DESC LIMIT ?5)
          UNION ALL
          SELECT * FROM (
            SELECT no, beside AS place, 1 AS behind FROM message
            WHERE session = ?1 AND beside <= ?2 AND (beside, 1, no) < (?2, ?3, ?4)
            ORDER BY beside DESC, no DESC LIMIT ?5)
          ORDER BY place DESC, behind DESC, no DESC LIMIT ?5))
        ORDER BY coalesce(message.ordinal, message.beside), message.ordinal IS NULL, message.no";
    let limit = limit.min(PAGE_MESSAGES);
    listed(conn, which, params![session, place, beside, no, limit])
}

/// Lets the messages of a run that was taken back be shown after the last message that has a place.
pub(super) fn show_beside(conn: &Connection, run: RunNo) -> Result<(), StoreError> {
    let session = run.session.session;
    let last = super::entry::next_ordinal(conn, session)? - 1;
    conn.prepare_cached("UPDATE message SET beside = ?2 WHERE run = ?1 AND ordinal IS NULL")?
        .execute(params![run.run, last])?;
    Ok(())
}

/// Returns the messages after one place up to and including another, in order.
pub(super) fn places(
    conn: &Connection,
    session: i64,
    after: i64,
    through: i64,
) -> Result<ReadMessages, StoreError> {
    let which = "message.session = ?1 AND message.ordinal > ?2 AND message.ordinal <= ?3
        ORDER BY message.ordinal";
    listed(conn, which, params![session, after, through])
}

/// Returns the place of a message in the history.
pub(super) fn ordinal(conn: &Connection, session: i64, id: MessageId) -> Result<i64, StoreError> {
    conn.prepare_cached(
        "SELECT ordinal FROM message WHERE id = ?1 AND session = ?2 AND ordinal IS NOT NULL",
    )?
    .query_row(params![id.as_bytes(), session], |row| row.get(0))
    .optional()?
    .ok_or_else(|| Refusal::UnknownMessage(id).into())
}

/// Returns the summary of a session, if it has one, and the place of the last message that it
/// replaces.
pub(super) fn summary(
    conn: &Connection,
    session: i64,
) -> Result<Option<(Message, i64)>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS}, session.summary_through FROM session
         JOIN message ON message.no = session.summary_message JOIN run ON run.no = message.run
         WHERE session.no = ?1"
    );
    let found = || {
        let mut query = conn.prepare_cached(&sql)?;
        let mut rows = query.query([session])?;
        let summary = |row: &Row<'_>| Ok((read(row)?, row.get(11)?));
        rows.next()?.map(summary).transpose()
    };
    let place = || Damage::of("session").row(session);
    found().map_err(|error| place().name(error))
}

/// Adds the text of the session's summary to the last message that it replaces.
pub(super) fn mark_summary(
    conn: &Connection,
    session: i64,
    messages: &mut [Message],
) -> Result<(), StoreError> {
    let Some((summary, through)) = summary(conn, session)? else {
        return Ok(());
    };
    conversation::mark_summary(&summary, through, messages)
}

/// Stores a summary that replaces everything up to and including one message, unless it equals the
/// present one. The original messages stay.
pub(super) fn summarise(tx: &mut Tx<'_>, summarise: &Summarise) -> Result<(), StoreError> {
    let run = tx.run(summarise.run)?;
    let session = run.session.session;
    let (message, through) = (&summarise.summary, summarise.through);
    let place = ordinal(tx.conn, session, through)?;
    let present = summary(tx.conn, session)?;
    if present.is_some_and(|(present, at)| at == place && present.parts == message.parts) {
        return Ok(());
    }
    let no = super::entry::insert_message(tx.conn, run, message, None)?;
    tx.conn
        .prepare_cached(
            "UPDATE session SET summary_message = ?2, summary_through = ?3 WHERE no = ?1",
        )?
        .execute(params![session, no, place])?;
    let body = EventBody::HistorySummarised {
        message: message.id,
        through,
    };
    let mut log = tx.log(run.session)?;
    let begun = EventBody::MessageCreated {
        message: message.id,
        role: message.role,
        parts: message.parts.clone(),
    };
    log.push(Some(run.run), &begun)?;
    log.push(Some(run.run), &body)
}

/// Returns the bytes of a data part of this session.
pub(super) fn blob(
    conn: &Connection,
    session: i64,
    id: &BlobId,
) -> Result<Option<Vec<u8>>, StoreError> {
    // Sessions share a blob by its digest; only a session that was given the bytes may read them.
    let found = || {
        conn.prepare_cached(
            "SELECT bytes FROM blob_use JOIN blob ON blob.id = blob_use.blob
             WHERE blob_use.session = ?1 AND blob_use.blob = ?2",
        )?
        .query_row(params![session, id.0], |row| row.get(0))
        .optional()
    };
    let place = || Damage::of("blob").row(&id.0);
    let bytes: Option<Vec<u8>> = found().map_err(|error| place().name(error.into()))?;
    match bytes {
        Some(bytes) if super::listing::digest(&bytes) != id.0 => {
            Err(place().why("the bytes do not have this digest").into())
        }
        bytes => Ok(bytes),
    }
}

fn run_row(row: &Row<'_>) -> Result<RunRow, StoreError> {
    let word: String = row.get(1)?;
    let receipt: Option<String> = row.get(2)?;
    let time = |at: i64| UnixMillis(at as u64);
    Ok(RunRow {
        id: RunId::from_bytes(row.get(0)?),
        state: word.parse()?,
        started_ms: row.get::<_, Option<i64>>(3)?.map(time),
        ended_ms: row.get::<_, Option<i64>>(4)?.map(time),
        receipt: receipt
            .map(|json| serde_json::from_str(&json))
            .transpose()?,
        messages: Vec::new(),
    })
}

/// Returns the runs of a session with all their messages, in the order of acceptance, and the
/// damage among them. A run is returned if its id can be read, for its messages.
pub(super) fn runs(
    conn: &Connection,
    session: SessionId,
) -> Result<(Vec<RunRow>, Vec<Damage>), StoreError> {
    let no = event::session_no(conn, session)?;
    let listing = Listing {
        table: "run",
        key: "no",
        columns: "run.id, run.state, run_terminal.receipt, run.started_ms, run.ended_ms",
        joins: super::runs::RECEIPTS,
        which: "run.session = ?1 ORDER BY run.no",
    };
    let (mut runs, mut damaged) = (Vec::new(), Vec::new());
    for row in listing.read(conn, &[&no], run_row)? {
        match row {
            Ok(run) => runs.push(run),
            Err(damage) => {
                runs.extend(damage.run.map(|id| RunRow {
                    id,
                    state: RunState::Interrupted,
                    started_ms: None,
                    ended_ms: None,
                    receipt: super::finish::stored(conn, id).ok().flatten(),
                    messages: Vec::new(),
                }));
                damaged.push(damage);
            }
        }
    }
    let which = "message.session = ?1
        ORDER BY message.ordinal IS NULL, message.ordinal, message.no";
    let (messages, more) = listed(conn, which, &[&no])?;
    damaged.extend(more);
    let places: std::collections::HashMap<RunId, usize> = runs
        .iter()
        .enumerate()
        .map(|(at, run)| (run.id, at))
        .collect();
    for message in messages {
        if let Some(&at) = places.get(&message.run) {
            runs[at].messages.push(message);
        }
    }
    Ok((runs, damaged))
}
