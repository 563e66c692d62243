//! The host of a component: the functions that were generated from the WIT package.
//!
//! It does not know that there are others.

use std::time::Duration;

pub(crate) use crate::bindings::{control, log, model, secrets, state, tools, transcript};

/// Waits; a host can interrupt it.
pub(crate) fn sleep(time: Duration) {
    std::thread::sleep(time);
}
