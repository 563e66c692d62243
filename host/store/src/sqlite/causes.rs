//! Keeps, outside the database, the causes of ends that are latched but not committed. While the
//! disk refuses an end, this may be all that the next start finds of it. A cause is written in
//! place, so that it needs no space, when a run's end has to wait for the disk or is reported
//! provisionally. It is removed once the end is committed. Recovery reads the file.

use super::directory::CAUSES;
use super::slots::{self, CONTENT_MAX, Slots};
use crate::backend::CauseLog;
use crate::notice::Notice;
use lastword_types::id::RunId;
use lastword_types::run::{Cause, RunOutcome, RunState};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The largest number of causes that are kept at the same time.
const SLOTS: usize = 256;

/// A cause in its stored form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    run: RunId,
    pub(super) cause: Cause,
    pub(super) detail: Option<String>,
}

/// The causes that an earlier host kept, by run.
pub(super) type Earlier = HashMap<RunId, Kept>;

/// The causes that this host keeps.
#[derive(Default)]
pub(super) struct Causes {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    slots: Option<Slots>,
    of: HashMap<RunId, usize>,
    free: Vec<usize>,
    unsynced: bool,
}

impl Causes {
    /// Opens the file, and reads the causes that an earlier host kept. They stay in it until
    /// [`Causes::begin`].
    pub(super) fn open(directory: &Path) -> (Self, Earlier, Option<Notice>) {
        let path = directory.join(CAUSES);
        let causes = Self::default();
        let opened = slots::read(&path).and_then(|found| Ok((found, Slots::open(&path, SLOTS)?)));
        let (found, slots) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                let why = error.to_string();
                return (causes, Earlier::new(), Some(Notice::NoCauses { path, why }));
            }
        };
        causes.lock().slots = Some(slots);
        let kept = |(_, bytes): (usize, Vec<u8>)| serde_json::from_slice::<Kept>(&bytes).ok();
        let earlier = found.whole.into_iter().filter_map(kept);
        let earlier = earlier.map(|kept| (kept.run, kept)).collect();
        (causes, earlier, None)
    }

    /// Empties the file, after recovery has used its content.
    pub(super) fn begin(&self) {
        let mut inner = self.lock();
        inner.free = (0..SLOTS).rev().collect();
        let Some(slots) = &inner.slots else { return };
        if let Err(error) = (0..SLOTS).try_for_each(|slot| slots.clear(slot)) {
            tracing::warn!(%error, "causes that are not committed cannot be kept");
            inner.slots = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CauseLog for Causes {
    /// Keeps the cause of a run's end. Does not keep that of a run that returned: the run would
    /// count as complete although its last output may be missing.
    fn keep(&self, run: RunId, ending: &RunOutcome) {
        if ending.cause.state() == RunState::Completed {
            return;
        }
        let mut inner = self.lock();
        if inner.slots.is_none() || inner.of.contains_key(&run) {
            return;
        }
        let Some(slot) = inner.free.pop() else {
            tracing::warn!(%run, "too many ends wait for the disk; the cause of this one is not kept");
            return;
        };
        let kept = Kept {
            run,
            cause: ending.cause.clone(),
            detail: ending.detail.clone(),
        };
        match inner
            .slots
            .as_ref()
            .map(|slots| slots.write(slot, &kept.bytes()))
        {
            Some(Ok(())) => {
                inner.of.insert(run, slot);
                inner.unsynced = true;
            }
            failed => {
                tracing::warn!(%run, ?failed, "the cause of an end could not be kept");
                inner.free.push(slot);
            }
        }
    }

    /// Removes a cause, since the run has ended or continues.
    fn forget(&self, run: RunId) {
        let mut inner = self.lock();
        let Some(slot) = inner.of.remove(&run) else {
            return;
        };
        let cleared = inner.slots.as_ref().map(|slots| slots.clear(slot));
        if let Some(Err(error)) = cleared {
            // Harmless: a run that has ended is not recovered.
            tracing::debug!(%error, "a cause that was kept could not be removed");
        }
        inner.free.push(slot);
    }

    /// Waits until the kept causes are on the disk; returns at once if they are.
    fn sync(&self) {
        let mut inner = self.lock();
        if std::mem::take(&mut inner.unsynced)
            && let Some(Err(error)) = inner.slots.as_ref().map(Slots::sync)
        {
            tracing::debug!(%error, "kept causes could not be synced");
        }
    }
}

impl Kept {
    /// Returns the stored form, without the details if it would be too long with them.
    fn bytes(&self) -> Vec<u8> {
        let write = |kept: &Self| serde_json::to_vec(kept).expect("words and an id");
        let bytes = write(self);
        if bytes.len() <= CONTENT_MAX {
            return bytes;
        }
        write(&Self {
            detail: None,
            ..self.clone()
        })
    }
}
