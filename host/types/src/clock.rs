//! Time, behind a trait, so that a test decides when a deadline is over.

use futures_core::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

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

impl UnixMillis {
    /// How long after another time this one is; zero if it is not.
    #[must_use]
    pub fn after(self, other: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(other.0))
    }
}

/// How long a clock that cannot wait for a time of day sleeps before it is read again.
pub const READ_AGAIN: Duration = Duration::from_secs(10);

/// The host's source of time. It is called directly on many threads, the store's writer included,
/// so its methods must return at once and must not panic.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock.
    fn now(&self) -> UnixMillis;

    /// Time since some fixed moment, never running backwards. Deadlines count on it.
    fn elapsed(&self) -> Duration;

    /// Completes once the wall clock shows this time, or earlier, as when it is set: the caller
    /// reads the clock again. A machine that was asleep does not make it late. As for [`Clock::sleep`], only polling it may take a runtime.
    ///
    /// Unless it is implemented, it sleeps for ten seconds at the most, by the clock of
    /// [`Clock::sleep`].
    fn sleep_until(&self, time: UnixMillis) -> BoxFuture<'static, ()> {
        self.sleep(time.after(self.now()).min(READ_AGAIN))
    }

    /// Completes once `duration` has passed since this was called, on whatever thread that
    /// was: only polling it may take a runtime. Dropping it leaves nothing behind.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}
