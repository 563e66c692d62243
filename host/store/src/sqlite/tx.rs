//! The state of a write transaction, which every command gets: the log with its sequence numbers,
//! savepoints, and the time of the batch.

use super::numbers::{Numbers, RunNo, SessionNo};
use crate::command::BatchTime;
use crate::notify::LogRange;
use crate::{Refusal, StoreError};
use lastword_types::clock::UnixMillis;
use lastword_types::event::EventBody;
use lastword_types::id::{RunId, SessionId};
use rusqlite::{Connection, OptionalExtension, params};
use std::time::Duration;

/// Whether each command of a transaction has a savepoint of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SavepointMode {
    /// No command has one, which costs least.
    None,
    /// Each command has one.
    Each,
}

/// One write transaction, or one savepoint of it.
pub(super) struct Tx<'c> {
    pub(super) conn: &'c Connection,
    /// The time of the batch, the same for everything in it.
    pub(super) now: UnixMillis,
    /// When the batch began, on the clock's scale.
    pub(super) elapsed: Duration,
    /// The owner's epoch.
    pub(super) epoch: i64,
    pub(super) savepoints: SavepointMode,
    pub(super) numbers: &'c mut Numbers,
    /// One process never gives a position twice, not even after a rollback.
    next_pos: &'c mut i64,
    /// The sessions whose log grew.
    touched: Vec<LogRange>,
    json: Vec<u8>,
}

impl<'c> Tx<'c> {
    pub(super) fn new(
        conn: &'c Connection,
        time: BatchTime,
        epoch: i64,
        next_pos: &'c mut i64,
        numbers: &'c mut Numbers,
    ) -> Self {
        Self {
            conn,
            now: time.now,
            elapsed: time.elapsed,
            epoch,
            savepoints: SavepointMode::Each,
            numbers,
            next_pos,
            touched: Vec::new(),
            json: Vec::new(),
        }
    }

    /// Returns the sessions whose log grew, for their subscribers.
    pub(super) fn into_touched(self) -> Vec<LogRange> {
        self.touched
    }

    /// Returns the numbers of a session, even of one that is being deleted.
    pub(super) fn session(&mut self, id: SessionId) -> Result<SessionNo, StoreError> {
        self.numbers.session(self.conn, id)
    }

    /// Returns the numbers of a run, whatever its state.
    pub(super) fn run(&mut self, id: RunId) -> Result<RunNo, StoreError> {
        self.numbers.run(self.conn, id)
    }

    /// Returns the log of one session, to append to it. Refused once the session's deletion is
    /// logged.
    pub(super) fn log(&mut self, session: SessionNo) -> Result<Log<'_, 'c>, StoreError> {
        let last: Option<(i64, bool)> = self
            .conn
            .prepare_cached(
                "SELECT seq, run IS NULL AND body = '{\"type\":\"session.deleted\"}' FROM event
                 WHERE session = ?1 AND typeof(seq) = 'integer' ORDER BY seq DESC LIMIT 1",
            )?
            .query_row([session.session], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let last = match last {
            Some((_, true)) => return Err(Refusal::UnknownSession(session.id).into()),
            Some((last, _)) => last,
            None => self.folded(session)?,
        };
        Ok(Log {
            tx: self,
            session,
            seq: last,
        })
    }

    /// Returns the number after which an empty log continues: that of the last folded event.
    fn folded(&self, session: SessionNo) -> Result<i64, StoreError> {
        self.conn
            .prepare_cached(
                "SELECT iif(typeof(log_from) = 'integer', log_from, 0) FROM session WHERE no = ?1",
            )?
            .query_row([session.session], |row| row.get(0))
            .optional()?
            .ok_or_else(|| Refusal::UnknownSession(session.id).into())
    }

    /// Returns the highest position given so far.
    pub(super) fn last_pos(&self) -> i64 {
        *self.next_pos - 1
    }

    /// Wakes the followers of a deleted workspace, although no log in it grew.
    pub(super) fn wake(&mut self, session: SessionNo) {
        self.touched.push(LogRange {
            session: session.id,
            workspace: session.workspace_id,
            first: i64::MAX,
            last: 0,
        });
    }
}

/// Runs `act` inside its own savepoint, which is rolled back if `act` fails.
pub(super) fn in_savepoint<T>(
    tx: &mut Tx<'_>,
    act: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    tx.conn.prepare_cached("SAVEPOINT part")?.execute([])?;
    let result = act(tx);
    if result.is_ok() {
        tx.conn.prepare_cached("RELEASE part")?.execute([])?;
    } else if !tx.conn.is_autocommit() {
        tx.numbers.clear();
        tx.conn.execute_batch("ROLLBACK TO part; RELEASE part")?;
    }
    result
}

/// Appends to one session's log, number by number.
pub(super) struct Log<'t, 'c> {
    tx: &'t mut Tx<'c>,
    session: SessionNo,
    seq: i64,
}

impl Log<'_, '_> {
    /// Appends one event.
    pub(super) fn push(&mut self, run: Option<i64>, body: &EventBody) -> Result<(), StoreError> {
        let tx = &mut *self.tx;
        tx.json.clear();
        serde_json::to_writer(&mut tx.json, body)?;
        let json = std::str::from_utf8(&tx.json).expect("serde_json writes UTF-8");
        self.seq += 1;
        let pos = *tx.next_pos;
        *tx.next_pos += 1;

        tx.conn
            .prepare_cached(
                "INSERT INTO event (pos, session, seq, run, at_ms, body)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                pos,
                self.session.session,
                self.seq,
                run,
                tx.now.0 as i64,
                json
            ])?;

        match tx.touched.last_mut() {
            Some(range) if range.session == self.session.id => range.last = self.seq,
            _ => tx.touched.push(LogRange {
                session: self.session.id,
                workspace: self.session.workspace_id,
                first: self.seq,
                last: self.seq,
            }),
        }

        Ok(())
    }
}
