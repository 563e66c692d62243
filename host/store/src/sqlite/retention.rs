//! Folding: deletes the beginning of a session's log once every run in it ended long ago. The
//! messages and receipts stay. It never cuts within a run, and deletes a bounded number of rows at
//! a time.

use super::life::remember_last;
use super::listing::lenient;
use super::numbers::SessionNo;
use super::tx::Tx;
use crate::command::ROWS_MAX;
use crate::rows::{self, FOLD_EVENTS, FOLD_SESSIONS, FoldPage, FoldScan};
use crate::{Refusal, StoreError};
use lastword_types::id::SessionId;
use rusqlite::{Connection, OptionalExtension, params};

/// Looks at one more page. Returns whether there are more.
pub(super) fn look(
    conn: &Connection,
    session: i64,
    before: i64,
    mut cut: FoldScan,
) -> Result<(FoldScan, bool), StoreError> {
    let mut query = conn.prepare_cached(
        "SELECT event.seq, event.run, coalesce(run.ended_ms, iif(event.run IS NULL, event.at_ms, ?4)),
                event.run IS NOT NULL AND coalesce(
                  iif(json_valid(event.body), json_extract(event.body, '$.type'), NULL)
                  = 'run.ended', run.ended_ms IS NOT NULL AND event.seq = (
                    SELECT max(seq) FROM event last
                    WHERE last.session = event.session AND last.run = event.run))
         FROM event LEFT JOIN run ON run.no = event.run
         WHERE event.session = ?1 AND event.seq > ?2 ORDER BY event.seq LIMIT ?3",
    )?;
    let mut rows = query.query(params![session, cut.seen, FOLD_EVENTS as i64, i64::MAX])?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        count += 1;
        if row.get::<_, i64>(2)? > before {
            return Ok((cut, false));
        }
        cut.seen = row.get(0)?;
        if let Some(run) = row.get::<_, Option<i64>>(1)? {
            let ended: bool = row.get(3)?;
            if ended {
                cut.open.remove(&run);
            } else {
                cut.open.insert(run);
            }
        }
        if cut.open.is_empty() {
            cut.through = cut.seen;
        }
    }
    Ok((cut, count == FOLD_EVENTS))
}

/// Makes a session's log begin after a number. Earlier events are no longer read, and [`sweep`]
/// deletes them.
pub(super) fn cut(tx: &mut Tx<'_>, no: SessionNo, through: i64) -> Result<(), StoreError> {
    remember_last(tx)?;
    tx.conn
        .prepare_cached("UPDATE session SET log_from = max(log_from, ?2) WHERE no = ?1")?
        .execute(params![no.session, through])?;
    tx.conn
        .prepare_cached(
            "UPDATE workspace SET log_from = max(log_from, coalesce((
               SELECT pos FROM event WHERE session = ?2 AND seq <= ?3 ORDER BY seq DESC LIMIT 1), 0))
             WHERE no = ?1",
        )?
        .execute(params![no.workspace, no.session, through])?;
    Ok(())
}

/// Deletes a bounded number of events before the beginning of a session's log.
pub(super) fn sweep(tx: &Tx<'_>, no: SessionNo) -> Result<usize, StoreError> {
    Ok(tx
        .conn
        .prepare_cached(
            "DELETE FROM event WHERE pos IN (
               SELECT pos FROM event WHERE session = ?1
                 AND seq <= (SELECT log_from FROM session WHERE no = ?1) LIMIT ?2)",
        )?
        .execute(params![no.session, ROWS_MAX as i64])?)
}

/// Returns a page of sessions after one, each with the number after which its log begins.
pub(super) fn sessions(conn: &Connection, after: i64) -> Result<FoldPage, StoreError> {
    let mut query = conn.prepare_cached(
        "SELECT no, id, log_from FROM session WHERE no > ?1 AND going = 0
           AND typeof(workspace) = 'integer' AND typeof(log_from) = 'integer'
         ORDER BY no LIMIT ?2",
    )?;
    let mut rows = query.query([after, FOLD_SESSIONS as i64])?;
    let (mut sessions, mut last) = (Vec::new(), None);
    while let Some(row) = rows.next()? {
        last = Some(row.get(0)?);
        // A session whose id cannot be read cannot be named by a command.
        if let Some(id) = lenient(row, 1) {
            sessions.push((SessionId::from_bytes(id), row.get::<_, i64>(2)? as u64));
        }
    }
    Ok((sessions, last))
}

/// Refuses a number that is before the beginning of a session's log, or beyond its end.
pub(super) fn check(
    conn: &Connection,
    id: SessionId,
    session: i64,
    after: u64,
) -> Result<(), StoreError> {
    let (from, last): (i64, Option<i64>) = conn
        .prepare_cached(
            "SELECT iif(typeof(log_from) = 'integer', log_from, 0), (SELECT seq FROM event WHERE session = no ORDER BY seq DESC LIMIT 1)
             FROM session WHERE no = ?1",
        )?
        .query_row([session], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?
        .ok_or(Refusal::UnknownSession(id))?;
    rows::within(after, from as u64, last.unwrap_or(from) as u64)
}

/// As [`check`], for the positions of one workspace, or of all. Checks the log's end only if `end`
/// is set, since a position that a reader has looked up to may be beyond it.
pub(super) fn check_positions(
    conn: &Connection,
    workspace: Option<i64>,
    after: u64,
    end: bool,
) -> Result<(), StoreError> {
    let (from, last): (i64, i64) = conn
        .prepare_cached(
            "SELECT (SELECT coalesce(max(log_from), 0) FROM workspace
                     WHERE (?1 IS NULL OR no = ?1) AND typeof(log_from) = 'integer'),
                    max(last_pos, coalesce((SELECT max(pos) FROM event), 0)) FROM owner",
        )?
        .query_row([workspace], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let last = if end { last as u64 } else { u64::MAX };
    rows::within(after, from as u64, last)
}
