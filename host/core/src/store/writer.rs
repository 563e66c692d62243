//! The one thread that writes: it takes whatever queued up during the last sync, commits it
//! as one transaction, and only then lets anyone know.
//!
//! ```text
//! queue ─▶ BEGIN IMMEDIATE ─▶ every job ─▶ COMMIT (fsync) ─▶ wake subscribers ─▶ answer
//! ```
//! Knows neither runs nor sessions; what is written is [`Work`].

use super::StoreError;
use super::notify::Notify;
use super::tx::{Apart, Grown, Tx};
use super::work::{Work, settle};
use crate::clock::Clock;
use rusqlite::Connection;
use std::collections::{HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Jobs of the largest transaction.
const BATCH_MAX: usize = 1000;
/// Pages of the write-ahead log beyond which a checkpoint is due (4 KiB each).
const CHECKPOINT_PAGES: i32 = 4000;
/// The first and the longest wait before kept work is tried again.
const RETRY_FIRST: Duration = Duration::from_millis(10);
const RETRY_MAX: Duration = Duration::from_millis(500);
/// Why the store is closed after a panic, which itself is told where panics are.
pub(super) const PANICKED: &str = "a write failed inside the host; its log says why";

/// Where work is handed in. Closed when the store is shut down or fails for good.
#[derive(Default)]
pub(super) struct Queue {
    inner: Mutex<QueueInner>,
    arrived: Condvar,
}

#[derive(Default)]
struct QueueInner {
    jobs: VecDeque<Box<dyn Work>>,
    /// Nothing more is taken; the thread ends when it has nothing left to do.
    closing: bool,
    /// Why the store failed for good.
    failed: Option<String>,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, QueueInner> {
        // A panic while the lock is held leaves a whole queue: every change is one push.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands in work, unless the queue is closed.
    pub(super) fn push(&self, work: Box<dyn Work>) -> Handed {
        let mut inner = self.lock();
        if inner.failed.is_some() || inner.closing {
            let why = inner.failed.clone();
            return Handed(Some((work, closed(why))));
        }
        inner.jobs.push_back(work);
        drop(inner);
        self.arrived.notify_one();
        Handed(None)
    }

    /// Takes no more work; what is queued is still done.
    pub(super) fn close(&self) {
        self.lock().closing = true;
        self.arrived.notify_one();
    }

    /// Waits for work, at most `patience` when some is kept already.
    fn take(&self, patience: Option<Duration>) -> Taken {
        let mut inner = self.lock();
        loop {
            if !inner.jobs.is_empty() {
                let count = inner.jobs.len().min(BATCH_MAX);
                return Taken::Jobs(inner.jobs.drain(..count).collect());
            }
            if inner.closing {
                // What is kept is tried once more, without a wait.
                return patience.map_or(Taken::Closed, |_| Taken::Jobs(Vec::new()));
            }
            let Some(patience) = patience else {
                inner = self
                    .arrived
                    .wait(inner)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let (after, timeout) = self
                .arrived
                .wait_timeout(inner, patience)
                .unwrap_or_else(PoisonError::into_inner);
            inner = after;
            if timeout.timed_out() {
                return Taken::Jobs(inner.jobs.drain(..).collect());
            }
        }
    }

    /// Takes nothing more, for good. Answers what was handed in and is not done.
    pub(super) fn fail(&self, why: &str) -> Vec<Box<dyn Work>> {
        let mut inner = self.lock();
        inner.failed = Some(why.to_owned());
        inner.jobs.drain(..).collect()
    }

    /// Why the store failed for good, if it did.
    pub(super) fn failure(&self) -> Option<String> {
        self.lock().failed.clone()
    }

    fn is_idle(&self) -> bool {
        self.lock().jobs.is_empty()
    }

    fn is_closing(&self) -> bool {
        self.lock().closing
    }
}

/// What became of handing work in. Work that a closed queue refuses is settled when this is
/// dropped, so that whoever holds a lock can let go of it first.
#[must_use = "refused work is settled where this is dropped"]
pub struct Handed(Option<(Box<dyn Work>, StoreError)>);

impl Handed {
    /// Nothing was handed in.
    pub(super) fn none() -> Self {
        Self(None)
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        if let Some((work, error)) = self.0.take() {
            settle(work, Err(error));
        }
    }
}

enum Taken {
    Jobs(Vec<Box<dyn Work>>),
    Closed,
}

fn closed(why: Option<String>) -> StoreError {
    StoreError::Closed(why.unwrap_or_else(|| "the host has shut down".to_owned()))
}

/// The runs of which something is kept: what they say later stays behind it.
#[derive(Default)]
struct Behind(HashSet<i64>);

impl Behind {
    fn wait(&mut self, run: Option<i64>) {
        self.0.extend(run);
    }

    fn is_waiting(&self, run: Option<i64>) -> bool {
        run.is_some_and(|run| self.0.contains(&run))
    }
}

/// What the writer thread owns.
pub(super) struct Writer {
    pub(super) conn: Connection,
    pub(super) queue: Arc<Queue>,
    pub(super) notify: Arc<Notify>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) epoch: i64,
    pub(super) next_pos: i64,
    /// Pages in the write-ahead log after the last commit, told by SQLite's own hook.
    pub(super) wal_pages: Arc<AtomicI32>,
    /// Whether it was told that work is kept, so that it is told once and not at each retry.
    pub(super) troubled: bool,
}

/// Each job's own result, and the sessions whose log grew.
type Done = (Vec<Result<(), StoreError>>, Vec<Grown>);
/// One transaction's result, or the fate of all its jobs.
type Committed = Result<Done, StoreError>;
/// The same, or nothing where the jobs must be done again, each apart.
type Attempted = Result<Option<Done>, StoreError>;

impl Writer {
    /// The thread's body: until the queue is closed and empty, or the store fails for good.
    pub(super) fn run(mut self) {
        let mut kept: Vec<Box<dyn Work>> = Vec::new();
        let mut retry = RETRY_FIRST;
        loop {
            let patience = (!kept.is_empty()).then_some(retry);
            let jobs = match self.queue.take(patience) {
                Taken::Jobs(jobs) => jobs,
                Taken::Closed => break,
            };
            let retrying = !kept.is_empty();
            let mut batch = std::mem::take(&mut kept);
            batch.extend(jobs);
            match self.process(batch) {
                Ok(again) => kept = again,
                Err(why) => {
                    tracing::error!(%why, "the store is closed for the rest of this process");
                    break;
                }
            }
            if kept.is_empty() {
                retry = RETRY_FIRST;
                if std::mem::take(&mut self.troubled) {
                    tracing::warn!("the store can write again");
                }
                self.checkpoint_if_due();
            } else {
                if retrying {
                    retry = (retry * 2).min(RETRY_MAX);
                }
                if self.queue.is_closing() {
                    // Nobody waits for longer than the shutdown's bound; recovery owns the rest.
                    for work in kept.drain(..) {
                        settle(work, Err(closed(None)));
                    }
                }
            }
        }
    }

    /// Commits a batch and settles its jobs, but for those that are kept for another try.
    /// The error closes the store.
    fn process(&mut self, mut batch: Vec<Box<dyn Work>>) -> Result<Vec<Box<dyn Work>>, String> {
        // What a panic left half-way in the connection is not gone on with.
        let transacted = catch_unwind(AssertUnwindSafe(|| self.transact(&mut batch)));
        let transacted = transacted.unwrap_or_else(|_| Err(closed(Some(PANICKED.to_owned()))));
        match transacted {
            Ok((outcomes, touched)) => {
                self.notify.publish(&touched, self.next_pos - 1);
                let mut kept = Vec::new();
                for (work, outcome) in batch.into_iter().zip(outcomes) {
                    self.settle_or_keep(work, outcome, &mut kept);
                }
                Ok(kept)
            }
            Err(StoreError::Closed(why)) => {
                let waiting = self.queue.fail(&why);
                for work in batch.into_iter().chain(waiting) {
                    settle(work, Err(StoreError::Closed(why.clone())));
                }
                Err(why)
            }
            // One job may have brought all down: each gets a transaction of its own.
            Err(_) if batch.len() > 1 => {
                let mut kept = Vec::new();
                let mut behind = Behind::default();
                let mut jobs = batch.into_iter();
                while let Some(work) = jobs.next() {
                    let run = work.run();
                    if behind.is_waiting(run) {
                        kept.push(work);
                        continue;
                    }
                    match self.process(vec![work]) {
                        Ok(again) => {
                            if !again.is_empty() {
                                behind.wait(run);
                            }
                            kept.extend(again);
                        }
                        Err(why) => {
                            for work in kept.into_iter().chain(jobs) {
                                settle(work, Err(StoreError::Closed(why.clone())));
                            }
                            return Err(why);
                        }
                    }
                }
                Ok(kept)
            }
            Err(error) => {
                let mut kept = Vec::new();
                for work in batch {
                    self.settle_or_keep(work, Err(error.clone()), &mut kept);
                }
                Ok(kept)
            }
        }
    }

    fn settle_or_keep(
        &mut self,
        work: Box<dyn Work>,
        outcome: Result<(), StoreError>,
        kept: &mut Vec<Box<dyn Work>>,
    ) {
        match outcome {
            Err(StoreError::Unavailable(why)) if work.is_kept() => {
                if !std::mem::replace(&mut self.troubled, true) {
                    tracing::warn!(%why, "the store cannot write now; it tries again until it can");
                }
                kept.push(work);
            }
            outcome => settle(work, outcome),
        }
    }

    /// All jobs in one transaction: first without savepoints, which cost more than most jobs;
    /// once more with one each if a job failed half-way.
    fn transact(&mut self, batch: &mut [Box<dyn Work>]) -> Committed {
        match self.attempt(batch, Apart::No)? {
            Some(done) => Ok(done),
            None => self
                .attempt(batch, Apart::Yes)?
                .ok_or_else(|| StoreError::Content("a job could not be set apart".to_owned())),
        }
    }

    fn attempt(&mut self, batch: &mut [Box<dyn Work>], apart: Apart) -> Attempted {
        let Self {
            conn,
            clock,
            epoch,
            next_pos,
            ..
        } = self;
        let conn: &Connection = conn;
        conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let mut tx = Tx::new(conn, &**clock, *epoch, next_pos);
        tx.apart = apart;
        let mut result = apply_all(tx, batch);
        if let Ok(Some(_)) = &result {
            match conn
                .prepare_cached("COMMIT")
                .and_then(|mut s| s.execute([]))
            {
                Ok(_) => return result,
                Err(error) => result = Err(error.into()),
            }
        }
        if !conn.is_autocommit() {
            // If even this fails, the next BEGIN reports it.
            let _already_rolled_back = conn.execute_batch("ROLLBACK");
        }
        result
    }

    /// Moves the write-ahead log into the database between two batches, while nobody waits
    /// for an end unless the log has grown far beyond its size: automatic checkpoints are off.
    fn checkpoint_if_due(&self) {
        let pages = self.wal_pages.load(Ordering::Relaxed);
        let due = pages >= CHECKPOINT_PAGES && self.queue.is_idle();
        if due || pages >= 4 * CHECKPOINT_PAGES {
            let checkpoint = "PRAGMA wal_checkpoint(PASSIVE)";
            if let Err(error) = self.conn.query_row(checkpoint, [], |_| Ok(())) {
                tracing::warn!(%error, "the write-ahead log could not be moved into the database");
            }
            // Counted anew from the next commit on, also where a reader kept some of it back.
            self.wal_pages.store(0, Ordering::Relaxed);
        }
    }
}

/// Applies every job; `None` if one failed half-way and all must be done again, each apart.
fn apply_all(mut tx: Tx<'_>, batch: &mut [Box<dyn Work>]) -> Attempted {
    let conn = tx.conn;
    let owner: i64 = conn
        .prepare_cached("SELECT epoch FROM owner")?
        .query_row([], |row| row.get(0))?;
    if owner != tx.epoch {
        let ours = tx.epoch;
        return Err(StoreError::Closed(format!(
            "another host took the data directory over (epoch {owner}, ours was {ours})"
        )));
    }
    let mut outcomes = Vec::with_capacity(batch.len());
    let mut behind = Behind::default();
    for work in batch {
        if behind.is_waiting(work.run()) {
            let why = "what the same run said before cannot be written now";
            outcomes.push(Err(StoreError::Unavailable(why.to_owned())));
            continue;
        }
        let before = conn.total_changes();
        let outcome = match tx.apart {
            Apart::No => work.apply(&mut tx),
            Apart::Yes => in_savepoint(&mut tx, |tx| work.apply(tx)),
        };
        match &outcome {
            Ok(()) => {}
            Err(StoreError::Closed(why)) => return Err(StoreError::Closed(why.clone())),
            // SQLite gave the whole transaction up, not this job alone.
            Err(error) if conn.is_autocommit() => return Err(error.clone()),
            Err(StoreError::Refused(_)) if conn.total_changes() == before => {}
            Err(_) if tx.apart == Apart::No => return Ok(None),
            Err(StoreError::Unavailable(_)) if work.is_kept() => behind.wait(work.run()),
            Err(_) => {}
        }
        outcomes.push(outcome);
    }
    Ok(Some((outcomes, tx.into_touched())))
}

/// Does something inside a savepoint of its own, which is undone if it fails.
pub(super) fn in_savepoint<T>(
    tx: &mut Tx<'_>,
    act: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    tx.conn.prepare_cached("SAVEPOINT part")?.execute([])?;
    let result = act(tx);
    if result.is_ok() {
        tx.conn.prepare_cached("RELEASE part")?.execute([])?;
    } else if !tx.conn.is_autocommit() {
        tx.conn.execute_batch("ROLLBACK TO part; RELEASE part")?;
    }
    result
}

impl Writer {
    /// One transaction outside the queue, before the thread runs.
    pub(super) fn once<T>(
        &mut self,
        act: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.conn.execute_batch("BEGIN IMMEDIATE")?;
        let mut tx = Tx::new(&self.conn, &*self.clock, self.epoch, &mut self.next_pos);
        let result = act(&mut tx);
        let end = if result.is_ok() { "COMMIT" } else { "ROLLBACK" };
        self.conn.execute_batch(end)?;
        result
    }
}

#[cfg(test)]
mod tests;
