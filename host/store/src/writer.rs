//! The one thread that writes: it takes whatever queued up during the last sync, commits it
//! as one transaction, and only then lets anyone know.
//!
//! ```text
//! queue ─▶ BEGIN IMMEDIATE ─▶ every job ─▶ COMMIT (fsync) ─▶ look, note ─▶ wake subscribers ─▶ answer
//! ```
//! It looks whether the files that it wrote to still lie in their place, and notes how far the
//! database is committed outside the database: both cost microseconds, beside a sync.
//! Knows neither runs nor sessions; what is written is [`Work`].

use super::StoreError;
use super::causes::Causes;
use super::committed::Record;
use super::directory::Places;
use super::notify::Notify;
use super::tx::{Apart, Grown, Tx, in_savepoint};
use super::work::{Work, settle};
use lastword_types::clock::Clock;
use rusqlite::Connection;
use std::collections::{HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicI32;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Jobs of the largest transaction.
const BATCH_MAX: usize = 1000;
/// The first and the longest wait before kept work is tried again.
const RETRY_FIRST: Duration = Duration::from_millis(10);
const RETRY_MAX: Duration = Duration::from_millis(500);
/// How long a writer without work waits before it looks whether it still owns what it has open.
const IDLE: Duration = Duration::from_secs(5);
/// Why the store is closed after a panic, which itself is told where panics are.
pub(super) const PANICKED: &str = "a write failed inside the host; its log says why";

/// Why an orderly closed store takes nothing.
pub const SHUT_DOWN: &str = "the host has shut down";

/// Where work is handed in. Closed when the store is shut down or fails for good.
#[derive(Default)]
pub(super) struct Queue {
    inner: Mutex<QueueInner>,
    arrived: Condvar,
    /// Why the store failed for good, for tasks that wait for it.
    failed: watch::Sender<Option<String>>,
    /// Why the last write was refused, until one is done again.
    trouble: Mutex<Option<String>>,
}

#[derive(Default)]
struct QueueInner {
    jobs: VecDeque<Box<dyn Work>>,
    /// Nothing more is taken; the thread ends when it has nothing left to do.
    closing: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, QueueInner> {
        // A panic while the lock is held leaves a whole queue: every change is one push.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands in work, unless the queue is closed.
    pub(super) fn push(&self, work: Box<dyn Work>) -> Handed {
        let mut inner = self.lock();
        let why = self.failed.borrow().clone();
        if why.is_some() || inner.closing {
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

    /// Waits for work, at most `patience` when some is kept already. Without any it comes back from
    /// time to time: a host that does not write shall notice, too, that another does.
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
            let (after, timeout) = self
                .arrived
                .wait_timeout(inner, patience.unwrap_or(IDLE))
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
        self.failed.send_replace(Some(why.to_owned()));
        inner.jobs.drain(..).collect()
    }

    /// Why the store failed for good, if it did.
    pub(super) fn failure(&self) -> Option<String> {
        self.failed.borrow().clone()
    }

    /// The same, to be waited for.
    pub(super) fn watch_failure(&self) -> watch::Receiver<Option<String>> {
        self.failed.subscribe()
    }

    /// Why the last write was refused, if none was done since.
    pub(super) fn trouble(&self) -> Option<String> {
        let trouble = self.trouble.lock();
        trouble.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_trouble(&self, why: Option<String>) {
        let trouble = self.trouble.lock();
        *trouble.unwrap_or_else(PoisonError::into_inner) = why;
    }

    pub(super) fn is_idle(&self) -> bool {
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
    StoreError::Closed(why.unwrap_or_else(|| SHUT_DOWN.to_owned()))
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
    /// The files that are open, from the first transaction of the thread on.
    pub(super) places: Option<Places>,
    /// How far the database is committed, noted outside it.
    pub(super) record: Option<Record>,
    pub(super) causes: Arc<Causes>,
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
                Taken::Closed => return self.leave_whole(),
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
                if let Err(why) = self.checkpoint_if_due() {
                    tracing::error!(%why, "the store is closed for the rest of this process");
                    break;
                }
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
    pub(super) fn process(
        &mut self,
        mut batch: Vec<Box<dyn Work>>,
    ) -> Result<Vec<Box<dyn Work>>, String> {
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
                batch.extend(self.queue.fail(&why));
                self.abandon(batch, &why);
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
                        self.keep(work, &mut kept);
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
                            kept.extend(jobs);
                            self.abandon(kept, &why);
                            return Err(why);
                        }
                    }
                }
                Ok(kept)
            }
            Err(error) => {
                if let StoreError::Unavailable(why) = &error {
                    self.queue.set_trouble(Some(why.clone()));
                }
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
        if let Err(StoreError::Unavailable(why)) = &outcome {
            self.queue.set_trouble(Some(why.clone()));
        }
        match outcome {
            Err(StoreError::Unavailable(why)) if work.is_kept() => {
                if !std::mem::replace(&mut self.troubled, true) {
                    tracing::warn!(%why, "the store cannot write now; it tries again until it can");
                }
                self.keep(work, kept);
            }
            outcome => settle(work, outcome),
        }
    }

    /// Keeps work for another try, be it the next host's.
    fn keep(&self, work: Box<dyn Work>, kept: &mut Vec<Box<dyn Work>>) {
        work.wait();
        self.causes.sync();
        kept.push(work);
    }

    /// Settles work that this process can no longer do; the next host does what it is told of it.
    fn abandon(&self, works: Vec<Box<dyn Work>>, why: &str) {
        for work in &works {
            work.wait();
        }
        self.causes.sync();
        for work in works {
            settle(work, Err(StoreError::Closed(why.to_owned())));
        }
    }

    /// All jobs in one transaction: first without savepoints, which cost more than most jobs;
    /// once more with one each if a job failed half-way.
    fn transact(&mut self, batch: &mut [Box<dyn Work>]) -> Committed {
        let before = self.conn.total_changes();
        let done = match self.attempt(batch, Apart::No)? {
            Some(done) => done,
            None => self
                .attempt(batch, Apart::Yes)?
                .ok_or_else(|| StoreError::Content("a job could not be set apart".to_owned()))?,
        };
        if let Some(places) = &self.places {
            places.check()?;
        }
        if self.conn.total_changes() != before {
            if let Some(record) = &mut self.record {
                record.note(self.next_pos - 1, self.clock.now());
            }
            self.queue.set_trouble(None);
        }
        Ok(done)
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
        let (before, first) = (conn.total_changes(), *next_pos);
        let mut tx = Tx::new(conn, &**clock, *epoch, next_pos);
        tx.apart = apart;
        let mut result = apply_all(tx, batch);
        if let Ok(Some(_)) = &result {
            let changed = conn.total_changes() != before;
            match commit(conn, changed.then_some(first), next_pos) {
                Ok(()) => return result,
                Err(error) => result = Err(error.into()),
            }
        }
        if !conn.is_autocommit() {
            // If even this fails, the next BEGIN reports it.
            let _already_rolled_back = conn.execute_batch("ROLLBACK");
        }
        result
    }
}

/// Commits. A commit that changes something takes at least one position, the last of which is in
/// the database: what that and the record of it are compared by at the next start grows with each
/// one, also where it brings no event.
fn commit(
    conn: &Connection,
    changed_from: Option<i64>,
    next_pos: &mut i64,
) -> Result<(), rusqlite::Error> {
    if let Some(first) = changed_from {
        let last = conn
            .prepare_cached("SELECT max(pos) FROM event")?
            .query_row([], |row| row.get::<_, Option<i64>>(0));
        // Where the log cannot be read, it is said in the other place.
        let last = last.unwrap_or_default();
        if *next_pos == first || last != Some(*next_pos - 1) {
            conn.prepare_cached("UPDATE owner SET last_pos = ?1")?
                .execute([*next_pos])?;
            *next_pos += 1;
        }
    }
    conn.prepare_cached("COMMIT")?.execute([]).map(drop)
}

/// Changes nothing that anyone reads, and is committed all the same.
pub(super) fn touch(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    let touch = "UPDATE owner SET last_pos = last_pos";
    tx.conn.prepare_cached(touch)?.execute([])?;
    Ok(())
}

/// Applies every job; `None` if one failed half-way and all must be done again, each apart.
fn apply_all(mut tx: Tx<'_>, batch: &mut [Box<dyn Work>]) -> Attempted {
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
        let ended = self.conn.execute_batch(end);
        let _over = self.conn.is_autocommit() || self.conn.execute_batch("ROLLBACK").is_ok();
        result.and_then(|result| Ok(ended.map(|()| result)?))
    }
}

#[cfg(test)]
mod tests;
