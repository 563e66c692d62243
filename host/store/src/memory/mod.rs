//! The backend without a file: it keeps everything in maps until the store is closed. It is for
//! tests and for embedders that want nothing on disk. A differential test compares it with the
//! SQLite backend.
//!
//! It has no owner, no recovery and no damage. Each command is checked before its first change, so
//! that a refused command has changed nothing.

mod apply;
mod reads;
mod state;

use super::backend::{Backend, Batch, CauseLog, CommitError, Committed, Read, Readers, Resolution};
use super::damage::Damages;
use super::handle::{Opened, Store};
use super::rows::Recovered;
use super::{OpenError, StoreError};
use lastword_types::clock::Clock;
use lastword_types::id::RunId;
use lastword_types::run::RunOutcome;
use state::State;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

/// The epoch of the only owner.
const EPOCH: i64 = 1;

impl Store {
    /// Opens a store that keeps everything in memory, and loses it when it is closed.
    ///
    /// # Errors
    /// [`OpenError::Io`] if no thread can be started.
    pub fn in_memory(clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let state: Arc<RwLock<State>> = Arc::default();
        let opened = Opened {
            backend: Memory(Arc::clone(&state)),
            epoch: EPOCH,
            readers: Box::new(Direct(state)),
            causes: Arc::new(Forgotten),
            damages: Arc::new(Damages::default()),
            directory: None,
            recovered: Recovered::default(),
            notices: Vec::new(),
        };
        Self::start(opened, (), clock).map_err(|source| OpenError::Io {
            what: "start the writer thread for",
            path: PathBuf::from("memory"),
            source,
        })
    }
}

/// The writer's side.
struct Memory(Arc<RwLock<State>>);

impl Backend for Memory {
    fn commit(&mut self, batch: &Batch<'_>) -> Result<Committed, CommitError> {
        // Readers see either all of a batch or nothing of it.
        let mut state = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut changes = Vec::new();
        let mut apply = state.at(batch.time, &mut changes);
        let outcomes = batch.commands.iter().map(|command| apply.command(command));
        let outcomes = outcomes.collect();
        let through = state.last_pos();
        Ok(Committed {
            outcomes,
            changes,
            through,
            wrote: true,
        })
    }

    /// Never called, since no outcome is unknown.
    fn resolve(&mut self, _batch: &Batch<'_>) -> Result<Resolution, StoreError> {
        Ok(Resolution::NotCommitted)
    }
}

/// Carries out reads on the caller's own thread, since no read waits for a disk.
struct Direct(Arc<RwLock<State>>);

impl Readers for Direct {
    fn submit(&self, read: Read) {
        let state = self.0.read().unwrap_or_else(PoisonError::into_inner);
        read(&*state);
    }

    fn close(&self) {}
}

/// Keeps no causes, since no later host can open a store in memory.
struct Forgotten;

impl CauseLog for Forgotten {
    fn keep(&self, _run: RunId, _ending: &RunOutcome) {}

    fn forget(&self, _run: RunId) {}

    fn sync(&self) {}
}
