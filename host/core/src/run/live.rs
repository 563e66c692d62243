//! A run that has been accepted and has no end yet: the one door through which it is
//! stopped, and where those who wait for its end look.

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

/// Where a live run stands, for those who wait.
#[derive(Clone, Debug)]
pub(crate) enum Phase {
    /// Its prompt is on its way to the disk, it waits, or it runs.
    Open,
    /// The guest is gone, and the writer owns its end.
    Finishing {
        /// When, on the clock's scale.
        at: Duration,
        /// How it ends.
        ending: Arc<RunOutcome>,
    },
    /// Its end is on disk.
    Ended(Arc<Receipt>),
    /// Its workspace closed before it started; it waits on disk to be resumed.
    Held,
    /// Its prompt was not accepted: there is no such run.
    Refused,
    /// Its end can no longer reach the disk in this process; recovery owns it.
    Lost(StoreError),
}

/// Bytes of the longest detail of an end. It may be a guest's words, and is written several times.
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
    /// Recovery owns its end.
    Lost(StoreError),
}

/// The first cause, and when it latched.
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
    /// The client without which it does not go on.
    pub(crate) bound_to: Option<ClientId>,
    pub(crate) control: Arc<Control>,
    pub(crate) interrupt: Arc<Interrupt>,
    times: Mutex<Times>,
    /// Whether a time began it, and no person.
    pub(crate) woken: bool,
    engine: Arc<Engine>,
    latched: OnceLock<Latched>,
    phase: watch::Sender<Phase>,
}

/// How long a run and its end may take: as when it was accepted, until it starts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) grace: Duration,
    pub(crate) finish_deadline: Duration,
    pub(crate) run_deadline: Option<Duration>,
}

impl Times {
    /// As the limits say, with the prompt's own deadline in the place of theirs.
    pub(crate) fn of(limits: &Limits, deadline: Option<Duration>) -> Self {
        Self {
            grace: limits.grace,
            finish_deadline: limits.finish_deadline,
            run_deadline: deadline.or(limits.deadline),
        }
    }
}

/// What a live run is made of.
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

    /// How long it and its end may take.
    pub(crate) fn times(&self) -> Times {
        *self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It starts, and may take so long.
    pub(crate) fn set_times(&self, times: Times) {
        *self.times.lock().unwrap_or_else(PoisonError::into_inner) = times;
    }

    /// Latches a cause; the first one stays. Answers whether this was it.
    pub(crate) fn latch(&self, cause: Cause, detail: Option<String>) -> bool {
        let detail = detail.map(shortened);
        let at = Instant::now();
        self.latched.set(Latched { cause, detail, at }).is_ok()
    }

    /// The cause, once there is one.
    pub(crate) fn latched(&self) -> Option<&Latched> {
        self.latched.get()
    }

    /// The one door: latches the cause, asks the agent if it has a grace period, and then
    /// interrupts it. Only the first call does anything.
    pub(crate) fn stop(self: &Arc<Self>, cause: Cause, runtime: &Handle) {
        self.stop_because(cause, None, runtime);
    }

    /// The same, with what to say of it.
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

    /// The end, if it is on disk.
    pub(crate) fn try_ended(&self) -> Option<Arc<Receipt>> {
        match &*self.phase.borrow() {
            Phase::Ended(receipt) => Some(Arc::clone(receipt)),
            _ => None,
        }
    }

    /// Whether whoever waits for its end has an answer.
    pub(crate) fn is_over(&self) -> bool {
        !matches!(&*self.phase.borrow(), Phase::Open | Phase::Finishing { .. })
    }

    /// Whether it came to no end of its own: it waits on disk to be resumed, or was never
    /// accepted.
    pub(crate) fn has_no_end(&self) -> bool {
        matches!(&*self.phase.borrow(), Phase::Held | Phase::Refused)
    }

    /// Waits until the end is on disk, or cannot get there in this process.
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

    /// Waits for the end no longer than the finishing write may take once the guest is gone;
    /// after that the answer is provisional.
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
            // A run that never had a guest is waited for from now on.
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

    /// What can be said before the end is on disk: it acknowledges nothing.
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

    /// How the run ends, once its cause is latched.
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
