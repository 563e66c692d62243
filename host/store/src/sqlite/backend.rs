//! Commits batches for `writer` over the only connection that writes to the database.
//!
//! ```text
//! BEGIN IMMEDIATE ─▶ every command ─▶ COMMIT (fsync) ─▶ check, note
//! ```
//! After each commit it checks that the files it wrote to are still in their place (`directory`),
//! and notes outside the database how far it is committed (`committed`). Both take microseconds,
//! far less than the sync.

use super::committed::Record;
use super::directory::Places;
use super::numbers::Numbers;
use super::tx::{SavepointMode, Tx, in_savepoint};
use super::{
    agent, entry, finish, fork, grant, life, message, queue, retention, run, session, state, wake,
};
use crate::StoreError;
use crate::backend::{Backend, Batch, CommitError, Committed, Resolution};
use crate::command::{BatchTime, Command, Reply};
use crate::notify::LogRange;
use crate::writer::BlockedRuns;
use lastword_types::clock::Clock;
use rusqlite::Connection;
use std::sync::Arc;
use std::sync::atomic::AtomicI32;

/// The part of the database that the writer's thread owns.
pub(super) struct Sqlite {
    pub(super) conn: Connection,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) epoch: i64,
    pub(super) next_pos: i64,
    pub(super) numbers: Numbers,
    /// Pages in the write-ahead log after the last commit, set by SQLite's own hook.
    pub(super) wal_pages: Arc<AtomicI32>,
    /// The places of the open files, from the first transaction of the thread on.
    pub(super) places: Option<Places>,
    /// The record, outside the database, of how far it is committed.
    pub(super) record: Option<Record>,
}

/// Each command's own outcome, and the logs that grew; `None` if the commands must be applied
/// again, each with a savepoint.
type Attempted = Result<Option<(Vec<Result<Reply, StoreError>>, Vec<LogRange>)>, StoreError>;

impl Backend for Sqlite {
    /// Applies all commands in one transaction: first without savepoints, which cost more than
    /// most commands, and again with one for each command if a command failed half-way.
    fn commit(&mut self, batch: &Batch<'_>) -> Result<Committed, CommitError> {
        let before = self.conn.total_changes();
        let done = match self.attempt(batch, SavepointMode::None)? {
            Some(done) => done,
            None => self.attempt(batch, SavepointMode::Each)?.ok_or_else(|| {
                StoreError::Content("a command could not be set apart".to_owned())
            })?,
        };

        if let Some(places) = &self.places {
            places.check()?;
        }
        let wrote = self.conn.total_changes() != before;
        if wrote && let Some(record) = &mut self.record {
            record.note(self.next_pos - 1, self.clock.now());
        }

        let (outcomes, changes) = done;
        Ok(Committed {
            outcomes,
            changes,
            through: (self.next_pos - 1) as u64,
            wrote,
        })
    }

    /// The outcome of a commit is never unknown here: SQLite rolls a failed commit back, or the
    /// store is closed.
    fn resolve(&mut self, _batch: &Batch<'_>) -> Result<Resolution, StoreError> {
        Ok(Resolution::NotCommitted)
    }

    fn maintain(&mut self, idle: bool) -> bool {
        // After a checkpoint the next commit restarts the log. Until then, damage to the log could
        // make SQLite read older versions of single pages, so the writer shall commit soon.
        self.checkpoint_if_due(idle)
    }

    fn close(self: Box<Self>) {
        self.leave_whole();
    }
}

