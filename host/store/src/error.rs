//! The errors of the store, grouped by what a caller can do about them.

use super::Damage;
use lastword_types::hint::Hint;
use lastword_types::id::{MessageId, RunId, SessionId, WorkspaceId};
use std::fmt;
use std::path::PathBuf;

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another host has the data directory.
    #[error(
        "the data directory {} is in use by another host ({}); stop that one, or name another \
         directory", directory.display(), owner(pid)
    )]
    InUse {
        /// The data directory.
        directory: PathBuf,
        /// What the owner wrote into the lock file.
        pid: String,
    },
    /// The directory is on a file system where a lock protects nothing.
    #[error(
        "the data directory {} is on a network file system ({kind}), where locks and syncs \
         cannot be relied on; name a local directory", directory.display()
    )]
    NetworkFileSystem {
        /// The data directory.
        directory: PathBuf,
        /// The file system's name.
        kind: &'static str,
    },
    /// The database was written by a later lastword.
    #[error(
        "the database {} has format {found}, and this lastword knows formats up to {known}; \
         upgrade lastword, or name another data directory", path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format that this host knows.
        known: i64,
    },
    /// The database was written by an earlier lastword, and only a host brings it up to date.
    #[error(
        "the database {} has format {found}; let a host of this lastword run an agent on it once, which brings \
         it to format {known}, or read it with the lastword that wrote it", path.display()
    )]
    Older {
        /// The database.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The format that this lastword reads.
        known: i64,
    },
    /// There is no database yet.
    #[error("there is no lastword database in {}; run an agent first, or name another data directory", directory.display())]
    Missing {
        /// The data directory.
        directory: PathBuf,
    },
    /// The bundled SQLite is older than the first that keeps its write-ahead log whole.
    #[error("SQLite {found} is too old: {needed} or later is needed")]
    Sqlite {
        /// What is linked.
        found: String,
        /// What is needed.
        needed: &'static str,
    },
    /// A file or directory could not be made or read.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The database is damaged where nothing can be read without it.
    #[error(
        "the database {} is damaged so that SQLite cannot work with it: {message}; an \
         examination says what can be read of it, and a backup can take its place", path.display()
    )]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        message: String,
    },
    /// The database could not be opened or brought up to date.
    #[error("cannot open the database {}: {message}", path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        message: String,
    },
}

impl OpenError {
    /// Whether opening may succeed later without any change, once the present owner of the
    /// directory ends.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::InUse { .. })
    }

    /// What would help, where that is one thing that a program can offer in words of its own.
    #[must_use]
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::InUse { .. } | Self::NetworkFileSystem { .. } | Self::Database { .. } => {
                Some(Hint::OtherDataDirectory)
            }
            Self::Older { .. } | Self::Missing { .. } => Some(Hint::RunOnce),
            Self::Damaged { .. } => Some(Hint::Examine),
            _ => None,
        }
    }
}

/// Who has a directory, by the process that its lock file names.
fn owner(pid: &str) -> String {
    if pid.parse() != Ok(std::process::id()) {
        return format!("process {pid}");
    }
    "of this very process: await its `shutdown`, or drop what holds it, be it a host, a workspace, \
     a session, a run or events"
        .to_owned()
}

/// Why the store did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// The request contradicts what is stored. Nothing was written.
    Refused(Refusal),
    /// The store cannot write now: full disk, a lock, too little memory. Nothing was
    /// written, and the same may succeed later.
    Unavailable(String),
    /// The store is closed for the rest of this process: a failed sync, corruption, or
    /// another owner. What was asked may or may not have happened.
    Closed(String),
    /// SQLite rejects the content itself. Nothing was written.
    Content(String),
    /// What is stored cannot be read, and asking again does not help. Nothing was written.
    Damaged(Box<Damage>),
}

/// A request that contradicts what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such session.
    UnknownSession(SessionId),
    /// There is no such workspace.
    UnknownWorkspace(WorkspaceId),
    /// There is no such run.
    UnknownRun(RunId),
    /// There is no such message.
    UnknownMessage(MessageId),
    /// The idempotency key came before with other content: in this session, or as the key that
    /// created it.
    KeyConflict(SessionId),
    /// The queue of this session is as long as it may be.
    QueueFull(SessionId),
    /// Nothing would be left to ask.
    Empty,
    /// The run is not in the state that the request needs.
    WrongState,
    /// The run has its end already.
    AlreadyEnded,
    /// What a workspace was opened with last is damaged, or of a later version.
    UnreadableOptions,
    /// Another run already resumed the run.
    Resumed {
        /// By this run.
        by: RunId,
    },
    /// A quota would be exceeded.
    Quota,
    /// The cursor is not one that a list returned.
    InvalidCursor,
    /// The log begins later: up to here it was folded away.
    Expired {
        /// The last number that is gone.
        through: u64,
    },
    /// The cursor is beyond the log's end.
    Beyond {
        /// The last number that there is.
        last: u64,
    },
}

impl std::error::Error for StoreError {}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => write!(f, "the store refuses: {refusal:?}"),
            Self::Unavailable(why) => write!(f, "the store cannot write now: {why}"),
            Self::Closed(why) => write!(f, "the store is closed: {why}"),
            Self::Content(why) => write!(f, "the store rejects the content: {why}"),
            Self::Damaged(damage) => write!(f, "what is stored is damaged: {damage}"),
        }
    }
}

impl From<Refusal> for StoreError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<serde_json::Error> for StoreError {
    fn from(error: serde_json::Error) -> Self {
        Self::Content(error.to_string())
    }
}
