//! The store as the host holds it: commands go to the writer, reads beside it, and callers are
//! woken once more is committed. Serves every backend; `queries` has what can be read.

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

/// Where everything is kept. A cloneable handle; the last clone closes it.
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

/// A backend that was opened, and everything that goes with it.
pub(super) struct Opened<B> {
    pub(super) backend: B,
    /// The owner's, from now on.
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
    /// The same with another backend.
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
    /// Starts the writer of a backend. What owns it is let go of once the writer has ended.
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
                // Only now may another host come.
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

    /// The canonical data directory; `None` of a store in memory.
    #[must_use]
    pub fn directory(&self) -> Option<&Path> {
        self.shared.directory.as_deref()
    }

    /// What recovery found when the store was opened.
    #[must_use]
    pub fn recovered(&self) -> Recovered {
        self.shared.recovered
    }

    /// What was found when the store was opened that its owner shall know.
    #[must_use]
    pub fn notices(&self) -> &[Notice] {
        &self.shared.notices
    }

    /// What of the database could not be read so far, in the order in which it was met; at most
    /// 1,000 places.
    #[must_use]
    pub fn damaged(&self) -> Vec<Damage> {
        self.shared.damages.all()
    }

    /// The rows that can be read; the others are noted.
    #[must_use]
    pub fn readable<T>(&self, rows: Vec<Result<T, Damage>>) -> Vec<T> {
        self.shared.damages.readable(rows)
    }

    /// Hands a command to the writer and waits for its reply, which comes after the commit.
    ///
    /// Once it was polled, dropping the future takes nothing back; only the reply is lost.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn execute<C: CommandKind>(&self, command: C) -> Result<C::Reply, StoreError> {
        self.send(command).await
    }

    /// The same, but handed over by the call itself: the order of the calls is the order in which
    /// they are written.
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

    /// Hands a command to the writer. `then` is called on the writer thread once its fate is
    /// known, whether or not anyone waits; it must not block.
    pub fn submit<C: CommandKind>(
        &self,
        command: C,
        then: impl FnOnce(Result<C::Reply, StoreError>) + Send + 'static,
    ) -> Submission {
        self.shared.queue.push(Job::callback(command, then))
    }

    /// Hands a run's end over, whose guest is gone since then on the clock's scale. It is the
    /// writer's from here on.
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

    /// Keeps why a run ends where the next host finds it, should this process end before that is
    /// committed.
    pub fn keep_cause(&self, run: RunId, ending: &RunOutcome) {
        self.shared.causes.keep(run, ending);
    }

    /// Takes that back: the run has its end.
    pub fn forget_cause(&self, run: RunId) {
        self.shared.causes.forget(run);
    }

    /// A new run's output, into an empty transcript.
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

    /// Takes back what sessions wait for, and returns the ends of the runs that this would
    /// have begun.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub async fn take_waits_back(
        &self,
        waits: Waits,
        ending: RunOutcome,
    ) -> Result<Vec<Receipt>, StoreError> {
        let mut receipts = Vec::new();
        // A disk that refuses is no matter to a session that waits for nothing.
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

    /// Folds what every session's log has of runs that ended before a time; returns how many
    /// events went.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub async fn prune_events(&self, before: UnixMillis) -> Result<u64, StoreError> {
        let (mut after, mut folded) = (None, 0);
        loop {
            let (page, last) = self.fold_page(after).await?;
            for (session, from) in page {
                match self.fold_session(session, from, before).await {
                    Ok(events) => folded += events,
                    // One that cannot be read holds up no other.
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

        // Also what an earlier host had cut off and not yet swept.
        let mut swept = 0;
        loop {
            let some = self.execute(SweepLog { session }).await?;
            swept += some;
            if some < ROWS_MAX as u64 {
                return Ok(swept);
            }
        }
    }

    /// Wakes when the session's log has grown. To be subscribed to before the first read.
    #[must_use]
    pub fn follow(&self, session: SessionId) -> watch::Receiver<i64> {
        self.shared.notify.follow(session)
    }

    /// Follows a workspace, or all of them. To be called before the first read.
    #[must_use]
    pub fn follow_workspace(&self, workspace: Option<WorkspaceId>) -> Following {
        self.shared.notify.follow_all_of(workspace)
    }

    /// Whether it can write and still owns what it writes to. Where the last write was refused,
    /// one is tried.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] while it cannot; [`StoreError::Closed`] once it never will.
    pub async fn probe(&self) -> Result<(), StoreError> {
        let commit = self.trouble().is_some();
        self.execute(Probe { commit }).await
    }

    /// Why the last write was refused, if none was done since.
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
            // The queue is there for as long as the store is.
            _ => std::future::pending().await,
        }
    }

    /// Takes no more commands and waits until what was handed in is done. Blocks. What is
    /// stored can be read until the last handle is dropped, so that streams reach their end.
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

/// What happens around the command that ends a run.
struct RunEnd {
    /// Until the writer comes to it.
    transcript: Option<Transcript>,
    durable: Arc<CommitWatermark>,
    on_ended: OnEnded,
}

impl Completion for RunEnd {
    /// Closes what the run left open.
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
