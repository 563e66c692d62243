//! The traits that a storage backend implements: [`Backend`] applies batches of commands for
//! `writer`, `Readers` carries out reads for `handle`, and `CauseLog` keeps the causes of ends
//! that are not committed yet. `sqlite` and `memory` implement them.

use super::StoreError;
use super::command::{BatchTime, Command, Reply};
use super::notify::LogRange;
use super::queries::Queries;
use lastword_types::id::RunId;
use lastword_types::run::RunOutcome;

/// Identifies a batch for the lifetime of the store: the owner's epoch and a number that counts
/// the owner's batches. A backend that another owner has taken over refuses the batches of earlier
/// owners.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BatchId {
    /// The owner's epoch, which rises with each owner.
    pub epoch: i64,
    /// Rises with each batch of one owner.
    pub number: u64,
}

/// Commands that are committed together.
pub struct Batch<'a> {
    /// Its id, by which [`Backend::resolve`] finds its outcome.
    pub id: BatchId,
    /// The time at which it is written.
    pub time: BatchTime,
    /// The commands in order: each sees the changes of the ones before it.
    pub commands: Vec<&'a Command>,
}

/// What a committed batch did.
#[derive(Debug)]
pub struct Committed {
    /// Each command's own outcome, in order. One that failed has changed nothing.
    pub outcomes: Vec<Result<Reply, StoreError>>,
    /// The logs that grew.
    pub changes: Vec<LogRange>,
    /// The highest position given so far.
    pub through: u64,
    /// Whether anything was written at all.
    pub wrote: bool,
}

/// Why a batch is not known to be committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitError {
    /// No part of it is written.
    Refused(StoreError),
    /// Whether it is written is unknown until [`Backend::resolve`] has checked.
    Unknown(String),
}

impl From<StoreError> for CommitError {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

/// What became of a batch whose outcome was unknown.
#[derive(Debug)]
pub enum Resolution {
    /// It is committed, with this result.
    Committed(Committed),
    /// No part of it is written, or ever will be.
    NotCommitted,
}

/// Applies commands. Called by the writer's thread alone.
pub trait Backend: Send + 'static {
    /// Applies a batch durably, in one transaction, and returns after the commit. A command that
    /// fails has changed nothing; if the batch fails, none of its commands has.
    ///
    /// # Errors
    /// [`CommitError`]: [`StoreError::Closed`] ends the store for this process; after any other
    /// refusal the same batch may be tried again, as a whole or command by command.
    fn commit(&mut self, batch: &Batch<'_>) -> Result<Committed, CommitError>;

    /// Returns the outcome of a batch whose commit returned [`CommitError::Unknown`]. The writer
    /// makes no other call in between.
    ///
    /// # Errors
    /// If the outcome cannot be found out yet.
    fn resolve(&mut self, batch: &Batch<'_>) -> Result<Resolution, StoreError>;

    /// Does maintenance between two batches, such as a checkpoint. `idle` says that no batch
    /// waits. Returns whether the writer should follow up with a commit that changes nothing.
    fn maintain(&mut self, idle: bool) -> bool {
        let _nothing_to_do = idle;
        false
    }

    /// Closes the backend at an orderly shutdown.
    fn close(self: Box<Self>) {}
}

/// One read. It may wait for a disk, so it runs where that blocks no async task.
pub(super) type Read = Box<dyn FnOnce(&dyn Queries) + Send>;

/// Carries out reads independently of the writer.
pub(super) trait Readers: Send + Sync {
    /// Carries out a read, now or later; drops it once the readers are closed.
    fn submit(&self, read: Read);

    /// Ends the readers once the reads under way are done.
    fn close(&self);
}

/// Keeps the causes of runs' ends that are not committed yet in a place where the next host finds
/// them.
pub(super) trait CauseLog: Send + Sync {
    /// Keeps the cause of one run's end. May be called again.
    fn keep(&self, run: RunId, ending: &RunOutcome);

    /// Removes the cause, since the end of the run is committed.
    fn forget(&self, run: RunId);

    /// Makes the kept causes durable.
    fn sync(&self);
}
