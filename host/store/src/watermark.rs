//! How much of a run's output is on disk, as a number of appends, and the callbacks that wait for
//! more. `output` registers callbacks, and the completions of its jobs move the number.

use super::StoreError;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A callback that is called once, on the thread that learns of the outcome. Must not block.
pub(super) type OnDisk = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// The watermark of one run.
#[derive(Default)]
pub(super) struct CommitWatermark {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// The number up to which everything is on disk.
    through: u64,
    /// Why nothing more can be written, if that is so.
    failed: Option<StoreError>,
    waiting: Vec<(u64, OnDisk)>,
}

impl CommitWatermark {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `then` once everything up to a number is on disk, or cannot be written: at once if
    /// this is already known.
    pub(super) fn when(&self, number: u64, then: OnDisk) {
        let mut inner = self.lock();
        let known = match &inner.failed {
            _ if number <= inner.through => Ok(()),
            Some(error) => Err(error.clone()),
            None => return inner.waiting.push((number, then)),
        };
        drop(inner);
        then(known);
    }

    /// Moves the watermark. Call it after COMMIT, with the number up to which everything is on
    /// disk.
    pub(super) fn reached(&self, number: u64) {
        let mut inner = self.lock();
        inner.through = inner.through.max(number);
        let through = inner.through;
        let reached: Vec<_> = inner
            .waiting
            .extract_if(.., |(number, _)| *number <= through)
            .collect();
        drop(inner);
        for (_, then) in reached {
            then(Ok(()));
        }
    }

    /// Reports that nothing more can be written.
    pub(super) fn failed(&self, error: &StoreError) {
        let mut inner = self.lock();
        inner.failed.get_or_insert_with(|| error.clone());
        let waiting = std::mem::take(&mut inner.waiting);
        drop(inner);
        for (_, then) in waiting {
            then(Err(error.clone()));
        }
    }
}
