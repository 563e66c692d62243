//! A clock that a test moves. Time stands still until it does.

use futures_util::future::BoxFuture;
use lastword::clock::{Clock, UnixMillis};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Time that passes only when [`ManualClock::advance`] says so. Its wall clock can be set.
#[derive(Clone, Debug)]
pub struct ManualClock {
    now: Arc<watch::Sender<Duration>>,
    /// How many milliseconds the wall clock is ahead.
    ahead: Arc<watch::Sender<i64>>,
    sleepers: Arc<watch::Sender<usize>>,
    /// How long each of them was to be, in milliseconds.
    lengths: Arc<watch::Sender<Vec<u128>>>,
}

impl Default for ManualClock {
    fn default() -> Self {
        Self {
            now: Arc::new(watch::Sender::new(Duration::ZERO)),
            ahead: Arc::new(watch::Sender::new(0)),
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

    /// Sets the wall clock forwards by so many milliseconds, or back; no time passes. A machine
    /// that wakes from sleep finds it set forwards.
    pub fn set(&self, by: i64) {
        self.ahead.send_modify(|ahead| *ahead += by);
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

impl ManualClock {
    fn begin(&self, length: Duration) {
        self.sleepers.send_modify(|begun| *begun += 1);
        self.lengths
            .send_modify(|begun| begun.push(length.as_millis()));
    }
}

impl Clock for ManualClock {
    fn now(&self) -> UnixMillis {
        let passed = u64::try_from(self.now.borrow().as_millis()).unwrap_or(u64::MAX);
        UnixMillis(passed.saturating_add_signed(*self.ahead.borrow()))
    }

    fn sleep_until(&self, time: UnixMillis) -> BoxFuture<'static, ()> {
        let this = self.clone();
        let (mut now, mut ahead) = (self.now.subscribe(), self.ahead.subscribe());
        let length = time.after(self.now());
        Box::pin(async move {
            this.begin(length);
            while this.now() < time {
                tokio::select! {
                    changed = now.changed() => changed.expect("the clock is there"),
                    // It was set: the sleeper looks again.
                    _ = ahead.changed() => return,
                }
            }
        })
    }

    fn elapsed(&self) -> Duration {
        *self.now.borrow()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let mut now = self.now.subscribe();
        let until = *now.borrow() + duration;
        let this = self.clone();
        Box::pin(async move {
            this.begin(duration);
            let reached = now.wait_for(|now| *now >= until).await;
            drop(reached);
        })
    }
}
