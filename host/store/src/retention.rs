//! Folding: the log's prefix of a session goes once every run in it has ended long ago. Its
//! messages and receipts stay. Never part of a run, and a bounded number of rows at a time.

use super::life::{ROWS_MAX, remember_last};
use super::open::Store;
use super::run::SessionNo;
use super::tx::Tx;
use super::{Refusal, StoreError};
use lastword_types::clock::UnixMillis;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::HashSet;

/// Sessions, and events of one of them, that one read looks at.
const SESSIONS: i64 = 100;
const EVENTS: i64 = 4000;

/// Looks for the end of what may be folded of one session, a page at a time.
struct Cut {
    /// The last number that was looked at.
    seen: i64,
    /// The last number at which no run was under way.
    through: i64,
    /// Runs that began in what was seen and did not end there.
    open: HashSet<i64>,
}

/// Looks at one more page; answers whether there is more to look at.
fn look(
    conn: &Connection,
    session: i64,
    before: i64,
    mut cut: Cut,
) -> Result<(Cut, bool), StoreError> {
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
    let mut rows = query.query(params![session, cut.seen, EVENTS, i64::MAX])?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        count += 1;
        if row.get::<_, i64>(2)? > before {
            return Ok((cut, false));
        }
        cut.seen = row.get(0)?;
        if let Some(run) = row.get::<_, Option<i64>>(1)? {
            match row.get(3)? {
                true => cut.open.remove(&run),
                false => cut.open.insert(run),
            };
        }
        if cut.open.is_empty() {
            cut.through = cut.seen;
        }
    }
    Ok((cut, count == EVENTS))
}

/// Says that a session's log begins after a number. What stands before is nobody's any more.
fn cut(tx: &mut Tx<'_>, no: SessionNo, through: i64) -> Result<(), StoreError> {
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

/// Deletes some of what stands before the beginning of a session's log.
fn sweep(tx: &Tx<'_>, no: SessionNo) -> Result<usize, StoreError> {
    Ok(tx
        .conn
        .prepare_cached(
            "DELETE FROM event WHERE pos IN (
               SELECT pos FROM event WHERE session = ?1
                 AND seq <= (SELECT log_from FROM session WHERE no = ?1) LIMIT ?2)",
        )?
        .execute(params![no.session, ROWS_MAX as i64])?)
}

/// Some sessions after one, each with the number after which its log begins.
fn sessions(conn: &Connection, after: i64) -> Result<Vec<(SessionNo, i64)>, StoreError> {
    let mut query = conn.prepare_cached(
        "SELECT no, workspace, log_from FROM session WHERE no > ?1 AND going = 0
           AND typeof(workspace) = 'integer' AND typeof(log_from) = 'integer'
         ORDER BY no LIMIT ?2",
    )?;
    let rows = query.query_map([after, SESSIONS], |row| {
        let no = SessionNo {
            session: row.get(0)?,
            workspace: row.get(1)?,
        };
        Ok((no, row.get(2)?))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Refuses a number that is before the beginning of a session's log, or beyond its end.
pub(super) fn check(conn: &Connection, session: i64, after: u64) -> Result<(), StoreError> {
    let (from, last): (i64, Option<i64>) = conn
        .prepare_cached(
            "SELECT iif(typeof(log_from) = 'integer', log_from, 0), (SELECT seq FROM event WHERE session = no ORDER BY seq DESC LIMIT 1)
             FROM session WHERE no = ?1",
        )?
        .query_row([session], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?
        .ok_or(Refusal::UnknownSession)?;
    within(after, from, last.unwrap_or(from))
}

/// The same for the positions of one workspace, or of all; the log's end only if `end`, since
/// a place that was only looked at may be beyond it.
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
    within(after, from, if end { last } else { i64::MAX })
}

fn within(after: u64, from: i64, last: i64) -> Result<(), StoreError> {
    let (from, last) = (from as u64, last as u64);
    if after < from {
        return Err(Refusal::Expired { through: from }.into());
    }
    if after > last {
        return Err(Refusal::Beyond { last }.into());
    }
    Ok(())
}

impl Store {
    /// Folds what every session's log has of runs that ended before a time; answers how many
    /// events went.
    pub async fn fold(&self, before: UnixMillis) -> Result<u64, StoreError> {
        let readers = &self.shared.readers;
        let (mut after, mut folded) = (0, 0);
        loop {
            let page = readers.read(move |conn| sessions(conn, after)).await?;
            let Some((last, _)) = page.last() else {
                return Ok(folded);
            };
            after = last.session;
            for (no, from) in page {
                match self.fold_session(no, from, before).await {
                    Ok(events) => folded += events,
                    // One that cannot be read holds up no other.
                    Err(StoreError::Damaged(damage)) => self.set_aside(vec![*damage]),
                    Err(other) => return Err(other),
                }
            }
        }
    }

    async fn fold_session(
        &self,
        no: SessionNo,
        from: i64,
        before: UnixMillis,
    ) -> Result<u64, StoreError> {
        let mut found = Cut {
            seen: from,
            through: from,
            open: HashSet::new(),
        };
        let before = i64::try_from(before.0).unwrap_or(i64::MAX);
        loop {
            let look = move |conn: &Connection| look(conn, no.session, before, found);
            let (next, more) = self.shared.readers.read(look).await?;
            found = next;
            if !more {
                break;
            }
        }
        let through = found.through;
        if through > from {
            self.write(move |tx| cut(tx, no, through)).await?;
        } else if from == 0 {
            return Ok(0);
        }
        // Also what an earlier host had cut off and not yet swept.
        let mut swept = 0;
        loop {
            let some = self.write(move |tx| sweep(tx, no)).await?;
            swept += some as u64;
            if some < ROWS_MAX {
                return Ok(swept);
            }
        }
    }
}
