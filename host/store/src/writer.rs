//! The only thread that writes. It takes the jobs that queued up during the last sync, has the
//! backend commit them as one batch, and only then wakes subscribers and sends the replies.
//!
//! ```text
//! queue ─▶ fill ─▶ Backend::commit (fsync) ─▶ wake subscribers ─▶ reply
//! ```
//! It works with every `Backend`. `handle` and `output` hand in commands as jobs (`work`).

use super::StoreError;
use super::backend::{Backend, Batch, BatchId, CauseLog, CommitError, Committed, Resolution};
use super::command::{BatchTime, Probe, Reply};
use super::notify::Notify;
use super::work::Job;
use lastword_types::clock::Clock;
use lastword_types::id::RunId;
use std::collections::{HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Jobs of the largest batch.
const BATCH_MAX: usize = 1000;
/// The first and the longest wait before kept work is tried again.
const RETRY_FIRST: Duration = Duration::from_millis(10);
const RETRY_MAX: Duration = Duration::from_millis(500);
/// How long a writer without work waits before it checks that it still owns the data directory.
const IDLE: Duration = Duration::from_secs(5);
/// Why the store is closed after a panic. The panic itself is reported by the panic hook.
pub(super) const PANICKED: &str = "a write failed inside the host; its log says why";

/// Why a store that was closed in order takes no more commands.
pub const SHUT_DOWN: &str = "the host has shut down";

/// The queue of jobs for the writer. Closed when the store is shut down or fails for good.
pub(super) struct Queue {
    inner: Mutex<QueueInner>,
    arrived: Condvar,
    /// Why the store failed for good, for tasks that wait for it.
    failed: watch::Sender<Option<String>>,
    /// Why the last write was refused, until a write succeeds again.
    trouble: Mutex<Option<String>>,
    /// Keeps the causes of ends that are not committed.
    causes: Arc<dyn CauseLog>,
}

#[derive(Default)]
struct QueueInner {
    jobs: VecDeque<Job>,
    /// No more jobs are taken; the thread ends once it has no work left.
    closing: bool,
}

impl Queue {
    pub(super) fn new(causes: Arc<dyn CauseLog>) -> Self {
        Self {
            inner: Mutex::default(),
            arrived: Condvar::new(),
            failed: watch::Sender::default(),
            trouble: Mutex::default(),
            causes,
        }
    }

    fn lock(&self) -> MutexGuard<'_, QueueInner> {
        // A panic while the lock is held leaves a whole queue: every change is one push.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands in a job, unless the queue is closed.
    pub(super) fn push(self: &Arc<Self>, job: Job) -> Submission {
        let mut inner = self.lock();
        let why = self.failed.borrow().clone();
        if why.is_some() || inner.closing {
            drop(inner);
            return Submission(Some((job, closed(why), Arc::clone(self))));
        }
        inner.jobs.push_back(job);
        drop(inner);

        self.arrived.notify_one();
        Submission(None)
    }

    /// Takes no more jobs; what is queued is still done.
    pub(super) fn close(&self) {
        self.lock().closing = true;
        self.arrived.notify_one();
    }

    /// Waits for jobs: at most `patience` if some are kept for another try, otherwise at most
    /// [`IDLE`]. Without that bound an idle writer would never notice that another host has taken
    /// the data directory over.
    fn take(&self, patience: Option<Duration>) -> Taken {
        let mut inner = self.lock();
        loop {
            if !inner.jobs.is_empty() {
                let count = inner.jobs.len().min(BATCH_MAX);
                return Taken::Jobs(inner.jobs.drain(..count).collect());
            }
            if inner.closing {
                // Kept jobs are tried once more, without a wait.
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

    /// Waits for a while; new jobs do not end the wait, closing the queue does. Returns whether
    /// the queue is closing.
    fn pause(&self, patience: Duration) -> bool {
        let waited = self
            .arrived
            .wait_timeout_while(self.lock(), patience, |inner| !inner.closing);
        waited.unwrap_or_else(PoisonError::into_inner).0.closing
    }

    /// Refuses all further jobs for good. Returns the jobs that are still queued.
    pub(super) fn fail(&self, why: &str) -> Vec<Job> {
        let mut inner = self.lock();
        self.failed.send_replace(Some(why.to_owned()));
        inner.jobs.drain(..).collect()
    }

    /// Completes a job with its outcome. If the outcome leaves open whether a run's end is stored,
    /// its cause is kept for the next host; otherwise the cause is forgotten.
    pub(super) fn complete(&self, job: Job, outcome: Result<Reply, StoreError>) {
        let decided = matches!(outcome, Ok(_) | Err(StoreError::Refused(_)));
        let ended = job.command.ends().map(|(runs, _)| runs.to_vec());
        if !decided {
            self.keep_causes(&job);
        }
        job.complete(outcome);
        for run in ended.into_iter().flatten().filter(|_| decided) {
            self.causes.forget(run);
        }
    }

    /// Keeps the causes of the ends in a job, since this process may end before it commits them.
    fn keep_causes(&self, job: &Job) {
        if let Some((runs, ending)) = job.command.ends() {
            for run in runs {
                self.causes.keep(*run, ending);
            }
        }
    }

    /// Why the store failed for good, if it did.
    pub(super) fn failure(&self) -> Option<String> {
        self.failed.borrow().clone()
    }

    /// Returns a receiver that sees [`Queue::failure`] change.
    pub(super) fn watch_failure(&self) -> watch::Receiver<Option<String>> {
        self.failed.subscribe()
    }

    /// Why the last write was refused, if none succeeded since.
    pub(super) fn trouble(&self) -> Option<String> {
        let trouble = self.trouble.lock();
        trouble.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_trouble(&self, why: Option<String>) {
        let trouble = self.trouble.lock();
        *trouble.unwrap_or_else(PoisonError::into_inner) = why;
    }

    fn is_idle(&self) -> bool {
        self.lock().jobs.is_empty()
    }

    fn is_closing(&self) -> bool {
        self.lock().closing
    }
}

/// The result of handing in a job. If the closed queue refused the job, dropping this completes
/// the job with the error, so that a caller that holds a lock can release it first.
#[must_use = "a refused job is told so where this is dropped"]
pub struct Submission(Option<(Job, StoreError, Arc<Queue>)>);

impl Submission {
    /// Nothing was handed in.
    pub(super) fn none() -> Self {
        Self(None)
    }
}

impl Drop for Submission {
    fn drop(&mut self) {
        if let Some((job, error, queue)) = self.0.take() {
            queue.complete(job, Err(error));
        }
    }
}

enum Taken {
    Jobs(Vec<Job>),
    Closed,
}

fn closed(why: Option<String>) -> StoreError {
    StoreError::Closed(why.unwrap_or_else(|| SHUT_DOWN.to_owned()))
}

/// The runs with a command that is kept for another try. Later commands of these runs must wait
/// behind it.
#[derive(Default)]
pub(super) struct BlockedRuns(HashSet<RunId>);

impl BlockedRuns {
    pub(super) fn block(&mut self, run: Option<RunId>) {
        self.0.extend(run);
    }

    pub(super) fn contains(&self, run: Option<RunId>) -> bool {
        run.is_some_and(|run| self.0.contains(&run))
    }
}

/// What the writer thread owns.
pub(super) struct Writer<B> {
    backend: Box<B>,
    queue: Arc<Queue>,
    notify: Arc<Notify>,
    clock: Arc<dyn Clock>,
    /// The last batch.
    batch: BatchId,
    /// Whether the log already says that jobs are kept, so that it says so once, not at each retry.
    troubled: bool,
}

impl<B: Backend> Writer<B> {
    /// A writer for the owner with this epoch.
    pub(super) fn new(
        backend: B,
        epoch: i64,
        queue: Arc<Queue>,
        notify: Arc<Notify>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            backend: Box::new(backend),
            queue,
            notify,
            clock,
            batch: BatchId { epoch, number: 0 },
            troubled: false,
        }
    }

    /// The body of the thread: runs until the queue is closed and empty, or the store fails for
    /// good.
    pub(super) fn run(mut self) {
        let mut kept: Vec<Job> = Vec::new();
        let mut retry = RETRY_FIRST;
        loop {
            let patience = (!kept.is_empty()).then_some(retry);
            let jobs = match self.queue.take(patience) {
                Taken::Jobs(jobs) => jobs,
                Taken::Closed => return self.backend.close(),
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
                if let Err(why) = self.maintain() {
                    tracing::error!(%why, "the store is closed for the rest of this process");
                    break;
                }
            } else {
                if retrying {
                    retry = (retry * 2).min(RETRY_MAX);
                }
                if self.queue.is_closing() {
                    // A shutdown does not wait for a disk; recovery ends these runs at the next
                    // start.
                    for job in kept.drain(..) {
                        self.queue.complete(job, Err(closed(None)));
                    }
                }
            }
        }
    }

    fn maintain(&mut self) -> Result<(), String> {
        if !self.backend.maintain(self.queue.is_idle()) {
            return Ok(());
        }

        let touch = Job::callback(Probe { commit: true }, drop);
        self.process(vec![touch]).map(drop)
    }

    /// Commits a batch and completes its jobs. Returns the jobs that are kept for another try; an
    /// error closes the store.
    pub(super) fn process(&mut self, mut batch: Vec<Job>) -> Result<Vec<Job>, String> {
        // A panic may leave the backend in an undefined state, so it closes the store.
        let committed = catch_unwind(AssertUnwindSafe(|| self.commit(&mut batch)));
        let committed = committed.unwrap_or_else(|_| Err(closed(Some(PANICKED.to_owned()))));

        match committed {
            Ok(committed) => {
                if committed.wrote {
                    self.queue.set_trouble(None);
                }
                self.notify.publish(&committed.changes, committed.through);
                let mut kept = Vec::new();
                for (job, outcome) in batch.into_iter().zip(committed.outcomes) {
                    self.complete_or_keep(job, outcome, &mut kept);
                }
                Ok(kept)
            }
            Err(StoreError::Closed(why)) => {
                batch.extend(self.queue.fail(&why));
                self.abandon(batch, &why);
                Err(why)
            }
            // One job may have failed the whole batch: each gets a batch of its own.
            Err(_) if batch.len() > 1 => self.process_each(batch),
            Err(error) => {
                let mut kept = Vec::new();
                for job in batch {
                    self.complete_or_keep(job, Err(error.clone()), &mut kept);
                }
                Ok(kept)
            }
        }
    }

    fn process_each(&mut self, batch: Vec<Job>) -> Result<Vec<Job>, String> {
        let mut kept = Vec::new();
        let mut blocked = BlockedRuns::default();
        let mut jobs = batch.into_iter();
        while let Some(job) = jobs.next() {
            let run = job.command.ordered_run();
            if blocked.contains(run) {
                self.keep(job, &mut kept);
                continue;
            }

            match self.process(vec![job]) {
                Ok(again) => {
                    if !again.is_empty() {
                        blocked.block(run);
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

    /// Has the backend commit a batch, and waits until the outcome is known.
    fn commit(&mut self, jobs: &mut [Job]) -> Result<Committed, StoreError> {
        let time = BatchTime {
            now: self.clock.now(),
            elapsed: self.clock.elapsed(),
        };
        for job in &mut *jobs {
            job.fill(time.now);
        }

        self.batch.number += 1;
        let batch = Batch {
            id: self.batch,
            time,
            commands: jobs.iter().map(|job| &job.command).collect(),
        };

        match self.backend.commit(&batch) {
            Ok(committed) => Ok(committed),
            Err(CommitError::Refused(error)) => Err(error),
            Err(CommitError::Unknown(why)) => self.resolve(&batch, &why),
        }
    }

    /// Asks the backend for the outcome of a batch until it is known. Nothing else is written in
    /// between, since later commands depend on the outcome of earlier ones.
    fn resolve(&mut self, batch: &Batch<'_>, why: &str) -> Result<Committed, StoreError> {
        tracing::warn!(%why, batch = ?batch.id, "whether a batch is committed is not known");
        let mut retry = RETRY_FIRST;
        loop {
            match self.backend.resolve(batch) {
                Ok(Resolution::Committed(committed)) => return Ok(committed),
                Ok(Resolution::NotCommitted) => {
                    return Err(StoreError::Unavailable(why.to_owned()));
                }
                Err(closed @ StoreError::Closed(_)) => return Err(closed),
                Err(error) => {
                    self.queue.set_trouble(Some(error.to_string()));
                    if self.queue.pause(retry) {
                        let why = format!("the outcome of the last write is not known: {why}");
                        return Err(StoreError::Closed(why));
                    }
                }
            }
            retry = (retry * 2).min(RETRY_MAX);
        }
    }

    fn complete_or_keep(
        &mut self,
        job: Job,
        outcome: Result<Reply, StoreError>,
        kept: &mut Vec<Job>,
    ) {
        if let Err(StoreError::Unavailable(why)) = &outcome {
            self.queue.set_trouble(Some(why.clone()));
        }
        match outcome {
            Err(StoreError::Unavailable(why)) if job.command.is_kept() => {
                if !std::mem::replace(&mut self.troubled, true) {
                    tracing::warn!(%why, "the store cannot write now; it tries again until it can");
                }
                self.keep(job, kept);
            }
            outcome => self.queue.complete(job, outcome),
        }
    }

    /// Keeps a job for another try, and the causes of its ends for the next host.
    fn keep(&self, job: Job, kept: &mut Vec<Job>) {
        self.queue.keep_causes(&job);
        self.queue.causes.sync();
        kept.push(job);
    }

    /// Fails jobs that this process can no longer commit. The causes of the ends among them are
    /// kept for the next host.
    fn abandon(&self, jobs: Vec<Job>, why: &str) {
        for job in &jobs {
            self.queue.keep_causes(job);
        }
        self.queue.causes.sync();

        for job in jobs {
            self.queue
                .complete(job, Err(StoreError::Closed(why.to_owned())));
        }
    }
}

#[cfg(test)]
mod tests;
