//! Time, behind a trait, so that a test can control it.

use futures_core::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Milliseconds since 1970-01-01 UTC. For display; nothing is ordered by it.
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
    /// Returns how much later this time is than another one; zero if it is not later.
    #[must_use]
    pub fn after(self, other: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(other.0))
    }
}

/// The longest sleep of a clock that cannot wait for a time of day, before it is read again.
pub const READ_AGAIN: Duration = Duration::from_secs(10);

/// The host's source of time. It is called directly on many threads, the store's writer included,
/// so its methods must return at once and must not panic.
pub trait Clock: Send + Sync + 'static {
    /// Returns the time of the wall clock.
    fn now(&self) -> UnixMillis;

    /// Returns the time since a fixed moment. It never decreases, and deadlines are measured by it.
    fn elapsed(&self) -> Duration;

    /// Completes once the wall clock shows this time, or earlier, for example when the clock is
    /// set: the caller then reads the clock again. The sleep of the machine does not delay it. As
    /// for [`Clock::sleep`], a runtime may be needed only to poll it.
    ///
    /// The default implementation sleeps for at most ten seconds, by [`Clock::sleep`].
    fn sleep_until(&self, time: UnixMillis) -> BoxFuture<'static, ()> {
        self.sleep(time.after(self.now()).min(READ_AGAIN))
    }

    /// Completes once `duration` has passed since this call. It may be called on any thread, so
    /// that a runtime may be needed only to poll it. Dropping the future releases everything.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}
