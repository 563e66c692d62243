//! [`Store`], the handle that the host holds. It hands commands to `writer`, reads to the
//! backend's `Readers`, and lets callers follow logs through `notify`. The reads themselves are
//! methods that `queries` adds.

use super::StoreError;
use super::backend::{Backend, CauseLog, Readers};
use super::command::{
    Command, CommandKind, CutLog, DeleteRows, Finish, Finished, Probe, ROWS_MAX, Reply, SweepLog,
    TakeWaitsBack, Waits,
};
use super::damage::{Damage, Damages};
use super::notice::Notice;
use super::notify::{Following, Notify};
use super::output::{RunOutputBuffer, Sealed};
use super::rows::{FoldScan, Recovered};
use super::watermark::CommitWatermark;
use super::work::{Completion, Job};
use super::writer::{PANICKED, Queue, Submission, Writer};
use crate::transcript::Transcript;
use lastword_types::clock::{Clock, UnixMillis};
use lastword_types::id::{RunId, SessionId, WorkspaceId};
use lastword_types::run::{Receipt, RunOutcome};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// A cloneable handle to the store. Dropping the last clone closes the store.
#[derive(Clone)]
pub struct Store {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    queue: Arc<Queue>,
    notify: Arc<Notify>,
    pub(super) readers: Box<dyn Readers>,
    clock: Arc<dyn Clock>,
    causes: Arc<dyn CauseLog>,
    directory: Option<PathBuf>,
    damages: Arc<Damages>,
    recovered: Recovered,
    notices: Vec<Notice>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// A backend that was opened, and everything that [`Store::start`] needs with it.
pub(super) struct Opened<B> {
    pub(super) backend: B,
    /// The epoch of this owner.
    pub(super) epoch: i64,
    pub(super) readers: Box<dyn Readers>,
    pub(super) causes: Arc<dyn CauseLog>,
    pub(super) damages: Arc<Damages>,
    /// The canonical data directory, if there is one.
    pub(super) directory: Option<PathBuf>,
    pub(super) recovered: Recovered,
    pub(super) notices: Vec<Notice>,
}

#[cfg(test)]
impl<B> Opened<B> {
    /// Replaces the backend.
    pub(super) fn map<C>(self, backend: impl FnOnce(B) -> C) -> Opened<C> {
        Opened {
            backend: backend(self.backend),
            epoch: self.epoch,
            readers: self.readers,
            causes: self.causes,
            damages: self.damages,
            directory: self.directory,
            recovered: self.recovered,
            notices: self.notices,
        }
    }
}

/// What is called once a run's end is durable, or can no longer become so in this process.
pub type OnEnded = Box<dyn FnOnce(Result<Receipt, StoreError>) + Send>;

impl Store {
    /// Starts the writer of a backend. `ownership` is dropped once the writer has ended.
    pub(super) fn start<B: Backend>(
        opened: Opened<B>,
        ownership: impl Send + 'static,
        clock: Arc<dyn Clock>,
    ) -> std::io::Result<Self> {
        let notify = Arc::new(Notify::default());
        let queue = Arc::new(Queue::new(Arc::clone(&opened.causes)));
        let writer = Writer::new(
            opened.backend,
            opened.epoch,
            Arc::clone(&queue),
            Arc::clone(&notify),
            Arc::clone(&clock),
        );

        let (failing, ending) = (Arc::clone(&queue), Arc::clone(&notify));
        let thread = std::thread::Builder::new()
            .name("lastword-write".to_owned())
            .spawn(move || {
                if catch_unwind(AssertUnwindSafe(|| writer.run())).is_err() {
                    for job in failing.fail(PANICKED) {
                        failing.complete(job, Err(StoreError::Closed(PANICKED.to_owned())));
                    }
                }
                ending.close();
                // Only now may another host own the data directory.
                drop(ownership);
            })?;

        Ok(Self {
            shared: Arc::new(Shared {
                queue,
                notify,
                readers: opened.readers,
                clock,
                causes: opened.causes,
                directory: opened.directory,
                damages: opened.damages,
                recovered: opened.recovered,
                notices: opened.notices,
                writer: Mutex::new(Some(thread)),
            }),
        })
    }

    /// The canonical data directory; `None` for a store in memory.
    #[must_use]
    pub fn directory(&self) -> Option<&Path> {
        self.shared.directory.as_deref()
    }

    /// Returns the number of bytes of the database and of its write-ahead log; 0 for a store in
    /// memory, and for a file that cannot be examined.
    #[must_use]
    pub fn bytes_on_disk(&self) -> (u64, u64) {
        self.directory()
            .map(super::sqlite::bytes_on_disk)
            .unwrap_or_default()
    }

