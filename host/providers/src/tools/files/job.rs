//! Runs blocking work on a thread for it, and signals it when the caller is gone.

use super::ToolFailure;
use crate::tools::{ToolError, ToolErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

/// Whether the caller is gone. Checked once per file, during a search of a file, and right before a
/// change.
#[derive(Clone, Default)]
pub(super) struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    #[cfg(test)]
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Fails once the caller is gone, which therefore never sees the message.
    pub(super) fn check(&self) -> Result<(), ToolFailure> {
        if self.is_set() {
            Err(ToolFailure::Reported("the call was cancelled".to_owned()))
        } else {
            Ok(())
        }
    }
}

/// Stops the work when the future that waits for it is dropped.
struct StopOnDrop {
    stop: StopFlag,
    task: Option<AbortHandle>,
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.stop.0.store(true, Ordering::Release);
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

/// Runs the work on the runtime's blocking threads.
///
/// Dropping the future signals the work to stop; work that has not started never does.
pub(super) async fn run_blocking<T: Send + 'static>(
    runtime: &Handle,
    work: impl FnOnce(&StopFlag) -> Result<T, ToolFailure> + Send + 'static,
) -> Result<T, ToolFailure> {
    let stop = StopFlag::default();
    let seen = stop.clone();
    let task = runtime.spawn_blocking(move || work(&seen));
    let mut waiter = StopOnDrop {
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
