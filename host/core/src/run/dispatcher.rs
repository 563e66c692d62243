//! Accepts prompts, starts the runs whose turn it is, and reports their ends. The dispatcher
//! connects the schedule, the store and the guests' runtime. It has no task of its own: every
//! step is triggered by a prompt, a commit or the exit of a guest, so that an idle workspace
//! costs nothing.

pub(crate) use super::prepare::Extensions;

use super::execute::execute;
use super::live::{LiveRun, Phase};
use super::schedule::Schedule;
use super::stats::Counters;
use super::{Cause, Receipt, RunState};
use crate::guest::agents::{Lineage, RunSpawner};
use crate::guest::questions::Questions;
use crate::guest::tools::Builtins;
use crate::host::{AgentInner, WorkspaceInner};
use crate::workspace::Lifecycle;
use lastword_providers::foreign::Foreign;
use lastword_providers::http::Guarded;
use lastword_sandbox::descriptors::Descriptors;
use lastword_sandbox::{Engine, Limits};
use lastword_store::{
    Accept, Accepted, Continuation, Key, PromptRecord, Resume, Start, Store, StoreError, Submission,
};
use lastword_types::clock::Clock;
use lastword_types::id::{RunId, SessionId, WorkspaceId};
use lastword_types::session::BlobId;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Notify, broadcast, oneshot};
use tracing::Span;

/// A callback that receives the id of a workspace whose last run is over.
pub(crate) type OnIdle = Box<dyn Fn(WorkspaceId) + Send + Sync>;

/// Everything that runs need and share.
pub(crate) struct Dispatcher {
    pub(crate) engine: Arc<Engine>,
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    /// The embedder's extensions, until the host is shut down.
    pub(super) brought: Mutex<Extensions>,
    /// Calls the embedder's extensions, on the embedder's runtime.
    pub(crate) foreign: Foreign,
    /// The built-in tools.
    pub(crate) own_tools: Arc<Builtins>,
    /// The questions that runs wait for.
    pub(crate) questions: Arc<Questions>,
    /// Starts the runs that runs ask for. The host sets it once it is built.
    pub(crate) starts: OnceLock<Arc<dyn RunSpawner>>,
    /// How agents' requests reach the network.
    pub(crate) http: Guarded,
    /// The guests' own runtime.
    pub(crate) guests: Handle,
    /// The embedder's runtime, for the embedder's extensions.
    pub(crate) embedder: Handle,
    /// Where guests' private directories are made.
    pub(crate) tmp: PathBuf,
    /// The file descriptors that all guests together may have open.
    pub(crate) descriptors: Arc<Descriptors>,
    pub(crate) lifecycle: broadcast::Sender<Lifecycle>,
    pub(crate) counters: Counters,
    pub(crate) on_idle: OnceLock<OnIdle>,
    pub(super) inner: Mutex<Inner>,
    pub(super) drained: Notify,
    /// Wakes the task that continues waiting sessions: a run ended waiting, an agent was loaded,
    /// or a workspace was closed.
    pub(crate) waits: Notify,
}

pub(super) struct Inner {
    pub(super) schedule: Schedule<WorkspaceId, SessionId, RunJob>,
    live: HashMap<RunId, Arc<LiveRun>>,
    /// Runs without an end, per workspace that has any.
    count: HashMap<WorkspaceId, u32>,
    /// Runs whose end this process can no longer write.
    lost: Vec<(WorkspaceId, RunId)>,
    /// Whether a thread is inside [`Dispatcher::start_waiting`].
    starting: bool,
    pub(super) closing: bool,
}

impl Inner {
    fn insert(&mut self, live: &Arc<LiveRun>) {
        if self.live.insert(live.id, Arc::clone(live)).is_none() {
            self.enter(live.workspace);
        }
    }

    /// Counts a run of a workspace that has no end, or that is on its way back into the queue.
    fn enter(&mut self, workspace: WorkspaceId) {
        *self.count.entry(workspace).or_default() += 1;
    }

    /// Removes a run. Returns whether it was its workspace's last.
    pub(super) fn remove(&mut self, live: &LiveRun) -> bool {
        self.live.remove(&live.id).is_some() && self.leave(live.workspace)
    }

    /// Undoes [`Inner::enter`]. Returns whether the run was the workspace's last.
    fn leave(&mut self, workspace: WorkspaceId) -> bool {
        let Some(count) = self.count.get_mut(&workspace) else {
            return false;
        };

        *count -= 1;
        let last = *count == 0;
        if last {
            self.count.remove(&workspace);
        }

        last
    }