    /// What recovery found when the store was opened.
    #[must_use]
    pub fn recovered(&self) -> Recovered {
        self.shared.recovered
    }

    /// What the store found when it was opened and its operator should know.
    #[must_use]
    pub fn notices(&self) -> &[Notice] {
        &self.shared.notices
    }

    /// The places of the database that could not be read so far, in the order in which they were
    /// found; at most 1,000.
    #[must_use]
    pub fn damaged(&self) -> Vec<Damage> {
        self.shared.damages.all()
    }

    /// Returns the rows that can be read, and notes the damage of the others.
    #[must_use]
    pub fn readable<T>(&self, rows: Vec<Result<T, Damage>>) -> Vec<T> {
        self.shared.damages.readable(rows)
    }

    /// Hands a command to the writer and waits for its reply, which comes after the commit.
    ///
    /// Once the future was polled, dropping it does not take the command back; only the reply is
    /// lost.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn execute<C: CommandKind>(&self, command: C) -> Result<C::Reply, StoreError> {
        self.send(command).await
    }

    /// As [`Store::execute`], but the call itself hands the command over, before the future is
    /// polled: commands are written in the order of the calls.
    pub fn send<C: CommandKind>(
        &self,
        command: C,
    ) -> impl Future<Output = Result<C::Reply, StoreError>> + Send + use<C> {
        let (sender, reply) = oneshot::channel();
        drop(self.submit(command, move |result| drop(sender.send(result))));
        async move {
            let ended = |_| StoreError::Closed("the writer ended".to_owned());
            reply.await.map_err(ended)?
        }
    }

    /// Hands a command to the writer. `then` is called with the outcome on the writer thread, and
    /// must not block.
    pub fn submit<C: CommandKind>(
        &self,
        command: C,
        then: impl FnOnce(Result<C::Reply, StoreError>) + Send + 'static,
    ) -> Submission {
        self.shared.queue.push(Job::callback(command, then))
    }

    /// Hands a run's end to the writer, which no caller can take back. `since` is when the guest
    /// ended, on the clock's scale.
    pub fn finish(&self, sealed: Sealed, ending: RunOutcome, since: Duration, on_ended: OnEnded) {
        let Sealed {
            run,
            transcript,
            pending,
            durable,
        } = sealed;
        let finish = Finish {
            run,
            entries: pending,
            said: lastword_types::run::OutputStats::default(),
            ending,
            since,
        };
        let end = RunEnd {
            transcript: Some(transcript),
            durable,
            on_ended,
        };
        drop(self.shared.queue.push(Job::new(finish, end)));
    }

    /// Keeps the cause of a run's end where the next host finds it, in case this process ends
    /// before the end is committed.
    pub fn keep_cause(&self, run: RunId, ending: &RunOutcome) {
        self.shared.causes.keep(run, ending);
    }

    /// Removes a kept cause, since the run has ended.
    pub fn forget_cause(&self, run: RunId) {
        self.shared.causes.forget(run);
    }

    /// Creates the output buffer of a new run, with an empty transcript.
    #[must_use]
    pub fn output(&self, run: RunId, transcript: Transcript) -> Arc<RunOutputBuffer> {
        let queue = Arc::clone(&self.shared.queue);
        RunOutputBuffer::new(run, transcript, queue, Arc::clone(&self.shared.clock))
    }

    /// Deletes a session that [`BeginDelete`](super::BeginDelete) marked, a bounded number of rows
    /// at a time.
    ///
    /// # Errors
    /// [`Refusal::WrongState`](super::Refusal::WrongState) while one of its runs has no end.
    pub async fn delete_session(&self, session: SessionId) -> Result<(), StoreError> {
        while !self.execute(DeleteRows { session }).await? {}
        Ok(())
    }

    /// Takes back the times and answers that sessions wait for, and returns the receipts of the
    /// runs that these would have begun.
    ///
    /// # Errors
    /// If the store cannot be read or written.
    pub async fn take_waits_back(
        &self,
        waits: Waits,
        ending: RunOutcome,
    ) -> Result<Vec<Receipt>, StoreError> {
        let mut receipts = Vec::new();
        // Without waits nothing is written, so that a full disk is no error here.
        if !self.has_waits(waits).await? {
            return Ok(receipts);
        }

        loop {
            let ending = ending.clone();
            let page = self.execute(TakeWaitsBack { waits, ending }).await?;
            if page.is_empty() {
                return Ok(receipts);
            }
            receipts.extend(page);
        }
    }

