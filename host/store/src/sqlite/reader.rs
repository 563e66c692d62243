//! Reads at the same time as the writer: a few threads with read-only connections carry out the
//! reads of `queries`, one bounded page at a time, so that no read transaction delays a checkpoint.

use super::directory::{DATABASE, WAL};
use super::queries::SqliteQueries;
use crate::StoreError;
use crate::backend::{Read, Readers};
use crate::damage::{Damage, Damages, Describe as _};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;

/// The number of reading threads. With two, a long page does not delay a short one.
const READERS: usize = 2;

/// The reading threads.
pub(super) struct ReadThreads {
    queue: Mutex<Option<mpsc::Sender<Read>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl ReadThreads {
    pub(super) fn start(directory: &Path, damages: &Arc<Damages>) -> Result<Self, rusqlite::Error> {
        let (sender, receiver) = mpsc::channel::<Read>();
        let receiver = Arc::new(Mutex::new(receiver));
        let mut threads = Vec::new();
        for number in 0..READERS {
            let conn = connect(directory)?;
            let receiver = Arc::clone(&receiver);
            let damages = Arc::clone(damages);
            let body = move || {
                loop {
                    let next = receiver
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .recv();
                    let Ok(read) = next else { return };
                    read(&SqliteQueries {
                        conn: &conn,
                        damages: &damages,
                    });
                }
            };
            let thread = std::thread::Builder::new()
                .name(format!("lastword-read-{number}"))
                .spawn(body)
                .map_err(|e| rusqlite::Error::InvalidParameterName(e.to_string()))?;
            threads.push(thread);
        }
        Ok(Self {
            queue: Mutex::new(Some(sender)),
            threads: Mutex::new(threads),
        })
    }
}

impl Readers for ReadThreads {
    fn submit(&self, read: Read) {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        // If the threads have ended, the read is dropped, which reports the error to its caller.
        let _sent = queue.as_ref().map(|queue| queue.send(read));
    }

    fn close(&self) {
        self.queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            let _panicked_reads_were_answered = thread.join();
        }
    }
}

/// An error of a read's content is damage on disk, since a read has no content of its own.
pub(super) fn unreadable(error: StoreError) -> StoreError {
    Damage::of("").name(error)
}

/// A connection that cannot write, migrate or checkpoint.
pub(super) fn connect(directory: &Path) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    configured(Connection::open_with_flags(
        directory.join(DATABASE),
        flags,
    )?)
}

fn configured(conn: Connection) -> Result<Connection, rusqlite::Error> {
    conn.busy_timeout(std::time::Duration::from_secs(2))?;
    conn.set_prepared_statement_cache_capacity(32);
    conn.pragma_update(None, "query_only", true)?;
    Ok(conn)
}

/// As [`connect`], also where nothing can be written, such as on a read-only file system: SQLite
/// creates files beside a database even to read it. If the write-ahead log is empty or missing, and
/// cannot change there, none are needed.
pub(super) fn connect_any(directory: &Path) -> Result<Connection, rusqlite::Error> {
    let conn = connect(directory)?;
    let Err(error) = super::open::format_of(&conn) else {
        return Ok(conn);
    };
    let code = error.sqlite_error_code();
    let unwritable = matches!(code, Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly));
    let log = std::fs::metadata(directory.join(WAL));
    if !unwritable || log.is_ok_and(|log| log.len() > 0) {
        return Err(error);
    }
    let path = directory.canonicalize().map_err(|_| error)?;
    let mut uri = b"file:".to_vec();
    for byte in path.join(DATABASE).as_os_str().as_bytes() {
        match byte {
            b'%' | b'?' | b'#' => uri.extend(format!("%{byte:02x}").bytes()),
            byte => uri.push(*byte),
        }
    }
    uri.extend(b"?immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    configured(Connection::open_with_flags(OsString::from_vec(uri), flags)?)
}
