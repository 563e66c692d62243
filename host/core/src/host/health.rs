//! Whether a host can do its work: for load balancers, service managers and embedders.

use super::{Host, HostInner};
use lastword_store::{Backup, BackupError, Notice, StoreError, backup};
use std::path::PathBuf;
use std::time::Duration;

/// How long the store may take to say that it can write.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether a host takes work. What is said of a failure names no paths: it may be told to anyone.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Health {
    /// It does.
    Ready,
    /// It is shutting down, and takes nothing new.
    Closing,
    /// It cannot write now: a full disk, or a lock. It may again.
    CannotWrite {
        /// Why.
        why: String,
    },
    /// It will never write again: another host took the data directory over, its files were removed
    /// or replaced, or the disk failed. What is to be done is to end it, and to start another.
    Closed {
        /// Why.
        why: String,
    },
}

impl Host {
    /// Whether it takes work. Asks the store whether it still owns its data directory and can
    /// write, and waits no longer than two seconds for it.
    ///
    /// Dropping the future has no effect.
    pub async fn health(&self) -> Health {
        self.inner.health().await
    }

    /// Completes once the host can never write again, other than by its own end: see
    /// [`Health::Closed`]. Returns why. Every run that is without its end by then is left to the
    /// next host; [`Host::shutdown`] names them.
    ///
    /// Dropping the future has no effect.
    pub async fn failed(&self) -> StoreError {
        self.inner.store.failed().await
    }

    /// What was found when the host started that its owner shall know: that the database lacks what
    /// was written to it last, that others may look into the data directory. None of it keeps a
    /// host from starting.
    #[must_use]
    pub fn notices(&self) -> &[Notice] {
        self.inner.store.notices()
    }

    /// Copies the database, as it is committed when the copy begins, into a new file that only this
    /// user can read; see [`backup`]. Holds no writer up. If the future is dropped, the copy
    /// is finished all the same.
    ///
    /// # Errors
    /// [`BackupError`]; a file that is there is never replaced.
    pub async fn backup(&self, file: impl Into<PathBuf>) -> Result<Backup, BackupError> {
        let directory = self.inner.store.directory().ok_or(BackupError::InMemory)?;
        let (directory, file) = (directory.to_owned(), file.into());
        let path = directory.clone();
        let guests = &self.inner.dispatcher.guests;
        let copied = guests.spawn_blocking(move || backup(&directory, &file));
        copied.await.unwrap_or_else(|error| {
            Err(BackupError::Io {
                what: "copy the database of",
                path,
                source: std::io::Error::other(error),
            })
        })
    }
}

impl HostInner {
    async fn health(&self) -> Health {
        if self.is_closing() {
            return Health::Closing;
        }

        let checked = tokio::select! {
            biased;
            checked = self.store.probe() => checked,
            () = self.dispatcher.clock.sleep(PATIENCE) => {
                let silent = || format!("the disk has not answered for {} s", PATIENCE.as_secs());
                let why = self.store.trouble().unwrap_or_else(silent);
                Err(StoreError::Unavailable(why))
            }
        };

        match checked {
            Ok(()) => Health::Ready,
            Err(_) if self.is_closing() => Health::Closing,
            Err(StoreError::Closed(why)) => Health::Closed { why },
            Err(StoreError::Unavailable(why)) => Health::CannotWrite { why },
            Err(other) => Health::CannotWrite {
                why: other.to_string(),
            },
        }
    }
}
