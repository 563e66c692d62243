//! Reads the log, a bounded page at a time.

use super::{Refusal, StoreError};
use crate::clock::UnixMillis;
use crate::event::{Event, Position, Seq};
use crate::id::{RunId, SessionId};
use rusqlite::{Connection, OptionalExtension, params};

/// Events of the largest page.
pub const PAGE_EVENTS: usize = 256;

/// The events of a session after `after`, in order, at most `PAGE_EVENTS`.
pub(super) fn page(
    conn: &Connection,
    session: SessionId,
    after: Seq,
) -> Result<Vec<Event>, StoreError> {
    let no = session_no(conn, session)?;
    let mut query = conn.prepare_cached(
        "SELECT event.seq, event.pos, run.id, event.at_ms, event.body
         FROM event LEFT JOIN run ON run.no = event.run
         WHERE event.session = ?1 AND event.seq > ?2 ORDER BY event.seq LIMIT ?3",
    )?;
    let mut rows = query.query(params![no, after.0 as i64, PAGE_EVENTS as i64])?;
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        events.push(Event {
            seq: Seq(row.get::<_, i64>(0)? as u64),
            pos: Position(row.get::<_, i64>(1)? as u64),
            session,
            run: row.get::<_, Option<[u8; 16]>>(2)?.map(RunId::from_bytes),
            at_ms: UnixMillis(row.get::<_, i64>(3)? as u64),
            body: serde_json::from_str(row.get_ref(4)?.as_str().unwrap_or_default())?,
        });
    }
    Ok(events)
}

/// The number just before a run's first event: where a stream of that run begins.
pub(super) fn before_run(conn: &Connection, run: RunId) -> Result<Seq, StoreError> {
    let first: Option<i64> = conn
        .prepare_cached(
            "SELECT min(event.seq) FROM event JOIN run ON run.no = event.run
             WHERE run.id = ?1 AND event.session = run.session",
        )?
        .query_row([run.as_bytes()], |row| row.get(0))
        .optional()?
        .flatten();
    let first = first.ok_or(Refusal::UnknownRun)?;
    Ok(Seq(first.saturating_sub(1) as u64))
}

pub(super) fn session_no(conn: &Connection, session: SessionId) -> Result<i64, StoreError> {
    conn.prepare_cached("SELECT no FROM session WHERE id = ?1")?
        .query_row([session.as_bytes()], |row| row.get(0))
        .optional()?
        .ok_or_else(|| Refusal::UnknownSession.into())
}
