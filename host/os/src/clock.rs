//! The machine's clock. Its timers fire on time even after the machine was suspended or its clock
//! was set.

use futures_util::future::BoxFuture;
use lastword_types::clock::{Clock, READ_AGAIN, UnixMillis};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;

/// The machine's own clock with tokio's timers; the default clock of a host.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
    /// The runtime whose timers serve sleeps that are polled outside any runtime.
    timers: Option<Handle>,
}

impl SystemClock {
    /// Returns a shared handle to the machine's clock.
    #[must_use]
    pub fn shared() -> Arc<dyn Clock> {
        Arc::new(Self {
            start: Instant::now(),
            timers: None,
        })
    }

    /// Returns a clock whose sleeps may also be polled outside any runtime; `timers` serves those.
    pub fn with(timers: Handle) -> Arc<dyn Clock> {
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

    fn sleep_until(&self, time: UnixMillis) -> BoxFuture<'static, ()> {
        let fallback = self.sleep(time.after(self.now()).min(READ_AGAIN));
        // Set before the future is returned, so that no change of the clock from here on is missed.
        let timer = timer_at(time);

        Box::pin(async move {
            let fired = async { fires(timer?).await };
            if fired.await.is_err() {
                fallback.await;
            }
        })
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let until = tokio::time::Instant::now().checked_add(duration);
        let timers = self.timers.clone();

        Box::pin(async move {
            let Some(until) = until else {
                return std::future::pending().await;
            };
            // Created when it is polled first, since creating one needs a runtime.
            let sleep = {
                let outside = timers.filter(|_| Handle::try_current().is_err());
                let _timers = outside.as_ref().map(Handle::enter);
                tokio::time::sleep_until(until)
            };
            sleep.await;
        })
    }
}

/// Returns a kernel timer on the wall clock. It fires when the clock shows `time`, even if the
/// machine was suspended meanwhile, and whenever the clock is set.
fn timer_at(time: UnixMillis) -> std::io::Result<OwnedFd> {
    let timer = timerfd_create(
        TimerfdClockId::Realtime,
        TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
    )?;

    let at = Timespec {
        tv_sec: i64::try_from(time.0 / 1000).unwrap_or(i64::MAX),
        // Zero would disarm the timer.
        tv_nsec: (time.0 % 1000 * 1_000_000).max(1) as _,
    };

    let once = Itimerspec {
        it_interval: Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        },
        it_value: at,
    };

    let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
    timerfd_settime(&timer, flags, &once)?;
    Ok(timer)
}

async fn fires(timer: OwnedFd) -> std::io::Result<()> {
    #[expect(
        deprecated,
        reason = "its successor is unsafe, for descriptors that are not owned; this one is"
    )]
    let timer = AsyncFd::with_interest(timer, Interest::READABLE)?;
    drop(timer.readable().await?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sleeping_until_a_past_time_returns_at_once_and_a_future_one_waits() {
        let clock = SystemClock::shared();
        clock.sleep_until(UnixMillis(0)).await;

        let soon = UnixMillis(clock.now().0 + 30);
        clock.sleep_until(soon).await;
        assert!(clock.now() >= soon, "it came early");

        let far = clock.sleep_until(UnixMillis(u64::MAX));
        assert_eq!(futures_util::future::poll_immediate(far).await, None);

        let fired = fires(timer_at(soon).expect("a timer")).await;
        assert!(fired.is_ok(), "the kernel has such timers");
    }

    #[tokio::test]
    async fn a_sleep_can_be_created_on_any_thread() {
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
