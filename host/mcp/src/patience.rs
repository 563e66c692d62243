//! How long a server may take, without the time that a person takes: while somebody is asked,
//! nobody's time runs. Knows neither questions nor calls.

use lastword_types::clock::Clock;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// What one connection asks people.
#[derive(Clone)]
pub(super) struct Patience {
    asked: Arc<watch::Sender<Asked>>,
    clock: Arc<dyn Clock>,
}

#[derive(Clone, Copy, Default)]
struct Asked {
    /// How many questions are open.
    open: usize,
    /// Since when there are any.
    since: Duration,
    /// How long there were some before.
    before: Duration,
}

impl Asked {
    fn in_all(&self, now: Duration) -> Duration {
        match self.open {
            0 => self.before,
            _ => self.before + now.saturating_sub(self.since),
        }
    }
}

/// A question that is open until this is dropped.
pub(super) struct Asking(Patience);

impl Patience {
    /// Nobody is asked yet.
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let asked = Arc::new(watch::Sender::new(Asked::default()));
        Self { asked, clock }
    }

    /// A question begins.
    pub(super) fn asking(&self) -> Asking {
        let now = self.clock.elapsed();
        self.asked.send_modify(|asked| {
            if asked.open == 0 {
                asked.since = now;
            }
            asked.open += 1;
        });
        Asking(self.clone())
    }

    /// Completes once `limit` has passed without an open question. A question of any call
    /// stops the time of all of them: servers do not say which call they ask for.
    pub(super) async fn runs_out(&self, limit: Duration) {
        let mut asked = self.asked.subscribe();
        let began = self.clock.elapsed();
        let before = asked.borrow().in_all(began);

        loop {
            // What it answers holds a lock. The sender lives as long as this borrow of it.
            drop(asked.wait_for(|asked| asked.open == 0).await);
            let now = self.clock.elapsed();
            let people = asked.borrow().in_all(now).saturating_sub(before);
            let spent = now.saturating_sub(began).saturating_sub(people);

            if spent >= limit {
                return;
            }

            tokio::select! {
                _ = asked.wait_for(|asked| asked.open > 0) => {}
                () = self.clock.sleep(limit - spent) => {}
            }
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let now = self.0.clock.elapsed();
        self.0.asked.send_modify(|asked| {
            asked.before = asked.in_all(now);
            asked.since = now;
            asked.open = asked.open.saturating_sub(1);
        });
    }
}
