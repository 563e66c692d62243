//! When a server that failed may be started or asked again. It keeps no clock: the caller passes
//! the time.

use lastword_providers::http::header_wait;
use lastword_types::clock::UnixMillis;
use std::time::{Duration, UNIX_EPOCH};

/// How long a server is left alone after its first failure.
pub(super) const FIRST: Duration = Duration::from_secs(1);
/// The longest that a server is left alone, however often it failed.
pub(super) const MAX: Duration = Duration::from_secs(60);
/// A server that was connected for this long is started again at once when it ends.
pub(super) const HEALTHY: Duration = Duration::from_secs(60);

/// The longest wait before a call that its server asks for. Then the call is sent.
const REST_MAX: Duration = Duration::from_secs(30);

/// Parses a `Retry-After` header, seconds or a date, into a wait. At most as long as a call may
/// wait.
pub(super) fn retry_after(header: &str, now: UnixMillis) -> Option<Duration> {
    let now = UNIX_EPOCH + Duration::from_millis(now.0);
    let rest = header_wait(header, now)?;
    Some(rest.min(REST_MAX))
}

/// Counts the failures of one server.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    opened: Duration,
    not_before: Duration,
}

impl Backoff {
    /// Returns how long the server is still left alone; `None` if it may be started.
    pub(super) fn wait(&self, now: Duration) -> Option<Duration> {
        self.not_before
            .checked_sub(now)
            .filter(|wait| !wait.is_zero())
    }

    /// Notes that the server is connected. Earlier failures count until it was connected for long
    /// enough.
    pub(super) fn opened(&mut self, now: Duration) {
        self.opened = now;
    }

    /// Notes that the server could not be started.
    pub(super) fn failed(&mut self, now: Duration) {
        let doublings = self.failures.min(16);
        self.failures = self.failures.saturating_add(1);
        self.not_before = now + FIRST.saturating_mul(1 << doublings).min(MAX);
    }

    /// Notes that a connected server ended.
    pub(super) fn died(&mut self, now: Duration) {
        if now.saturating_sub(self.opened) >= HEALTHY {
            *self = Self::default();
        } else {
            self.failed(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn each_failure_doubles_the_wait_up_to_its_bound() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.wait(seconds(0)), None);

        let mut now = seconds(0);

        for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
            backoff.failed(now);
            assert_eq!(backoff.wait(now), Some(seconds(expected)));
            now += seconds(expected);
            assert_eq!(backoff.wait(now), None, "after {expected} s");
        }

        for _ in 0..100 {
            backoff.failed(now);
        }

        assert_eq!(backoff.wait(now), Some(MAX));
    }

    #[test]
    fn retry_after_is_parsed_in_either_form_and_bounded() {
        let now = UnixMillis(784_111_777_000);

        for (header, rest) in [
            ("7", Some(7)),
            (" 0 ", Some(0)),
            ("86400", Some(30)),
            ("1e999", Some(30)),
            ("-5", None),
            ("soon", None),
            ("Sun, 06 Nov 1994 08:49:47 GMT", Some(10)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("Mon, 07 Nov 1994 08:49:37 GMT", Some(30)),
        ] {
            assert_eq!(retry_after(header, now), rest.map(seconds), "{header}");
        }
    }

    #[test]
    fn a_server_that_ends_early_counts_as_failed() {
        let mut backoff = Backoff::default();
        backoff.failed(seconds(0));
        backoff.opened(seconds(1));
        backoff.died(seconds(2));
        assert_eq!(backoff.wait(seconds(2)), Some(seconds(2)));
    }

    #[test]
    fn a_healthy_period_resets_the_backoff() {
        let mut backoff = Backoff::default();

        for _ in 0..5 {
            backoff.failed(seconds(0));
        }

        backoff.opened(seconds(100));
        backoff.died(seconds(100) + HEALTHY);
        assert_eq!(backoff.wait(seconds(100) + HEALTHY), None);
        backoff.failed(seconds(200));
        assert_eq!(backoff.wait(seconds(200)), Some(FIRST));
    }
}
