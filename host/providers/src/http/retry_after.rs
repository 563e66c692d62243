//! The header `retry-after`: seconds, or a date (RFC 9110, 10.2.3).

use std::time::{Duration, SystemTime};

/// Returns the wait that a `retry-after` asks for: seconds, or the time until a date.
pub fn header_wait(text: &str, now: SystemTime) -> Option<Duration> {
    let date = || {
        let until = httpdate::parse_http_date(text.trim()).ok()?;
        // A date in the past asks for no wait.
        Some(until.duration_since(now).unwrap_or(Duration::ZERO))
    };
    seconds(text).or_else(date)
}

/// Parses a number of seconds that is not negative, however large.
pub(crate) fn seconds(text: &str) -> Option<Duration> {
    let number: f64 = text.trim().parse().ok()?;
    let seconds = Duration::try_from_secs_f64(number);
    seconds
        .ok()
        .or_else(|| (number > 0.0).then_some(Duration::MAX))
}
