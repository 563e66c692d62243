//! Translates the errors of SQLite into those of the store.

use crate::damage::Describe as _;
use crate::{CommitError, Damage, OpenError, StoreError};
use rusqlite::ErrorCode;
use std::fs::File;
use std::path::Path;

impl OpenError {
    /// Creates the error of a database that could not be opened.
    pub(super) fn of(path: &Path, error: &rusqlite::Error) -> Self {
        let (path, message) = (path.to_owned(), error.to_string());
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Damaged { path, message }
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::DiskFull) => {
                Self::CannotWrite { path, why: message }
            }
            Some(ErrorCode::CannotOpen) => match reachable(&path) {
                Ok(()) => Self::Database { path, message },
                Err(source) => Self::Io {
                    what: "open the database",
                    path,
                    source,
                },
            },
            _ => Self::Database { path, message },
        }
    }
}

/// How many files SQLite has open for a connection: database, log, index of the log, directory.
const FILES: usize = 4;

/// Returns why a database cannot be opened, which SQLite does not report. Does not open the file
/// itself, since closing it would release SQLite's locks.
fn reachable(path: &Path) -> std::io::Result<()> {
    rustix::fs::access(path, rustix::fs::Access::READ_OK)?;
    let Some(directory) = path.parent() else {
        return Ok(());
    };

    let files: std::io::Result<Vec<File>> = (0..FILES).map(|_| File::open(directory)).collect();
    files.map(drop)
}

impl From<rusqlite::Error> for StoreError {
    /// Classifies errors as SQLite documents its result codes: temporary ones, those that are final
    /// for this process, and those that the content causes.
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ffi;
        let text = error.to_string();
        let Some(code) = error.sqlite_error().map(|e| e.extended_code) else {
            return Self::Content(text);
        };
        match code {
            ffi::SQLITE_IOERR_FSYNC
            | ffi::SQLITE_IOERR_DIR_FSYNC
            | ffi::SQLITE_IOERR_CORRUPTFS
            | ffi::SQLITE_IOERR_DATA => Self::Closed(text),
            _ => match code & 0xff {
                ffi::SQLITE_BUSY
                | ffi::SQLITE_LOCKED
                | ffi::SQLITE_FULL
                | ffi::SQLITE_NOMEM
                | ffi::SQLITE_IOERR
                | ffi::SQLITE_CANTOPEN
                | ffi::SQLITE_PROTOCOL
                | ffi::SQLITE_INTERRUPT => Self::Unavailable(text),
                ffi::SQLITE_CORRUPT => Damage::of("").why(text).into(),
                ffi::SQLITE_NOTADB | ffi::SQLITE_READONLY => Self::Closed(text),
                _ => Self::Content(text),
            },
        }
    }
}

impl From<rusqlite::Error> for CommitError {
    /// A commit that SQLite fails is either rolled back or closes the store, so that its outcome is
    /// known.
    fn from(error: rusqlite::Error) -> Self {
        Self::Refused(error.into())
    }
}
