//! Accepts prompts, starts what may start, and tells those who wait: the schedule, the store
//! and the guests' runtime brought together. There is no task of its own: every step follows
//! from a prompt, a commit or a guest that is gone, so that an idle workspace costs nothing.

use super::execute::execute;
use super::live::{LiveRun, Phase};
use super::schedule::Schedule;
use super::{Cause, Receipt, RunUsage};
use crate::capability::model::ModelProvider;
use crate::clock::Clock;
use crate::host::{AgentInner, WorkspaceInner};
use crate::id::{RunId, SessionId};
use crate::sandbox::{Engine, Limits};
use crate::store::{Accept, Accepted, PromptRecord, RunNo, SessionNo, Store, StoreError};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};

/// Everything that runs need and share.
pub(crate) struct Dispatcher {
    pub(crate) engine: Arc<Engine>,
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) model: Option<Arc<dyn ModelProvider>>,
    /// The guests' own runtime.
    pub(crate) guests: Handle,
    /// The embedder's runtime, for what the embedder brought.
    pub(crate) embedder: Handle,
    /// Where guests' private directories are made.
    pub(crate) tmp: PathBuf,
    pub(super) inner: Mutex<Inner>,
    drained: Notify,
}

pub(super) struct Inner {
    schedule: Schedule<SessionNo, Waiting>,
    live: HashMap<RunId, Arc<LiveRun>>,
    closing: bool,
}

/// A run as it is executed.
pub(crate) struct RunJob {
    pub(crate) live: Arc<LiveRun>,
    pub(crate) agent: Arc<AgentInner>,
    pub(crate) workspace: Arc<WorkspaceInner>,
    pub(crate) prompt: PromptRecord,
    pub(crate) limits: Limits,
}

struct Waiting {
    job: RunJob,
    run: RunNo,
}

/// Why a prompt was not accepted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum NotAccepted {
    Closing,
    Store(StoreError),
}

/// What the dispatcher is made of.
pub(crate) struct Parts {
    pub(crate) engine: Arc<Engine>,
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) model: Option<Arc<dyn ModelProvider>>,
    pub(crate) guests: Handle,
    pub(crate) embedder: Handle,
    pub(crate) tmp: PathBuf,
}

