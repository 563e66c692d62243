//! A clock that a test moves. Time stands still until it does.

use futures_util::future::BoxFuture;
use lastword::clock::{Clock, UnixMillis};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Time that passes only when [`ManualClock::advance`] says so.
#[derive(Clone, Debug)]
pub struct ManualClock {
    now: Arc<watch::Sender<Duration>>,
    sleepers: Arc<watch::Sender<usize>>,
    /// How long each of them was to be, in milliseconds.
    lengths: Arc<watch::Sender<Vec<u128>>>,
}

impl Default for ManualClock {
    fn default() -> Self {
        Self {
            now: Arc::new(watch::Sender::new(Duration::ZERO)),
            sleepers: Arc::new(watch::Sender::new(0)),
            lengths: Arc::default(),
        }
    }
}

impl ManualClock {
    /// Lets time pass.
    pub fn advance(&self, duration: Duration) {
        self.now.send_modify(|now| *now += duration);
    }

    /// How many sleeps have begun since the clock was made.
    #[must_use]
    pub fn begun(&self) -> usize {
        *self.sleepers.borrow()
    }

    /// How many sleeps of this length, in whole milliseconds, have begun since the clock was made.
    #[must_use]
    pub fn begun_for(&self, length: Duration) -> usize {
        let lengths = self.lengths.borrow();
        let same = lengths.iter().filter(|begun| **begun == length.as_millis());
        same.count()
    }

    /// Waits until `count` sleeps of this length, in whole milliseconds, have begun since the
    /// clock was made.
    pub async fn asleep_for(&self, length: Duration, count: usize) {
        let mut lengths = self.lengths.subscribe();
        let same = |begun: &&u128| **begun == length.as_millis();
        let reached = lengths
            .wait_for(|begun| begun.iter().filter(same).count() >= count)
            .await;
        drop(reached.expect("the clock outlives its sleepers"));
    }

    /// Waits until at least this many sleeps have begun since the clock was made.
    pub async fn sleepers(&self, count: usize) {
        let mut sleepers = self.sleepers.subscribe();
        let reached = sleepers.wait_for(|begun| *begun >= count).await;
        drop(reached.expect("the clock outlives its sleepers"));
    }
}

impl Clock for ManualClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(u64::try_from(self.now.borrow().as_millis()).unwrap_or(u64::MAX))
    }

    fn elapsed(&self) -> Duration {
        *self.now.borrow()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let mut now = self.now.subscribe();
        let until = *now.borrow() + duration;
        let (sleepers, lengths) = (Arc::clone(&self.sleepers), Arc::clone(&self.lengths));
        Box::pin(async move {
            sleepers.send_modify(|begun| *begun += 1);
            lengths.send_modify(|begun| begun.push(duration.as_millis()));
            let reached = now.wait_for(|now| *now >= until).await;
            drop(reached);
        })
    }
}
