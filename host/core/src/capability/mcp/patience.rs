//! How long a server may take, without the time that a person takes: while somebody is asked,
//! nobody's time runs. Knows neither questions nor calls.

use crate::clock::Clock;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// What one connection asks people now.
#[derive(Clone)]
pub(super) struct Patience {
    /// How many questions are open.
    open: Arc<watch::Sender<usize>>,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            open: Arc::new(watch::Sender::new(0)),
        }
    }
}

/// A question that is open until this is dropped.
pub(super) struct Asking(Patience);

impl Patience {
    /// A question begins.
    pub(super) fn asking(&self) -> Asking {
        self.open.send_modify(|open| *open += 1);
        Asking(self.clone())
    }

    /// Completes once `limit` has passed that no question was open. A question of any call
    /// stops the time of all of them: servers do not say which call they ask for.
    pub(super) async fn runs_out(&self, clock: &dyn Clock, limit: Duration) {
        let mut open = self.open.subscribe();
        let mut left = limit;
        loop {
            // What it answers holds a lock.
            drop(open.wait_for(|open| *open == 0).await);
            let began = clock.elapsed();
            tokio::select! {
                () = clock.sleep(left) => return,
                _ = open.wait_for(|open| *open > 0) => {}
            }
            left = left.saturating_sub(clock.elapsed().saturating_sub(began));
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.open.send_modify(|open| *open = open.saturating_sub(1));
    }
}