impl Dispatcher {
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        let slots = parts.engine.concurrent_runs();
        Arc::new(Self {
            engine: parts.engine,
            store: parts.store,
            clock: parts.clock,
            model: parts.model,
            guests: parts.guests,
            embedder: parts.embedder,
            tmp: parts.tmp,
            inner: Mutex::new(Inner {
                schedule: Schedule::new(slots),
                live: HashMap::new(),
                closing: false,
            }),
            drained: Notify::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic while it is held leaves a schedule that is at worst a slot short.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a prompt to the writer and starts it, at once or when its turn comes. The answer
    /// comes after COMMIT; whoever drops it has still asked.
    pub(crate) fn accept(
        self: &Arc<Self>,
        job: RunJob,
        key: Option<String>,
    ) -> oneshot::Receiver<Result<RunId, NotAccepted>> {
        let (answer, receiver) = oneshot::channel();
        let session = job.live.session_no;
        let mut inner = self.lock();
        if inner.closing {
            let _nobody_waits = answer.send(Err(NotAccepted::Closing));
            return receiver;
        }
        let start = inner.schedule.admit(session);
        inner.live.insert(job.live.id, Arc::clone(&job.live));
        let accept = Accept {
            run: job.live.id,
            session,
            prompt: job.prompt.clone(),
            digest: job.agent.loaded.digest.to_string(),
            key,
            queue_max: job.limits.queue,
            start,
        };
        let this = Arc::clone(self);
        // Under the lock: the writer's order is the schedule's order.
        let handed = self.store.accept(accept, move |outcome| {
            let _nobody_waits = answer.send(this.accepted(job, start, outcome));
        });
        drop(inner);
        drop(handed);
        receiver
    }

    /// After COMMIT, on the writer's thread.
    fn accepted(
        self: &Arc<Self>,
        job: RunJob,
        start: bool,
        outcome: Result<Accepted, StoreError>,
    ) -> Result<RunId, NotAccepted> {
        let (id, session) = (job.live.id, job.live.session_no);
        let not_run = match outcome {
            Ok(Accepted::New(run)) if start => {
                self.guests.spawn(execute(Arc::clone(self), job, run));
                return Ok(id);
            }
            Ok(Accepted::New(run)) => {
                self.queue(job, run);
                return Ok(id);
            }
            Ok(Accepted::Known(known)) => Ok(known),
            Err(error) => Err(NotAccepted::Store(error)),
        };
        let mut inner = self.lock();
        inner.live.remove(&id);
        if start {
            inner.schedule.release_slot();
            inner.schedule.release_session(session);
        }
        drop(inner);
        self.start_waiting();
        not_run
    }

    fn queue(self: &Arc<Self>, job: RunJob, run: RunNo) {
        let session = job.live.session_no;
        let waiting = Waiting { job, run };
        let mut inner = self.lock();
        // Whoever stops it latches first and then looks for it here, under the same lock.
        if waiting.job.live.latched().is_some() {
            drop(inner);
            return self.withdraw(vec![waiting]);
        }
        inner.schedule.wait(session, waiting);
        drop(inner);
        self.start_waiting();
    }

    /// Puts a run that was held back into the queue.
    pub(crate) fn requeue(self: &Arc<Self>, job: RunJob, run: RunNo) {
        self.lock().live.insert(job.live.id, Arc::clone(&job.live));
        self.queue(job, run);
    }

    /// Starts every run whose turn it is.
    fn start_waiting(self: &Arc<Self>) {
        let mut inner = self.lock();
        if inner.closing {
            return;
        }
        let mut handed = Vec::new();
        while let Some(Waiting { mut job, run }) = inner.schedule.next() {
            let this = Arc::clone(self);
            handed.push(self.store.start(run, move |outcome| match outcome {
                Ok(prompt) => {
                    // It may have been edited while it waited.
                    job.prompt = prompt;
                    this.guests.spawn(execute(Arc::clone(&this), job, run));
                }
                Err(error) => {
                    this.guest_gone();
                    this.ended(&job.live, Err(error));
                }
            }));
        }
        drop(inner);
        drop(handed);
    }

    /// A guest's store is dropped: its slot is free.
    pub(super) fn guest_gone(self: &Arc<Self>) {
        self.lock().schedule.release_slot();
        self.start_waiting();
    }

    /// A run's end is on disk, or cannot get there any more.
    pub(super) fn ended(
        self: &Arc<Self>,
        live: &Arc<LiveRun>,
        outcome: Result<Receipt, StoreError>,
    ) {
        self.settle(live, outcome);
        self.lock().schedule.release_session(live.session_no);
        self.start_waiting();
    }

    fn settle(&self, live: &Arc<LiveRun>, outcome: Result<Receipt, StoreError>) {
        live.set_phase(match outcome {
            Ok(receipt) => Phase::Ended(Arc::new(receipt)),
            Err(error) => {
                tracing::error!(run = %live.id, %error, "a run's end is left to recovery");
                Phase::Lost(error)
            }
        });
        self.lock().live.remove(&live.id);
        self.drained.notify_waiters();
    }

    /// Stops one run, whether it waits or runs. Idempotent.
    pub(crate) fn stop(self: &Arc<Self>, live: &Arc<LiveRun>, cause: &Cause) {
        live.stop(cause.clone(), &self.guests);
        let is_it = |waiting: &Waiting| waiting.job.live.id == live.id;
        let waiting = self.lock().schedule.remove(live.session_no, is_it);
        self.withdraw(waiting);
    }

    /// Stops the run of a session and every prompt accepted before now. Answers those that
    /// were stopped.
    pub(crate) fn stop_session(
        self: &Arc<Self>,
        session: SessionNo,
        cause: &Cause,
    ) -> Vec<Arc<LiveRun>> {
        let mut inner = self.lock();
        let of_session = |live: &&Arc<LiveRun>| live.session_no == session;
        let mut live: Vec<_> = inner.live.values().filter(of_session).cloned().collect();
        live.sort_by_key(|live| live.id);
        for run in &live {
            run.stop(cause.clone(), &self.guests);
        }
        let waiting = inner.schedule.remove(session, |_| true);
        drop(inner);
        self.withdraw(waiting);
        live
    }

    /// Ends runs that never started, all in one transaction.
    fn withdraw(self: &Arc<Self>, waiting: Vec<Waiting>) {
        let Some(first) = waiting.first() else { return };
        let ending = first.job.live.ending(Duration::ZERO, RunUsage::default());
        let runs = waiting.iter().map(|w| (w.job.live.id, w.run)).collect();
        let this = Arc::clone(self);
        self.store.withdraw(runs, ending, move |outcome| {
            let receipts: Vec<Result<Receipt, StoreError>> = match outcome {
                Ok(receipts) => receipts.into_iter().map(Ok).collect(),
                Err(error) => waiting.iter().map(|_| Err(error.clone())).collect(),
            };
            for (waiting, receipt) in waiting.iter().zip(receipts) {
                this.settle(&waiting.job.live, receipt);
            }
        });
    }

    /// A run that has no end yet.
    pub(crate) fn live(&self, run: RunId) -> Option<Arc<LiveRun>> {
        self.lock().live.get(&run).cloned()
    }

    /// The runs that have no end yet, of one session or of all.
    pub(crate) fn live_runs(&self, session: Option<SessionId>) -> Vec<Arc<LiveRun>> {
        let inner = self.lock();
        let live = inner.live.values();
        live.filter(|run| session.is_none_or(|s| run.session == s))
            .cloned()
            .collect()
    }

    /// Takes no more prompts, stops what runs, leaves what waits in the queue, and waits
    /// until every end is on disk, at most as long as `patience`. Answers the runs whose end
    /// is not.
    pub(crate) async fn close(self: &Arc<Self>, patience: Duration) -> Vec<RunId> {
        let running: Vec<Arc<LiveRun>> = {
            let mut inner = self.lock();
            inner.closing = true;
            let mut waiting = Vec::new();
            for live in inner.live.values().cloned().collect::<Vec<_>>() {
                waiting.extend(inner.schedule.remove(live.session_no, |_| true));
            }
            for queued in waiting {
                inner.live.remove(&queued.job.live.id);
                queued.job.live.set_phase(Phase::Lost(StoreError::Closed(
                    "the host shut down; the prompt stays queued".to_owned(),
                )));
            }
            inner.live.values().cloned().collect()
        };
        for live in &running {
            live.stop(Cause::Shutdown, &self.guests);
        }
        let all_ended = async {
            loop {
                let drained = self.drained.notified();
                if self.lock().live.is_empty() {
                    return;
                }
                drained.await;
            }
        };
        tokio::select! {
            biased;
            () = all_ended => {}
            () = self.clock.sleep(patience) => {}
        }
        self.lock().live.keys().copied().collect()
    }
}
