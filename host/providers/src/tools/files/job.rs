//! Work that blocks, on a thread that may: it is told when nobody waits for it any more. Knows
//! nothing of files.

use super::Failed;
use crate::tools::{ToolError, ToolErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

/// Whether the caller has gone. Looked at once per file, while one is searched, and right before
/// a change.
#[derive(Clone, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub(super) fn is_asked(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    #[cfg(test)]
    pub(super) fn ask(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Fails once the caller has gone; nobody reads the words.
    pub(super) fn check(&self) -> Result<(), Failed> {
        if self.is_asked() {
            Err(Failed::Said("the call was cancelled".to_owned()))
        } else {
            Ok(())
        }
    }
}

/// Stops the work when the future that waits for it is dropped.
struct Waiter {
    stop: Stop,
    task: Option<AbortHandle>,
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.stop.0.store(true, Ordering::Release);
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

/// Does the work where blocking is allowed.
///
/// Dropping the future asks the work to stop; what has not begun never does.
pub(super) async fn blocking<T: Send + 'static>(
    runtime: &Handle,
    work: impl FnOnce(&Stop) -> Result<T, Failed> + Send + 'static,
) -> Result<T, Failed> {
    let stop = Stop::default();
    let seen = stop.clone();
    let task = runtime.spawn_blocking(move || work(&seen));
    let mut waiter = Waiter {
        stop,
        task: Some(task.abort_handle()),
    };

    let done = task.await;
    waiter.task = None;

    done.unwrap_or_else(|error| {
        let kind = ToolErrorKind::Internal;
        let message = format!("the host's work on files did not end: {error}");
        Err(ToolError::new(kind, message).into())
    })
}