    pub(super) fn live(&self) -> impl Iterator<Item = &Arc<LiveRun>> {
        self.live.values()
    }

    pub(super) fn has_runs(&self, workspace: WorkspaceId) -> bool {
        self.count.contains_key(&workspace)
    }

    /// Whether every run has its end, and none is on its way back into the queue.
    pub(super) fn is_idle(&self) -> bool {
        let counted: u32 = self.count.values().sum();
        counted as usize == self.live.len() && self.live.values().all(|live| live.is_over())
    }

    pub(super) fn lost(&self) -> impl Iterator<Item = &(WorkspaceId, RunId)> {
        self.lost.iter()
    }
}

/// A run with everything that its execution needs.
pub(crate) struct RunJob {
    pub(crate) live: Arc<LiveRun>,
    pub(crate) agent: Arc<AgentInner>,
    pub(crate) workspace: Arc<WorkspaceInner>,
    pub(crate) prompt: PromptRecord,
    /// Attachments that the prompt refers to, until they are stored with it.
    pub(crate) attached: Vec<(BlobId, Vec<u8>)>,
    /// The run that ended waiting and that this one continues, until that is stored.
    pub(crate) goes_on: Option<Continuation>,
    /// The run that ended early and that this one continues.
    pub(crate) resumes: Option<RunId>,
    pub(crate) limits: Limits,
    /// What the run inherits from its parent run, if it has one.
    pub(crate) lineage: Option<Lineage>,
    /// The span in which the run was asked for. It stays open until the run starts, since a span
    /// can only follow from one that is open.
    pub(crate) asked_in: Span,
    /// When it was handed in, on the clock's scale.
    pub(crate) entered: Duration,
}

/// Whether a prompt may wait for its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It is queued if it cannot start at once.
    InTurn,
    /// It starts at once, or is not accepted. The parent run already holds a slot, so a child
    /// that waited for a slot could deadlock both.
    AtOnce,
}

/// Why a prompt was not accepted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum NotAccepted {
    HostClosing,
    WorkspaceClosing,
    /// It had to start at once, and there is no free slot.
    NoSlot,
    Store(StoreError),
}

/// The parts from which the host builds the dispatcher.
pub(crate) struct DispatcherParts {
    pub(crate) engine: Arc<Engine>,
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) brought: Extensions,
    pub(crate) own_tools: Arc<Builtins>,
    pub(crate) http: Guarded,
    pub(crate) guests: Handle,
    pub(crate) embedder: Handle,
    pub(crate) tmp: PathBuf,
    pub(crate) descriptors: Arc<Descriptors>,
}

/// How many lifecycle notices are kept for a slow listener.
const NOTICES: usize = 1024;

