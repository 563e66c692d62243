//! The errors of the store, grouped by what a caller can do about them.

use super::Damage;
use lastword_types::hint::Hint;
use lastword_types::id::{MessageId, RunId, SessionId, WorkspaceId};
use lastword_types::words::UnknownWord;
use std::fmt;
use std::path::PathBuf;

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another host owns the data directory.
    #[error(
        "the data directory {} is in use by another host ({}); stop that one, or name another \
         directory", directory.display(), owner(pid)
    )]
    InUse {
        /// The data directory.
        directory: PathBuf,
        /// The process id that the owner wrote into the lock file.
        pid: String,
    },
    /// The directory is on a file system where locks do not protect it.
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
    /// The database was written by an earlier lastword, and must be migrated by a host.
    #[error(
        "the database {} has format {found}, and this lastword reads format {known}; make a backup, then \
         start a host on it (`lastword serve`, or any run), which brings it to that format, or read it \
         with the lastword that wrote it", path.display()
    )]
    Older {
        /// The database.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The format that this version reads.
        known: i64,
    },
    /// The directory contains no database yet.
    #[error("there is no lastword database in {}; run an agent first, or name another data directory", directory.display())]
    Missing {
        /// The data directory.
        directory: PathBuf,
    },
    /// The bundled SQLite is older than the first version that does not corrupt its write-ahead
    /// log.
    #[error("SQLite {found} is too old: {needed} or later is needed")]
    Sqlite {
        /// The version that is linked.
        found: String,
        /// The lowest version that is accepted.
        needed: &'static str,
    },
    /// A file or directory could not be created or read.
    #[error("cannot {what} {}: {source}{}", path.display(), remedy(source))]
    Io {
        /// The operation that failed.
        what: &'static str,
        /// The path of the operation.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The database cannot be written now: the disk is full, or another program holds a lock.
    #[error(
        "the database {} cannot be written now: {why}; it can once the disk has space and no other \
         program has the database locked", path.display()
    )]
    CannotWrite {
        /// The database.
        path: PathBuf,
        /// SQLite's error message.
        why: String,
    },
    /// The database is damaged in a part without which nothing can be read.
    #[error(
        "the database {} is damaged so that SQLite cannot work with it: {message}; an \
         examination says what can be read of it, and a backup can take its place", path.display()
    )]
    Damaged {
        /// The database.
        path: PathBuf,
        /// SQLite's error message.
        message: String,
    },
    /// The database could not be opened or migrated.
    #[error("cannot open the database {}: {message}", path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// SQLite's error message.
        message: String,
    },
}

impl OpenError {
    /// Whether opening may succeed later without any change, once the directory's present owner
    /// ends.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::InUse { .. })
    }

    /// Returns what the user can do, if it is a single action that a program can offer in its own
    /// words.
    #[must_use]
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                Some(Hint::FreeDiskSpace)
            }
            Self::Io { source, .. } if !remedy(source).is_empty() => None,
            Self::InUse { .. }
            | Self::NetworkFileSystem { .. }
            | Self::Io { .. }
            | Self::Database { .. } => Some(Hint::OtherDataDirectory),
            Self::Older { .. } | Self::Missing { .. } => Some(Hint::RunOnce),
            Self::Damaged { .. } => Some(Hint::Examine),
            _ => None,
        }
    }
}

/// Returns what helps against an error of the system, as the end of a message; empty if that depends
/// on the directory.
fn remedy(error: &std::io::Error) -> &'static str {
    use rustix::io::Errno;

    match Errno::from_io_error(error) {
        Some(Errno::NOSPC | Errno::DQUOT) => "; free disk space",
        Some(Errno::MFILE | Errno::NFILE) => {
            "; raise the limit of open files (`ulimit -n`), or end programs that have many open"
        }
        _ => "",
    }
}

/// Names the owner of a directory by the process id in its lock file.
fn owner(pid: &str) -> String {
    if pid.parse() != Ok(std::process::id()) {
        return format!("process {pid}");
    }
    "of this very process: await its `shutdown`, or drop what holds it, be it a host, a workspace, \
     a session, a run or events"
        .to_owned()
}

/// Why the store did not carry out a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// The request contradicts what is stored. Nothing was written.
    Refused(Refusal),
    /// The store cannot write now: the disk is full, a lock is held, or memory is short. Nothing
    /// was written, and the same request may succeed later.
    Unavailable(String),
    /// The store is closed for the rest of this process after a failed sync, corruption, or a
    /// takeover by another owner. It is unknown whether the request was carried out.
    Closed(String),
    /// SQLite rejects the content of the request. Nothing was written.
    Content(String),
    /// Stored data cannot be read, and a repeated request does not help. Nothing was written.
    Damaged(Box<Damage>),
}

/// The kind of a [`StoreError`], by what a caller can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The request contradicts what is stored: change the request.
    Refused,
    /// The store cannot write now: try again later.
    Unavailable,
    /// The store is closed for the rest of this process: start a new host.
    Closed,
    /// The content cannot be stored as it is: change it.
    InvalidContent,
    /// What is stored cannot be read: examine the data directory; trying again does not help.
    Damaged,
}

impl StoreError {
    /// Returns the kind of the error, for programs.
    #[must_use]
    pub fn kind(&self) -> StoreErrorKind {
        match self {
            Self::Refused(_) => StoreErrorKind::Refused,
            Self::Unavailable(_) => StoreErrorKind::Unavailable,
            Self::Closed(_) => StoreErrorKind::Closed,
            Self::Content(_) => StoreErrorKind::InvalidContent,
            Self::Damaged(_) => StoreErrorKind::Damaged,
        }
    }
}

/// A request that contradicts what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The session does not exist.
    UnknownSession(SessionId),
    /// The workspace does not exist.
    UnknownWorkspace(WorkspaceId),
    /// The run does not exist.
    UnknownRun(RunId),
    /// The message does not exist.
    UnknownMessage(MessageId),
    /// The idempotency key came before with other content: in this session, or as the key that
    /// created it.
    KeyConflict(SessionId),
    /// The queue of this session has reached its largest length.
    QueueFull(SessionId),
    /// The prompt would be empty.
    Empty,
    /// The run is not in the state that the request needs.
    WrongState,
    /// The run has already ended.
    AlreadyEnded,
    /// The stored options of a workspace are damaged, or of a later version.
    UnreadableOptions,
    /// Another run already resumed the run.
    Resumed {
        /// The run that resumed it.
        by: RunId,
    },
    /// A quota would be exceeded.
    Quota,
    /// The cursor is not one that a list returned.
    InvalidCursor,
    /// The log begins later: the events up to `through` were folded away.
    Expired {
        /// The number of the last event that was folded away.
        through: u64,
    },
    /// The cursor is beyond the log's end.
    Beyond {
        /// The number of the last event.
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

impl From<UnknownWord> for StoreError {
    fn from(error: UnknownWord) -> Self {
        Self::Content(error.to_string())
    }
}
