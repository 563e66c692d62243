//! Moves the write-ahead log into the database: between two batches when the log has grown, and all
//! of it at an orderly shutdown. Automatic checkpoints are off.

use super::backend::Sqlite;
use rusqlite::Connection;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Duration;

/// Pages of the write-ahead log beyond which a checkpoint is due (4 KiB each).
const CHECKPOINT_PAGES: i32 = 4000;
/// How long moving the write-ahead log into the database may take at the end, and how much of it
/// readers may hold up.
const LAST_CHECKPOINT: Duration = Duration::from_secs(2);
const LAST_BUSY: Duration = Duration::from_millis(250);

impl Sqlite {
    /// Moves the write-ahead log into the database between two batches, while no job waits
    /// unless the log has grown far beyond its size. Returns whether that was all of it.
    pub(super) fn checkpoint_if_due(&mut self, idle: bool) -> bool {
        let pages = self.wal_pages.load(Ordering::Relaxed);
        let due = pages >= CHECKPOINT_PAGES && idle;
        if !due && pages < 4 * CHECKPOINT_PAGES {
            return false;
        }

        // The next commit counts again, even if a reader kept part of the log from being moved.
        self.wal_pages.store(0, Ordering::Relaxed);
        match checkpoint(&self.conn, "PASSIVE") {
            Ok(whole) => whole,
            Err(error) => {
                tracing::warn!(%error, "the write-ahead log could not be moved into the database");
                false
            }
        }
    }

    /// Moves all of the write-ahead log into the database at shutdown, so that one file holds
    /// everything. The time for this is bounded, and a failure is harmless: the next start reads
    /// the log.
    pub(super) fn leave_whole(self) {
        let interrupt = self.conn.get_interrupt_handle();
        let (done, over) = mpsc::channel::<()>();
        let watch = std::thread::Builder::new()
            .name("lastword-close".to_owned())
            .spawn(move || {
                if over.recv_timeout(LAST_CHECKPOINT) == Err(mpsc::RecvTimeoutError::Timeout) {
                    interrupt.interrupt();
                }
            });
        let whole = match &watch {
            Ok(_) => {
                let patient = self.conn.busy_timeout(LAST_BUSY);
                patient.and_then(|()| checkpoint(&self.conn, "TRUNCATE"))
            }
            // Without a bound it is left to the next start.
            Err(_) => Ok(false),
        };
        drop(done);
        if let Ok(watch) = watch {
            let _it_only_waits = watch.join();
        }
        if !matches!(whole, Ok(true)) {
            tracing::info!(
                ?whole,
                "some of what is committed is left in the write-ahead log"
            );
        }
        if let Some(record) = &self.record {
            record.sync();
        }
    }
}

/// Moves what is in the write-ahead log into the database. Returns whether that was all of it.
fn checkpoint(conn: &Connection, how: &str) -> Result<bool, rusqlite::Error> {
    let sql = format!("PRAGMA wal_checkpoint({how})");
    conn.query_row(&sql, [], |row| {
        let (busy, log, moved): (bool, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(!busy && log == moved)
    })
}