impl Dispatcher {
    pub(crate) fn new(parts: DispatcherParts) -> Arc<Self> {
        let slots = parts.engine.concurrent_runs();
        Arc::new(Self {
            engine: parts.engine,
            questions: Questions::new(parts.store.clone()),
            store: parts.store,
            foreign: Foreign::new(parts.embedder.clone(), Arc::clone(&parts.clock)),
            clock: parts.clock,
            brought: Mutex::new(parts.brought),
            own_tools: parts.own_tools,
            starts: OnceLock::new(),
            http: parts.http,
            guests: parts.guests,
            embedder: parts.embedder,
            tmp: parts.tmp,
            descriptors: parts.descriptors,
            lifecycle: broadcast::channel(NOTICES).0,
            counters: Counters::default(),
            on_idle: OnceLock::new(),
            inner: Mutex::new(Inner {
                schedule: Schedule::new(slots),
                live: HashMap::new(),
                count: HashMap::new(),
                lost: Vec::new(),
                starting: false,
                closing: false,
            }),
            drained: Notify::new(),
            waits: Notify::new(),
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic while the lock is held costs the schedule one slot at worst.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a notice to the listeners of the lifecycle.
    pub(crate) fn tell(&self, notice: Lifecycle) {
        tracing::debug!(?notice, "lifecycle");
        let _nobody_listens = self.lifecycle.send(notice);
    }

    /// Hands a prompt to the writer and starts its run, at once or in turn. The result arrives
    /// after COMMIT; dropping the receiver does not withdraw the prompt.
    pub(crate) fn accept(
        self: &Arc<Self>,
        mut job: RunJob,
        key: Option<Key>,
        admission: Admission,
    ) -> oneshot::Receiver<Result<RunId, NotAccepted>> {
        let (answer, receiver) = oneshot::channel();
        let session = job.live.session;
        let mut inner = self.lock();
        let refused = match (inner.closing, job.workspace.is_barred()) {
            (true, _) => Some(NotAccepted::HostClosing),
            (false, true) => Some(NotAccepted::WorkspaceClosing),
            (false, false) => None,
        };

        if let Some(refused) = refused {
            let _nobody_waits = answer.send(Err(refused));
            return receiver;
        }

        let limit = job.workspace.concurrent_runs();
        let start = inner.schedule.admit(job.live.workspace, limit, session);
        if !start && admission == Admission::AtOnce {
            let _nobody_waits = answer.send(Err(NotAccepted::NoSlot));
            return receiver;
        }

        inner.insert(&job.live);
        let accept = Accept {
            run: job.live.id,
            session,
            prompt: job.prompt.clone(),
            attached: std::mem::take(&mut job.attached),
            digest: job.agent.loaded.digest.to_string(),
            key,
            goes_on: job.goes_on.take(),
            resumes: job.resumes,
            parent: job.lineage.as_ref().map(|lineage| lineage.parent),
            queue_max: job.limits.queue,
            start,
        };

        let this = Arc::clone(self);
        // Submitted under the lock, so that the writer's order is the schedule's order.
        let handed = self.store.submit(accept, move |outcome| {
            let _nobody_waits = answer.send(this.accepted(job, start, outcome));
        });
        drop(inner);
        drop(handed);
        receiver
    }

    /// Starts or queues an accepted run. Called after COMMIT, on the writer's thread.
    fn accepted(
        self: &Arc<Self>,
        job: RunJob,
        start: bool,
        outcome: Result<Accepted, StoreError>,
    ) -> Result<RunId, NotAccepted> {
        let live = Arc::clone(&job.live);
        let not_run = match outcome {
            Ok(Accepted::New) => {
                self.counters.accepted();
                if start {
                    self.guests.spawn(execute(Arc::clone(self), job));
                    self.engine.make_room();
                } else {
                    self.queue(job);
                }
                return Ok(live.id);
            }
            Ok(Accepted::Known(known)) => Ok(known),
            Err(error) => Err(NotAccepted::Store(error)),
        };

        let mut inner = self.lock();
        if start {
            inner.schedule.release_slot(live.workspace);
            inner.schedule.release_session(live.workspace, live.session);
        }

        drop(inner);
        // A cancel of the session may wait for this run.
        live.set_phase(Phase::Refused);
        self.gone(&live);
        self.start_waiting();
        not_run
    }

    fn queue(self: &Arc<Self>, job: RunJob) {
        let (workspace, session) = (job.live.workspace, job.live.session);
        let limit = job.workspace.concurrent_runs();
        let mut inner = self.lock();
        // A stop of the run, or a close of its workspace, first sets its mark and then searches
        // the queue under the same lock. The marks are checked here so that no run is missed.
        let latched = job.live.latched().map(|latched| &latched.cause);
        if latched.is_some_and(|cause| *cause != Cause::Shutdown) {
            drop(inner);
            return self.withdraw(vec![job]);
        }
        if inner.closing || job.workspace.is_barred() {
            let hold = !inner.closing;
            drop(inner);
            return self.hold(vec![job], hold);
        }

        inner.schedule.wait(workspace, limit, session, job);
        drop(inner);
        self.start_waiting();
    }

    /// Puts a held run back into the queue. The result arrives after COMMIT; dropping the
    /// receiver does not undo the call, and the workspace does not close in between.
    pub(crate) fn resume(
        self: &Arc<Self>,
        job: RunJob,
        key: Option<Key>,
    ) -> oneshot::Receiver<Result<(), StoreError>> {
        let (answer, receiver) = oneshot::channel();
        let workspace = job.live.workspace;
        self.lock().enter(workspace);
        let this = Arc::clone(self);
        let run = job.live.id;
        drop(self.store.submit(Resume { run, key }, move |outcome| {
            let resumed = outcome.map(|()| {
                this.lock().insert(&job.live);
                this.queue(job);
            });
            let last = this.lock().leave(workspace);
            this.left(workspace, last);
            let _nobody_waits = answer.send(resumed);
        }));
        receiver
    }

    /// Changes how many runs of a workspace may execute at the same time, from now on.
    pub(crate) fn limit_runs(self: &Arc<Self>, workspace: WorkspaceId, limit: u32) {
        self.lock().schedule.limit(workspace, limit);
        self.start_waiting();
    }

    /// Starts every run whose turn it is.
    pub(super) fn start_waiting(self: &Arc<Self>) {
        let mut inner = self.lock();
        if std::mem::replace(&mut inner.starting, true) {
            // Another thread is in the loop below, and checks the schedule again before it leaves.
            return;
        }

        while !inner.closing {
            let mut handed = Vec::new();
            while let Some(job) = inner.schedule.next() {
                handed.push(self.hand_start(job));
            }
            if handed.is_empty() {
                break;
            }
            drop(inner);
            // If the store is closed, dropping a submission settles its run, which frees a slot
            // for the next one. The loop takes that one: recursion could overflow the stack.
            drop(handed);
            inner = self.lock();
        }

        inner.starting = false;
    }

    fn hand_start(self: &Arc<Self>, mut job: RunJob) -> Submission {
        let run = job.live.id;
        let this = Arc::clone(self);
        self.store
            .submit(Start { run }, move |outcome| match outcome {
                Ok(prompt) => {
                    // The prompt may have been edited while the run waited.
                    job.prompt = prompt;
                    drop(this.guests.spawn(execute(Arc::clone(&this), job)));
                    this.engine.make_room();
                }
                Err(error) => {
                    this.guest_gone(&job.live);
                    this.ended(&job.live, Err(error));
                }
            })
    }

    /// Frees the slot of a run whose guest's store has been dropped.
    pub(super) fn guest_gone(self: &Arc<Self>, live: &LiveRun) {
        self.lock().schedule.release_slot(live.workspace);
        self.start_waiting();
    }

    /// Settles a run whose end is on disk, or can no longer be written by this process.
    pub(super) fn ended(
        self: &Arc<Self>,
        live: &Arc<LiveRun>,
        outcome: Result<Receipt, StoreError>,
    ) {
        let (workspace, session) = (live.workspace, live.session);
        self.lock().schedule.release_session(workspace, session);
        self.settle(live, outcome);
        self.start_waiting();
    }

    pub(super) fn settle(&self, live: &Arc<LiveRun>, outcome: Result<Receipt, StoreError>) {
        match outcome {
            Ok(receipt) => {
                self.counters.ended(&receipt);
                live.set_phase(Phase::Ended(Arc::new(receipt)));
                self.tell(Lifecycle::Ended {
                    workspace: live.workspace,
                    run: live.id,
                });
            }
            Err(error) => {
                tracing::error!(run = %live.id, %error, "a run's end is left to recovery");
                self.counters.lost();
                // A run that the store refuses has its end already, or was deleted.
                if !matches!(error, StoreError::Refused(_)) {
                    self.lock().lost.push((live.workspace, live.id));
                }
                live.set_phase(Phase::Lost(error));
            }
        }

        self.gone(live);
    }

    /// Removes a run from this dispatcher.
    pub(super) fn gone(&self, live: &LiveRun) {
        let last = self.lock().remove(live);
        self.left(live.workspace, last);
    }

    fn left(&self, workspace: WorkspaceId, last: bool) {
        self.drained.notify_waiters();
        if last && let Some(on_idle) = self.on_idle.get() {
            on_idle(workspace);
        }
    }

    /// Returns a run that has no end yet.
    pub(crate) fn live(&self, run: RunId) -> Option<Arc<LiveRun>> {
        self.lock().live.get(&run).cloned()
    }

    /// Returns the current state of a run, given its stored state. They differ while the run
    /// finishes: its row says so only if its end takes a while.
    pub(crate) fn standing(&self, run: RunId, stored: RunState) -> RunState {
        let latched = |live: Arc<LiveRun>| live.latched().is_some();
        match stored {
            RunState::Running if self.live(run).is_some_and(latched) => RunState::Finishing,
            stored => stored,
        }
    }

    /// Returns the runs that have no end yet, of one session or of all.
    pub(crate) fn live_runs(&self, session: Option<SessionId>) -> Vec<Arc<LiveRun>> {
        let inner = self.lock();
        // A run whose end was reported a moment ago may not be removed yet.
        let live = inner.live().filter(|run| !run.is_over());
        live.filter(|run| session.is_none_or(|s| run.session == s))
            .cloned()
            .collect()
    }

    /// Returns how many runs of a workspace, or of all, have a guest, and how many wait.
    pub(crate) fn load(&self, workspace: Option<WorkspaceId>) -> (u32, u32) {
        self.lock().schedule.load(workspace)
    }
}
