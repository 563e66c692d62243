//! Time, behind a trait, so that a test decides when a deadline is over.
//! Knows nothing of what the time is for.

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::runtime::Handle;

/// Milliseconds since 1970-01-01 UTC. For people to read; nothing is ordered by it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct UnixMillis(pub u64);

impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where the host takes its time from.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock.
    fn now(&self) -> UnixMillis;

    /// Time since some fixed moment, never running backwards. Deadlines count on it.
    fn elapsed(&self) -> Duration;

    /// Completes once `duration` has passed since this was called, on whatever thread that
    /// was: only polling it may take a runtime. Dropping it leaves nothing behind.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// The machine's own clock, with tokio's timer: the default.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
    /// Whose timers serve sleeps that no runtime polls.
    timers: Option<Handle>,
}

impl SystemClock {
    /// A shared handle on the machine's clock.
    #[must_use]
    pub fn shared() -> Arc<dyn Clock> {
        Arc::new(Self {
            start: Instant::now(),
            timers: None,
        })
    }

    /// The same for sleeps that may be polled outside any runtime, too.
    pub(crate) fn with(timers: Handle) -> Arc<dyn Clock> {
        Arc::new(Self {
            start: Instant::now(),
            timers: Some(timers),
        })
    }
}

impl Clock for SystemClock {
    fn now(&self) -> UnixMillis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        UnixMillis(since.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)))
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let until = tokio::time::Instant::now().checked_add(duration);
        let timers = self.timers.clone();
        Box::pin(async move {
            let Some(until) = until else {
                return std::future::pending().await;
            };
            // Made where it is polled: making one takes a runtime.
            let sleep = {
                let outside = timers.filter(|_| Handle::try_current().is_err());
                let _timers = outside.as_ref().map(Handle::enter);
                tokio::time::sleep_until(until)
            };
            sleep.await;
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sleep_is_begun_on_any_thread() {
        let clock = SystemClock::shared();
        let plain = std::thread::spawn(move || {
            let short = clock.sleep(Duration::from_millis(1));
            (short, clock.sleep(Duration::MAX))
        });
        let (short, endless) = plain.join().expect("it needs no runtime");
        short.await;
        assert_eq!(futures_util::future::poll_immediate(endless).await, None);
    }
}
