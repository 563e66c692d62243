//! Another try for a request that failed before anything was said.
//!
//! It does not know what is asked.

use std::time::Duration;

use crate::host::{control, sleep};
use crate::model::{Completion, Model, Request};
use crate::{Error, Result};

/// The wait before the second try; it doubles with each further one.
const WAIT_FIRST: Duration = Duration::from_secs(1);

/// The longest wait between two tries.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Sends a request, and sends it again, so many times at the most, while it fails for a reason
/// that may pass. It is under way when this returns: what fails later is not tried again, since
/// the transcript has what came of it.
pub(super) fn complete(model: Model<'_>, request: &Request, retries: u32) -> Result<Completion> {
    let mut wait = WAIT_FIRST;
    let mut left = retries;
    loop {
        let error = match model.complete(request.clone()) {
            Err(error) if left > 0 && may_pass(&error) && has_time(wait) => error,
            outcome => return outcome,
        };
        crate::log::write(
            crate::log::Level::Warn,
            &format!("a request to the model is sent again in {wait:?}: {error}"),
        );
        sleep(wait);
        wait = wait.saturating_mul(2).min(WAIT_MAX);
        left -= 1;
    }
}

/// An answer that broke off before its first word is `unavailable` and has done no harm.
fn may_pass(error: &Error) -> bool {
    !error.is_cancelled() && (error.is_retryable() || error.code() == "unavailable")
}

/// A wait that the run's deadline would end helps nobody.
fn has_time(wait: Duration) -> bool {
    let left = control::remaining_ms().map(Duration::from_millis);
    left.is_none_or(|left| left > wait)
}