impl Sqlite {
    fn attempt(&mut self, batch: &Batch<'_>, savepoints: SavepointMode) -> Attempted {
        let Self {
            conn,
            next_pos,
            numbers,
            clock,
            ..
        } = self;
        let conn: &Connection = conn;

        conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let time = BatchTime {
            // Another process may have held the lock, and a receipt says how long its write took.
            elapsed: clock.elapsed(),
            ..batch.time
        };
        let (before, first) = (conn.total_changes(), *next_pos);
        let mut tx = Tx::new(conn, time, batch.id.epoch, next_pos, numbers);
        tx.savepoints = savepoints;
        let mut result = apply_all(tx, batch);

        if let Ok(Some(_)) = &result {
            let changed = conn.total_changes() != before;
            match commit(conn, changed.then_some(first), next_pos) {
                Ok(()) => return result,
                Err(error) => result = Err(error.into()),
            }
        }

        numbers.clear();
        if !conn.is_autocommit() {
            // If even this fails, the next BEGIN reports it.
            let _already_rolled_back = conn.execute_batch("ROLLBACK");
        }
        result
    }

    /// Runs one transaction before the writer's thread is started.
    pub(super) fn once<T>(
        &mut self,
        act: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.conn.execute_batch("BEGIN IMMEDIATE")?;
        let time = BatchTime {
            now: self.clock.now(),
            elapsed: self.clock.elapsed(),
        };
        let mut tx = Tx::new(
            &self.conn,
            time,
            self.epoch,
            &mut self.next_pos,
            &mut self.numbers,
        );

        let result = act(&mut tx);
        let end = if result.is_ok() { "COMMIT" } else { "ROLLBACK" };
        let ended = self.conn.execute_batch(end);
        let _over = self.conn.is_autocommit() || self.conn.execute_batch("ROLLBACK").is_ok();
        if result.is_err() || ended.is_err() {
            self.numbers.clear();
        }
        result.and_then(|result| Ok(ended.map(|()| result)?))
    }
}

/// Commits. Each commit that changes something takes at least one position and stores the last
/// one, even if it brings no event. So the position grows with every such commit, and the next
/// start can compare it with the record outside the database.
fn commit(
    conn: &Connection,
    changed_from: Option<i64>,
    next_pos: &mut i64,
) -> Result<(), rusqlite::Error> {
    if let Some(first) = changed_from {
        let last = conn
            .prepare_cached("SELECT max(pos) FROM event")?
            .query_row([], |row| row.get::<_, Option<i64>>(0));
        // If the log cannot be read, the position is stored in `owner` below.
        let last = last.unwrap_or_default();
        if *next_pos == first || last != Some(*next_pos - 1) {
            conn.prepare_cached("UPDATE owner SET last_pos = ?1")?
                .execute([*next_pos])?;
            *next_pos += 1;
        }
    }
    conn.prepare_cached("COMMIT")?.execute([]).map(drop)
}

/// Applies every command. Returns `None` if one failed half-way and all must be applied again,
/// each with a savepoint.
fn apply_all(mut tx: Tx<'_>, batch: &Batch<'_>) -> Attempted {
    let conn = tx.conn;
    let owner: i64 = conn
        .prepare_cached("SELECT epoch FROM owner WHERE one = 1")?
        .query_row([], |row| row.get(0))?;
    if owner != tx.epoch {
        let ours = tx.epoch;
        return Err(StoreError::Closed(format!(
            "another host took the data directory over (epoch {owner}, ours was {ours})"
        )));
    }

    let mut outcomes = Vec::with_capacity(batch.commands.len());
    let mut blocked = BlockedRuns::default();
    for command in &batch.commands {
        let run = command.ordered_run();
        if blocked.contains(run) {
            let why = "what the same run said before cannot be written now";
            outcomes.push(Err(StoreError::Unavailable(why.to_owned())));
            continue;
        }

        let before = conn.total_changes();
        let outcome = match tx.savepoints {
            SavepointMode::None => apply(&mut tx, command),
            SavepointMode::Each => in_savepoint(&mut tx, |tx| apply(tx, command)),
        };
        match &outcome {
            Ok(_) => {}
            Err(StoreError::Closed(why)) => return Err(StoreError::Closed(why.clone())),
            // SQLite rolled back the whole transaction, not this command alone.
            Err(error) if conn.is_autocommit() => return Err(error.clone()),
            Err(StoreError::Refused(_)) if conn.total_changes() == before => {}
            Err(_) if tx.savepoints == SavepointMode::None => return Ok(None),
            Err(StoreError::Unavailable(_)) if command.is_kept() => blocked.block(run),
            Err(_) => {}
        }
        outcomes.push(outcome);
    }
    Ok(Some((outcomes, tx.into_touched())))
}

