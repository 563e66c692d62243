//! What a store is made of behind its writer: something that applies batches of commands, and
//! something that reads. `sqlite` is the one that lasts, `memory` the one without a file.

use super::StoreError;
use super::command::{BatchTime, Command, Reply};
use super::notify::LogRange;
use super::queries::Queries;
use lastword_types::id::RunId;
use lastword_types::run::RunOutcome;

/// Names a batch, in this store for ever: by its owner and its number among the owner's. A
/// backend that another owner has taken over refuses every batch of an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BatchId {
    /// The owner's epoch, which rises with each owner.
    pub epoch: i64,
    /// Rises with each batch of one owner.
    pub number: u64,
}

/// Commands that are committed together.
pub struct Batch<'a> {
    /// Its name, by which it can be asked for.
    pub id: BatchId,
    /// When it is written.
    pub time: BatchTime,
    /// In order: each sees what those before it did.
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
    /// Nothing of it is written.
    Refused(StoreError),
    /// It may be written, and may not: [`Backend::resolve`] tells.
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
    /// It is committed, with this.
    Committed(Committed),
    /// Nothing of it is written, and nothing of it ever will be.
    NotCommitted,
}

/// Applies commands. Called by the writer's thread alone.
pub trait Backend: Send + 'static {
    /// Applies a batch: durably, and as one. It returns after the commit, and leaves nothing
    /// half-way: a command that fails has changed nothing, and a batch that fails no command.
    ///
    /// # Errors
    /// [`CommitError`]: [`StoreError::Closed`] ends the store for this process; after any other
    /// refusal the same batch may be tried again, as a whole or command by command.
    fn commit(&mut self, batch: &Batch<'_>) -> Result<Committed, CommitError>;

    /// What became of a batch whose commit answered [`CommitError::Unknown`]. Nothing else is
    /// asked in between.
    ///
    /// # Errors
    /// When that cannot be told yet.
    fn resolve(&mut self, batch: &Batch<'_>) -> Result<Resolution, StoreError>;

    /// Looks after itself between two batches; `idle` if none waits. Returns whether a commit
    /// that changes nothing shall follow.
    fn maintain(&mut self, idle: bool) -> bool {
        let _nothing_to_do = idle;
        false
    }

    /// Leaves everything in good order, at an orderly end.
    fn close(self: Box<Self>) {}
}

/// One read, made where it can wait for a disk.
pub(super) type Read = Box<dyn FnOnce(&dyn Queries) + Send>;

/// Carries reads out, beside the writer.
pub(super) trait Readers: Send + Sync {
    /// Carries out a read, now or later; drops it once the readers are closed.
    fn submit(&self, read: Read);

    /// Ends after what is being read.
    fn close(&self);
}

/// Keeps the causes of ends that are not committed yet where the next host finds them.
pub(super) trait CauseLog: Send + Sync {
    /// Keeps the cause of one run's end. May be called again.
    fn keep(&self, run: RunId, ending: &RunOutcome);

    /// Takes it back: the run has its end.
    fn forget(&self, run: RunId);

    /// Makes what was kept durable.
    fn sync(&self);
}
