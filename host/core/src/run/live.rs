//! A run that has been accepted and has no end yet. Every stop goes through [`LiveRun::stop`],
//! and callers wait for the end on its [`Phase`].

use super::{Cause, OutputStats, Receipt, RunOutcome, RunUsage};
use crate::guest::control::Control;
use lastword_sandbox::{Engine, Interrupt, Limits};
use lastword_store::{Refusal, StoreError};
use lastword_types::clock::Clock;
use lastword_types::id::{ClientId, RunId, SessionId, WorkspaceId};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::watch;

/// The phase of a live run, which waiting callers watch.
#[derive(Clone, Debug)]
pub(crate) enum Phase {
    /// Its prompt is being written, or it is queued, or it executes.
    Open,
    /// The guest is gone, and the writer owns its end.
    Finishing {
        /// When the guest was gone, on the clock's scale.
        at: Duration,
        /// How it ends.
        ending: Arc<RunOutcome>,
    },
    /// Its end is on disk.
    Ended(Arc<Receipt>),
    /// Its workspace closed before it started; it is stored and can be resumed.
    Held,
    /// Its prompt was not accepted: there is no such run.
    Refused,
    /// This process can no longer write its end; the next host's recovery does.
    Lost(StoreError),
}

/// The largest number of bytes of an end's detail. A guest may have written it, and it is stored
/// several times.
const DETAIL_BYTES_MAX: usize = 16 << 10;

fn shortened(mut detail: String) -> String {
    if detail.len() > DETAIL_BYTES_MAX {
        detail.truncate(detail.floor_char_boundary(DETAIL_BYTES_MAX));
        detail.push('…');
    }
    detail
}

/// Why a run has no end in this process.
#[derive(Clone, Debug)]
pub(crate) enum NoEnd {
    /// It is held, and may be resumed.
    Held,
    /// The next host's recovery writes its end.
    Lost(StoreError),
}

/// The first cause, and when it was latched.
#[derive(Debug)]
pub(crate) struct Latched {
    pub(crate) cause: Cause,
    pub(crate) detail: Option<String>,
    pub(crate) at: Instant,
}

/// A run without an end yet.
pub(crate) struct LiveRun {
    pub(crate) id: RunId,
    pub(crate) session: SessionId,
    pub(crate) workspace: WorkspaceId,
    /// The client whose departure stops the run.
    pub(crate) bound_to: Option<ClientId>,
    pub(crate) control: Arc<Control>,
    pub(crate) interrupt: Arc<Interrupt>,
    times: Mutex<Times>,
    /// Whether a time began it, and not a person.
    pub(crate) woken: bool,
    engine: Arc<Engine>,
    latched: OnceLock<Latched>,
    phase: watch::Sender<Phase>,
}

/// How long a run and its end may take. Set when the run is accepted, and again when it starts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) grace: Duration,
    pub(crate) finish_deadline: Duration,
    pub(crate) run_deadline: Option<Duration>,
}

impl Times {
    /// Takes the times of `limits`; the prompt's own deadline replaces theirs.
    pub(crate) fn of(limits: &Limits, deadline: Option<Duration>) -> Self {
        Self {
            grace: limits.grace,
            finish_deadline: limits.finish_deadline,
            run_deadline: deadline.or(limits.deadline),
        }
    }
}

/// The values from which a live run is built.
pub(crate) struct LiveRunParams {
    pub(crate) session: SessionId,
    pub(crate) workspace: WorkspaceId,
    pub(crate) bound_to: Option<ClientId>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) times: Times,
    pub(crate) woken: bool,
}

impl LiveRun {
    pub(crate) fn new(id: RunId, birth: LiveRunParams) -> Arc<Self> {
        Arc::new(Self {
            id,
            session: birth.session,
            workspace: birth.workspace,
            bound_to: birth.bound_to,
            control: Control::new(birth.clock),
            interrupt: Interrupt::new(),
            times: Mutex::new(birth.times),
            woken: birth.woken,
            engine: birth.engine,
            latched: OnceLock::new(),
            phase: watch::Sender::new(Phase::Open),
        })
    }