/// Carries out one command.
fn apply(tx: &mut Tx<'_>, command: &Command) -> Result<Reply, StoreError> {
    Ok(match command {
        Command::OpenWorkspace(open) => Reply::OpenWorkspace(session::open_workspace(tx, open)?),
        Command::KeepOptions(keep) => {
            Reply::KeepOptions(session::keep_options(tx, keep.workspace, &keep.options)?)
        }
        Command::DeleteWorkspace(delete) => {
            Reply::DeleteWorkspace(life::delete_workspace(tx, delete.workspace)?)
        }
        Command::CreateSession(create) => Reply::CreateSession(session::create_once(tx, create)?),
        Command::RenameSession(rename) => {
            Reply::RenameSession(life::rename(tx, rename.session, &rename.title)?)
        }
        Command::SetTodo(set) => Reply::SetTodo(life::plan(tx, set.session, &set.todo)?),
        Command::ForkSession(fork) => Reply::ForkSession(fork::fork_once(tx, fork)?),
        Command::BeginDelete(delete) => {
            let session = tx.session(delete.session)?;
            Reply::BeginDelete(life::begin_delete(tx, session)?)
        }
        Command::DeleteRows(delete) => {
            let session = tx.session(delete.session)?;
            Reply::DeleteRows(life::delete_some(tx, session)?)
        }
        Command::Accept(accept) => Reply::Accept(run::accept(tx, accept)?),
        Command::EditQueued(edit) => Reply::EditQueued(queue::edit(tx, edit)?),
        Command::Hold(hold) => Reply::Hold(queue::hold(tx, &hold.runs)?),
        Command::Resume(resume) => Reply::Resume(queue::resume(tx, resume)?),
        Command::KeepKey(keep) => Reply::KeepKey(run::keep_key_once(tx, keep)?),
        Command::Start(start) => Reply::Start(run::start(tx, start.run)?),
        Command::Append(append) => {
            let run = tx.run(append.run)?;
            Reply::Append(entry::write(tx, run, &append.entries)?)
        }
        Command::Summarise(summarise) => Reply::Summarise(message::summarise(tx, summarise)?),
        Command::Latch(latch) => Reply::Latch(finish::latch(tx, latch.run, &latch.cause)?),
        Command::Finish(finish) => Reply::Finish(finish::finish(tx, finish)?),
        Command::Withdraw(withdraw) => {
            Reply::Withdraw(finish::withdraw_all(tx, &withdraw.runs, &withdraw.ending)?)
        }
        Command::TakeWaitsBack(take) => Reply::TakeWaitsBack(wake::take_back(tx, take)?),
        Command::ShiftWakes(shift) => Reply::ShiftWakes(wake::shift(tx, shift.by)?),
        Command::PutState(put) => Reply::PutState(state::put(tx, put)?),
        Command::Revoke(revoke) => Reply::Revoke(grant::revoke(tx, revoke.grant)?),
        Command::KeepAgent(keep) => Reply::KeepAgent(agent::keep(tx, keep)?),
        Command::ForgetAgent(forget) => Reply::ForgetAgent(agent::forget(tx, forget)?),
        Command::CutLog(cut) => {
            let session = tx.session(cut.session)?;
            Reply::CutLog(retention::cut(tx, session, cut.through as i64)?)
        }
        Command::SweepLog(sweep) => {
            let session = tx.session(sweep.session)?;
            Reply::SweepLog(retention::sweep(tx, session)? as u64)
        }
        Command::Probe(probe) => {
            if probe.commit {
                let touch = "UPDATE owner SET last_pos = last_pos";
                tx.conn.prepare_cached(touch)?.execute([])?;
            }
            Reply::Probe(())
        }
    })
}
