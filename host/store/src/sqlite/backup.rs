//! Makes a consistent copy of a database at one moment, without delaying the writer. The copy is
//! one file that contains all sessions of a data directory.

use super::directory::DATABASE;
use super::reader;
use crate::OpenError;
use rusqlite::Connection;
use rusqlite::backup::StepResult;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// A finished backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backup {
    /// The size of the file in bytes.
    pub bytes: u64,
    /// The number of sessions in it.
    pub sessions: u64,
}

/// Why a backup failed, or is not intact.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The host keeps everything in memory.
    #[error(
        "this host keeps everything in memory, so that there is no database to copy; give it a \
         data directory"
    )]
    InMemory,
    /// The database cannot be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The file exists already. It was not touched.
    #[error("{} is there already; name a file that is not", path.display())]
    Exists {
        /// The path of the backup.
        path: PathBuf,
    },
    /// The file cannot be written.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// The operation that failed.
        what: &'static str,
        /// The path of the operation.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The copy failed. No file is left behind.
    #[error("cannot copy the database to {}: {message}", path.display())]
    Copy {
        /// The path of the backup.
        path: PathBuf,
        /// SQLite's error message.
        message: String,
    },
    /// The copy was made, but is as damaged as the database.
    #[error(
        "{} was written, and the database is damaged ({message}); the copy holds what could be \
         read. Keep earlier backups", path.display()
    )]
    Damaged {
        /// The path of the copy.
        path: PathBuf,
        /// The first finding of the check.
        message: String,
    },
}

/// Copies the database of a data directory, whether or not a host owns it, into a new file that
/// only this user can read. When this returns, the file is synced and checked.
///
/// The copy contains everything that was committed when the copy began. A run that was under way
/// has no end in it: a host that starts on the copy writes one. Blocks.
///
/// # Errors
/// [`BackupError`]. An existing file is never replaced.
pub fn backup(directory: &Path, file: &Path) -> Result<Backup, BackupError> {
    let io = |what, source| BackupError::Io {
        what,
        path: file.to_owned(),
        source,
    };
    let exists = || BackupError::Exists {
        path: file.to_owned(),
    };
    if file.symlink_metadata().is_ok() {
        return Err(exists());
    }
    let path = directory.join(DATABASE);
    if !path.is_file() {
        return Err(BackupError::Open(OpenError::Missing {
            directory: directory.to_owned(),
        }));
    }
    let source = reader::connect_any(directory).map_err(|error| OpenError::of(&path, &error))?;
    let parent = file.parent().filter(|parent| *parent != Path::new(""));
    let parent = parent.unwrap_or(Path::new("."));
    let draft = tempfile::Builder::new()
        .prefix(".lastword-backup-")
        .tempfile_in(parent)
        .map_err(|source| io("make a file beside", source))?;
    let copied = copy(&source, draft.path()).map_err(|error| BackupError::Copy {
        path: file.to_owned(),
        message: error.to_string(),
    });
    let (checked, sessions) = copied?;
    let written = draft.as_file().sync_all();
    let length = written.and_then(|()| draft.as_file().metadata());
    let bytes = length.map_err(|source| io("write", source))?.len();
    draft
        .persist_noclobber(file)
        .map_err(|error| match error.error.kind() {
            io::ErrorKind::AlreadyExists => exists(),
            _ => io("make", error.error),
        })?;
    let synced = File::open(parent).and_then(|parent| parent.sync_all());
    synced.map_err(|source| io("sync the directory of", source))?;
    match checked.as_str() {
        "ok" => Ok(Backup { bytes, sessions }),
        _ => Err(BackupError::Damaged {
            path: file.to_owned(),
            message: checked,
        }),
    }
}

/// Copies all pages as of one moment, and checks the copy. Returns the result of the check, and the
/// number of sessions in it.
fn copy(source: &Connection, draft: &Path) -> Result<(String, u64), rusqlite::Error> {
    let mut copy = Connection::open(draft)?;
    // The file is synced once, when it is complete.
    copy.pragma_update(None, "synchronous", "off")?;
    let backup = rusqlite::backup::Backup::new(source, &mut copy)?;
    // In one step, so that it is one read transaction: a copy in several steps restarts with each
    // commit.
    if backup.step(-1)? != StepResult::Done {
        return Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY),
            Some("the database stays locked".to_owned()),
        ));
    }
    drop(backup);
    // So that the copy is a single file.
    copy.pragma_update(None, "journal_mode", "delete")?;
    let checked = copy.query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
    let sessions = copy.query_row("SELECT count(*) FROM session", [], |row| {
        row.get::<_, i64>(0)
    });
    let checked = checked.unwrap_or_else(|error| error.to_string());
    Ok((checked, sessions.map_or(0, |count| count as u64)))
}