    /// Folds away the events of runs that ended before a time, in the logs of all sessions.
    /// Returns the number of deleted events.
    ///
    /// # Errors
    /// If the store cannot be read or written.
    pub async fn prune_events(&self, before: UnixMillis) -> Result<u64, StoreError> {
        let (mut after, mut folded) = (None, 0);
        loop {
            let (page, last) = self.fold_page(after).await?;
            for (session, from) in page {
                match self.fold_session(session, from, before).await {
                    Ok(events) => folded += events,
                    // A session that cannot be read does not keep the others from being folded.
                    Err(StoreError::Damaged(damage)) => self.shared.damages.note(*damage),
                    Err(other) => return Err(other),
                }
            }
            if last.is_none() {
                return Ok(folded);
            }
            after = last;
        }
    }

    async fn fold_session(
        &self,
        session: SessionId,
        from: u64,
        before: UnixMillis,
    ) -> Result<u64, StoreError> {
        let mut scan = FoldScan::from(from);
        loop {
            let (next, more) = self.fold_scan(session, before, scan).await?;
            scan = next;
            if !more {
                break;
            }
        }

        let through = scan.through();
        if through > from {
            self.execute(CutLog { session, through }).await?;
        } else if from == 0 {
            return Ok(0);
        }

        // This also deletes what an earlier host cut off and did not delete.
        let mut swept = 0;
        loop {
            let some = self.execute(SweepLog { session }).await?;
            swept += some;
            if some < ROWS_MAX as u64 {
                return Ok(swept);
            }
        }
    }

    /// Returns a receiver that wakes when the session's log has grown. Subscribe before the first
    /// read, so that nothing committed in between is missed.
    #[must_use]
    pub fn follow(&self, session: SessionId) -> watch::Receiver<i64> {
        self.shared.notify.follow(session)
    }

    /// Follows the logs of one workspace, or of all. Subscribe before the first read.
    #[must_use]
    pub fn follow_workspace(&self, workspace: Option<WorkspaceId>) -> Following {
        self.shared.notify.follow_all_of(workspace)
    }

    /// Checks that the store can write and still owns its data directory. If the last write was
    /// refused, a write is tried.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] while it cannot write; [`StoreError::Closed`] if it never will.
    pub async fn probe(&self) -> Result<(), StoreError> {
        let commit = self.trouble().is_some();
        self.execute(Probe { commit }).await
    }

    /// Why the last write was refused, if none succeeded since.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.shared.queue.trouble()
    }

    /// Why the store failed for good, if it did and was not closed.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.shared.queue.failure()
    }

    /// Completes once the store is closed for the rest of this process, other than by
    /// [`Store::close`]. Returns why.
    pub async fn failed(&self) -> StoreError {
        let mut failure = self.shared.queue.watch_failure();
        match failure.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(why)) => StoreError::Closed(why.clone()),
            // The sender lives in the queue, which lives as long as the store.
            _ => std::future::pending().await,
        }
    }

    /// Refuses further commands and blocks until the queued ones are done. Stored data can be read
    /// until the last handle is dropped, so that streams reach their end.
    pub fn close(&self) {
        self.shared.close();
    }
}

impl Shared {
    fn close(&self) {
        self.queue.close();
        let thread = self
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread
            && thread.thread().id() != std::thread::current().id()
        {
            let _panicked = thread.join();
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.close();
        self.readers.close();
    }
}

/// The completion of the command that ends a run.
struct RunEnd {
    /// `None` once [`Completion::fill`] has closed it.
    transcript: Option<Transcript>,
    durable: Arc<CommitWatermark>,
    on_ended: OnEnded,
}

impl Completion for RunEnd {
    /// Closes the open messages and calls of the run's transcript.
    fn fill(&mut self, command: &mut Command, now: UnixMillis) {
        let (Some(transcript), Command::Finish(finish)) = (self.transcript.take(), command) else {
            return;
        };
        let changes = crate::transcript::finish(transcript, &finish.ending, now);
        finish.entries.extend(changes.entries);
        finish.said = changes.said;
    }

    fn complete(self: Box<Self>, outcome: Result<Reply, StoreError>) {
        let outcome = outcome.and_then(Finish::reply);
        let error = match &outcome {
            Ok(finished) => finished.rejected.as_ref(),
            Err(error) => Some(error),
        };
        match error {
            None => self.durable.reached(u64::MAX),
            Some(error) => self.durable.failed(error),
        }
        (self.on_ended)(outcome.map(|Finished { receipt, .. }| receipt));
    }
}
