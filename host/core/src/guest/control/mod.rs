//! The state of a run that concerns its end: whether it is asked to stop, its deadline, and whether
//! it exceeded a budget.

mod host;

pub(crate) use host::ControlHost;

use lastword_types::clock::Clock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The control state of one run, shared by the implementations of all interfaces.
pub(crate) struct Control {
    clock: Arc<dyn Clock>,
    /// The deadline, on the clock's own scale.
    ends_at: OnceLock<Duration>,
    asked: CancellationToken,
    cause: OnceLock<String>,
    /// The budget that the run has exceeded, and a message about it.
    exceeded: OnceLock<(&'static str, String)>,
    is_beyond: CancellationToken,
    calls: AtomicU64,
}

impl Control {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            clock,
            ends_at: OnceLock::new(),
            asked: CancellationToken::new(),
            cause: OnceLock::new(),
            exceeded: OnceLock::new(),
            is_beyond: CancellationToken::new(),
            calls: AtomicU64::new(0),
        })
    }

    /// Notes that the run has begun, and how long it may take.
    pub(crate) fn begin(&self, deadline: Option<Duration>) {
        if let Some(deadline) = deadline {
            let _begun_once = self
                .ends_at
                .set(self.clock.elapsed().saturating_add(deadline));
        }
    }

    /// Asks the agent to end: from here on, models, tools and state return `cancelled`.
    pub(crate) fn ask(&self, cause: String) {
        let _first_stays = self.cause.set(cause);
        self.asked.cancel();
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.asked.is_cancelled()
    }

    /// Completes once the agent is asked to end.
    pub(crate) async fn asked(&self) {
        self.asked.cancelled().await;
    }

    /// Notes that the run has exceeded a budget and has to be stopped. Only the first one counts.
    pub(crate) fn exceed(&self, kind: &'static str, detail: String) {
        let _first_stays = self.exceeded.set((kind, detail));
        self.is_beyond.cancel();
    }

    /// Completes once the run has exceeded a budget, with its kind and a message about it.
    pub(crate) async fn exceeded(&self) -> (&'static str, String) {
        self.is_beyond.cancelled().await;
        self.exceeded.get().cloned().unwrap_or_default()
    }

    /// Returns the kind of the budget that the run has exceeded, if any.
    #[cfg(test)]
    pub(crate) fn exceeded_kind(&self) -> Option<&'static str> {
        self.exceeded.get().map(|(kind, _)| *kind)
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Counts a call from the guest.
    pub(crate) fn called(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the number of calls from the guest so far.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    fn interruption(&self) -> Option<String> {
        self.is_asked().then(|| self.cause.get().cloned()).flatten()
    }

    fn remaining(&self) -> Option<Duration> {
        self.ends_at
            .get()
            .map(|at| at.saturating_sub(self.clock.elapsed()))
    }
}