    /// Returns how long the run and its end may take.
    pub(crate) fn times(&self) -> Times {
        *self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the times when the run starts.
    pub(crate) fn set_times(&self, times: Times) {
        *self.times.lock().unwrap_or_else(PoisonError::into_inner) = times;
    }

    /// Latches a cause, unless there is one already. Returns whether this was the first.
    pub(crate) fn latch(&self, cause: Cause, detail: Option<String>) -> bool {
        let detail = detail.map(shortened);
        let at = Instant::now();
        self.latched.set(Latched { cause, detail, at }).is_ok()
    }

    /// Returns the latched cause, once there is one.
    pub(crate) fn latched(&self) -> Option<&Latched> {
        self.latched.get()
    }

    /// Stops the run: latches the cause and interrupts the guest. If there is a grace period, the
    /// agent is first asked to end by itself. Only the first call has an effect.
    pub(crate) fn stop(self: &Arc<Self>, cause: Cause, runtime: &Handle) {
        self.stop_because(cause, None, runtime);
    }

    /// Does the same as [`LiveRun::stop`], with a detail for the receipt.
    pub(crate) fn stop_because(
        self: &Arc<Self>,
        cause: Cause,
        detail: Option<String>,
        runtime: &Handle,
    ) {
        let name = cause.to_string();
        if !self.latch(cause, detail) {
            return;
        }

        let grace = self.times().grace;
        if grace.is_zero() {
            self.engine.stop(&self.interrupt);
            return;
        }

        self.control.ask(name);
        let run = Arc::clone(self);
        let grace = self.control.clock().sleep(grace);
        runtime.spawn(async move {
            let mut phase = run.phase.subscribe();
            tokio::select! {
                () = grace => run.engine.stop(&run.interrupt),
                _ = phase.wait_for(|phase| !matches!(phase, Phase::Open)) => {}
            }
        });
    }

    pub(crate) fn set_phase(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Returns the end, if it is on disk.
    pub(crate) fn try_ended(&self) -> Option<Arc<Receipt>> {
        match &*self.phase.borrow() {
            Phase::Ended(receipt) => Some(Arc::clone(receipt)),
            _ => None,
        }
    }

    /// Whether the wait for its end is over.
    pub(crate) fn is_over(&self) -> bool {
        !matches!(&*self.phase.borrow(), Phase::Open | Phase::Finishing { .. })
    }

    /// Whether it left this process without an end: it is held on disk, or was never accepted.
    pub(crate) fn has_no_end(&self) -> bool {
        matches!(&*self.phase.borrow(), Phase::Held | Phase::Refused)
    }

    /// Waits until the end is on disk, or until this process can no longer write it.
    pub(crate) async fn ended(&self) -> Result<Arc<Receipt>, NoEnd> {
        let mut phase = self.watch();
        loop {
            match &*phase.borrow_and_update() {
                Phase::Ended(receipt) => return Ok(Arc::clone(receipt)),
                Phase::Lost(error) => return Err(NoEnd::Lost(error.clone())),
                Phase::Held => return Err(NoEnd::Held),
                Phase::Refused => return Err(NoEnd::Lost(Refusal::UnknownRun(self.id).into())),
                Phase::Open | Phase::Finishing { .. } => {}
            }
            if phase.changed().await.is_err() {
                let abandoned = StoreError::Closed("the run was abandoned".to_owned());
                return Err(NoEnd::Lost(abandoned));
            }
        }
    }

    /// Waits for the end, at most as long as the finishing write may take once the guest is gone.
    /// After that, the returned receipt is provisional.
    pub(crate) async fn ended_or_provisional(&self) -> Arc<Receipt> {
        let clock = Arc::clone(self.control.clock());
        let Times {
            grace,
            finish_deadline,
            ..
        } = self.times();
        let asked = clock.elapsed();
        let ended = self.ended();
        let expired = async {
            // Without a guest, the deadline counts from now on.
            let mut phase = self.watch();
            let gone = phase.wait_for(|phase| matches!(phase, Phase::Finishing { .. }));
            let since = tokio::select! {
                gone = gone => match gone.as_deref() {
                    Ok(Phase::Finishing { at, .. }) => *at,
                    _ => asked,
                },
                () = clock.sleep(finish_deadline.saturating_add(grace)) => asked,
            };
            let left = since
                .saturating_add(finish_deadline)
                .saturating_sub(clock.elapsed());
            clock.sleep(left).await;
        };

        tokio::select! {
            biased;
            ended = ended => ended.unwrap_or_else(|_| Arc::new(self.provisional())),
            () = expired => Arc::new(self.provisional()),
        }
    }

    /// Returns a receipt for an end that is not on disk yet. It does not confirm the end.
    fn provisional(&self) -> Receipt {
        let ending = match &*self.phase.borrow() {
            Phase::Finishing { ending, .. } => RunOutcome::clone(ending),
            _ => self.ending(Duration::ZERO, RunUsage::default()),
        };

        let mut receipt = ending.receipt(
            self.id,
            OutputStats::default(),
            self.times().finish_deadline,
        );
        receipt.state = super::RunState::Finishing;
        receipt.finish_deadline_expired = true;
        receipt.persisted = false;
        receipt
    }

    /// Returns the run's outcome, with its latched cause.
    pub(crate) fn ending(&self, stop: Duration, usage: RunUsage) -> RunOutcome {
        let (cause, detail) = match self.latched() {
            Some(latched) => (latched.cause.clone(), latched.detail.clone()),
            None => (Cause::User, None),
        };

        let times = self.times();
        RunOutcome {
            cause,
            detail,
            stop,
            epilogue: None,
            run_deadline: times.run_deadline,
            finish_deadline: times.finish_deadline,
            usage,
            wait: None,
        }
    }
}
