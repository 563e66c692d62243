//! A copy of a database that is whole: of one moment, beside a writer, which it does not
//! hold up. One file, which is all of a data directory's sessions.

use super::directory::DATABASE;
use super::reader;
use crate::OpenError;
use rusqlite::Connection;
use rusqlite::backup::StepResult;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// A backup that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backup {
    /// Bytes of the file.
    pub bytes: u64,
    /// Sessions in it.
    pub sessions: u64,
}

/// Why there is no backup, or none that is whole.
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
    /// Something is there already; it was not touched.
    #[error("{} is there already; name a file that is not", path.display())]
    Exists {
        /// What was to be made.
        path: PathBuf,
    },
    /// The file cannot be written.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The copy failed; nothing was left behind.
    #[error("cannot copy the database to {}: {message}", path.display())]
    Copy {
        /// What was to be made.
        path: PathBuf,
        /// What SQLite said.
        message: String,
    },
    /// The copy was made and is as damaged as the database.
    #[error(
        "{} was written, and the database is damaged ({message}); the copy holds what could be \
         read. Keep earlier backups", path.display()
    )]
    Damaged {
        /// The copy.
        path: PathBuf,
        /// What the check found first.
        message: String,
    },
}

/// Copies the database of a data directory, whether or not a host owns it, into a new file that
/// only this user can read. Once this returns, the file is synced and was checked.
///
/// It is what was committed when the copy began. A run that was under way then has no end in it:
/// the host that starts on the copy writes one. Blocks.
///
/// # Errors
/// [`BackupError`]; a file that is there is never replaced.
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

/// Copies all pages of one moment, and checks the copy. Returns what the check says, and how many
/// sessions it holds.
fn copy(source: &Connection, draft: &Path) -> Result<(String, u64), rusqlite::Error> {
    let mut copy = Connection::open(draft)?;
    // It is synced once, when it is whole.
    copy.pragma_update(None, "synchronous", "off")?;
    let backup = rusqlite::backup::Backup::new(source, &mut copy)?;
    // In one step, and so in one read: a copy in parts begins anew with each commit.
    if backup.step(-1)? != StepResult::Done {
        return Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY),
            Some("the database stays locked".to_owned()),
        ));
    }
    drop(backup);
    // One file that needs no other beside it.
    copy.pragma_update(None, "journal_mode", "delete")?;
    let checked = copy.query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
    let sessions = copy.query_row("SELECT count(*) FROM session", [], |row| {
        row.get::<_, i64>(0)
    });
    let checked = checked.unwrap_or_else(|error| error.to_string());
    Ok((checked, sessions.map_or(0, |count| count as u64)))
}
