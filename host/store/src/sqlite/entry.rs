//! Writes the output of a run: log events, whole messages, stored bytes, titles. Callers check the
//! run's state before.

use super::numbers::{RunNo, SessionNo};
use super::tx::{Log, Tx};
use super::{grant, question};
use crate::transcript::Entry;
use crate::{StoreError, conversation};
use lastword_types::event::EventBody;
use lastword_types::session::{BlobId, Message};
use rusqlite::{Connection, OptionalExtension, params};

/// Writes entries in order, for a run that has not ended.
pub(super) fn write(tx: &mut Tx<'_>, run: RunNo, entries: &[Entry]) -> Result<(), StoreError> {
    let mut rest = entries;
    while !rest.is_empty() {
        let own = rest.iter().position(question::is_told_elsewhere);
        let (own, others) = rest.split_at(own.unwrap_or(rest.len()));
        if !own.is_empty() {
            let conn = tx.conn;
            let mut log = tx.log(run.session)?;
            for entry in own {
                write_one(conn, &mut log, run, entry)?;
            }
        }
        let Some((entry, later)) = others.split_first() else {
            break;
        };
        question::tell(tx, run, entry)?;
        rest = later;
    }
    Ok(())
}

fn write_one(
    conn: &Connection,
    log: &mut Log<'_, '_>,
    run: RunNo,
    entry: &Entry,
) -> Result<(), StoreError> {
    match entry {
        Entry::Event(body) => log.push(Some(run.run), body),
        // `question::tell` writes it, since it concerns several logs.
        Entry::Elsewhere(..) => Ok(()),
        Entry::Grant(granted) => grant::keep(conn, run, granted),
        Entry::Message(message) => {
            let place = Some(next_ordinal(conn, run.session.session)?);
            insert_message(conn, run, message, place)?;
            log.push(Some(run.run), &conversation::finished(message))
        }
        Entry::Blob(id, bytes) => keep_blob(conn, run.session, id, bytes),
        Entry::Title(title) => {
            let changed = set_title(conn, run.session, title)?;
            let title = title.clone();
            if !changed {
                return Ok(());
            }
            log.push(Some(run.run), &EventBody::SessionRenamed { title })
        }
    }
}

/// Sets a session's title. Returns whether it changed.
pub(super) fn set_title(
    conn: &Connection,
    session: SessionNo,
    title: &str,
) -> Result<bool, StoreError> {
    let changed = conn
        .prepare_cached("UPDATE session SET title = ?2 WHERE no = ?1 AND title IS NOT ?2")?
        .execute(params![session.session, title])?;
    Ok(changed > 0)
}

/// Stores bytes under their digest, and allows a session to read them.
pub(super) fn keep_blob(
    conn: &Connection,
    session: SessionNo,
    id: &BlobId,
    bytes: &[u8],
) -> Result<(), StoreError> {
    conn.prepare_cached("INSERT OR IGNORE INTO blob (id, bytes) VALUES (?1, ?2)")?
        .execute(params![id.0, bytes])?;
    conn.prepare_cached("INSERT OR IGNORE INTO blob_use (session, blob) VALUES (?1, ?2)")?
        .execute(params![session.session, id.0])?;
    Ok(())
}

/// Returns the place after the last message of a session.
pub(super) fn next_ordinal(conn: &Connection, session: i64) -> Result<i64, StoreError> {
    let last: Option<i64> = conn
        .prepare_cached(
            "SELECT ordinal FROM message WHERE session = ?1 AND ordinal IS NOT NULL
             ORDER BY ordinal DESC LIMIT 1",
        )?
        .query_row([session], |row| row.get(0))
        .optional()?;
    Ok(last.unwrap_or(0) + 1)
}

/// Stores a whole message and returns its number.
pub(super) fn insert_message(
    conn: &Connection,
    run: RunNo,
    message: &Message,
    ordinal: Option<i64>,
) -> Result<i64, StoreError> {
    let extra = if message.extra.is_empty() {
        None
    } else {
        Some(serde_json::to_string(&message.extra)?)
    };

    conn.prepare_cached(
        "INSERT INTO message (id, session, run, ordinal, role, parts, model, provider, finish,
                              created_ms, finished_ms, extra)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?
    .execute(params![
        message.id.as_bytes(),
        run.session.session,
        run.run,
        ordinal,
        message.role.as_str(),
        serde_json::to_string(&message.parts)?,
        message.model,
        message.provider,
        message.finish.map(|finish| finish.as_str()),
        message.created_ms.0 as i64,
        message.finished_ms.map(|at| at.0 as i64),
        extra,
    ])?;
    Ok(conn.last_insert_rowid())
}
