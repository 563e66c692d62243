//! Reads beside the writer: a few threads with read-only connections, one bounded page at a
//! time, so that no read transaction holds a checkpoint up. Knows no table.

use super::StoreError;
use super::damage::{Damage, Damages};
use super::directory::{DATABASE, WAL};
use super::writer::SHUT_DOWN;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// Threads that read. Two keep a long page from holding up a short one.
const READERS: usize = 2;

type Read = Box<dyn FnOnce(&Connection) + Send>;

/// The reading threads.
pub(super) struct Readers {
    queue: Mutex<Option<mpsc::Sender<Read>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    damages: Arc<Damages>,
}

impl Readers {
    pub(super) fn start(directory: &Path, damages: Arc<Damages>) -> Result<Self, rusqlite::Error> {
        let (sender, receiver) = mpsc::channel::<Read>();
        let receiver = Arc::new(Mutex::new(receiver));
        let mut threads = Vec::new();
        for number in 0..READERS {
            let conn = connect(directory)?;
            let receiver = Arc::clone(&receiver);
            let body = move || {
                loop {
                    let next = receiver
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .recv();
                    let Ok(read) = next else { return };
                    read(&conn);
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
            damages,
        })
    }

    /// Reads one page. The read itself is short and is not cut off when the future is dropped.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, result) = oneshot::channel();
        let sent = {
            let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.as_ref().is_some_and(|queue| {
                let read: Read = Box::new(move |conn| {
                    let _nobody_waits = answer.send(read(conn));
                });
                queue.send(read).is_ok()
            })
        };
        let closed = || StoreError::Closed(SHUT_DOWN.to_owned());
        if !sent {
            return Err(closed());
        }
        let result = result.await.map_err(|_| closed())?;
        result
            .map_err(unreadable)
            .inspect_err(|error| self.damages.note_error(error))
    }

    /// Ends the threads after what they are reading.
    pub(super) fn close(&self) {
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

/// What is wrong with what is read is wrong on disk: reading brings no content of its own.
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

/// The same, also where nothing can be written, such as a read-only file system: SQLite wants to
/// make files beside a database even to read it. One whose write-ahead log is empty or missing,
/// and that cannot change there, needs none.
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
