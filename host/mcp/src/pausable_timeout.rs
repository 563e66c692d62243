//! A timeout that pauses while a person is asked, so that a server is not blamed for the time that
//! a person takes. [`handler`](super::handler) pauses it, [`session`](super::session) waits for it.

use lastword_types::clock::Clock;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The timeout of the requests of one connection.
#[derive(Clone)]
pub(super) struct PausableTimeout {
    state: Arc<watch::Sender<PauseState>>,
    clock: Arc<dyn Clock>,
}

#[derive(Clone, Copy, Default)]
struct PauseState {
    /// The number of open questions.
    open: usize,
    /// When the first of the open questions was opened.
    since: Duration,
    /// The time for which questions were open before that.
    before: Duration,
}

impl PauseState {
    fn total(&self, now: Duration) -> Duration {
        match self.open {
            0 => self.before,
            _ => self.before + now.saturating_sub(self.since),
        }
    }
}

/// Pauses the timeout until it is dropped.
pub(super) struct PauseGuard(PausableTimeout);

impl PausableTimeout {
    /// Creates a timeout that is not paused.
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let state = Arc::new(watch::Sender::new(PauseState::default()));
        Self { state, clock }
    }

    /// Pauses the timeout for an open question.
    pub(super) fn pause(&self) -> PauseGuard {
        let now = self.clock.elapsed();
        self.state.send_modify(|state| {
            if state.open == 0 {
                state.since = now;
            }
            state.open += 1;
        });
        PauseGuard(self.clone())
    }

    /// Completes once `limit` has passed without an open question. A question pauses the time of
    /// all calls of the connection: servers do not say which call it belongs to.
    pub(super) async fn expired(&self, limit: Duration) {
        let mut state = self.state.subscribe();
        let began = self.clock.elapsed();
        let before = state.borrow().total(began);

        loop {
            // Dropped, since the returned reference holds a lock. It is no error: the sender
            // outlives this borrow.
            drop(state.wait_for(|state| state.open == 0).await);
            let now = self.clock.elapsed();
            let people = state.borrow().total(now).saturating_sub(before);
            let spent = now.saturating_sub(began).saturating_sub(people);

            if spent >= limit {
                return;
            }

            tokio::select! {
                _ = state.wait_for(|state| state.open > 0) => {}
                () = self.clock.sleep(limit - spent) => {}
            }
        }
    }
}

impl Drop for PauseGuard {
    fn drop(&mut self) {
        let now = self.0.clock.elapsed();
        self.0.state.send_modify(|state| {
            state.before = state.total(now);
            state.since = now;
            state.open = state.open.saturating_sub(1);
        });
    }
}
