//! The health of a host, for load balancers, service managers and embedders.

use super::{Host, HostInner};
use lastword_store::{Backup, BackupError, Notice, StoreError, backup};
use std::path::PathBuf;
use std::time::Duration;

/// How long the store may take to report whether it can write.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether a host accepts work. The texts name no paths, so that they can be shown to anyone.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Health {
    /// It accepts work.
    Ready,
    /// It is shutting down, and accepts no work.
    Closing,
    /// It cannot write now, because the disk is full or a lock is held. This may pass.
    CannotWrite {
        /// The reason.
        why: String,
    },
    /// Its store does not answer: the disk hangs, or the host does. Unlike a refusal, this is a
    /// reason to end the process.
    Stalled {
        /// The reason.
        why: String,
    },
    /// It will never write again: another host took over the data directory, its files were removed
    /// or replaced, or the disk failed. End this host, and start another one.
    Closed {
        /// The reason.
        why: String,
    },
}

impl Host {
    /// Returns whether the host accepts work. Asks the store whether it still owns its data
    /// directory and can write, and waits at most two seconds for the reply.
    ///
    /// Dropping the future has no effect.
    pub async fn health(&self) -> Health {
        self.inner.health().await
    }

    /// Completes once the host can never write again for a reason other than its own shutdown: see
    /// [`Health::Closed`]. Returns the reason. The next host ends every run that has no end by
    /// then; [`Host::shutdown`] names them.
    ///
    /// Dropping the future has no effect.
    pub async fn failed(&self) -> StoreError {
        self.inner.store.failed().await
    }

    /// Returns what the host found at its start and its operator should know, for example that the
    /// last commits are missing from the database, or that other users can read the data directory.
    /// None of this prevents a host from starting.
    #[must_use]
    pub fn notices(&self) -> &[Notice] {
        self.inner.store.notices()
    }

    /// Copies the database, with everything that is committed when the copy begins, into a new file
    /// that only this user can read; see [`backup`]. Does not delay the writer. If the future is
    /// dropped, the copy is completed all the same.
    ///
    /// # Errors
    /// [`BackupError`]. An existing file is never replaced.
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
            () = self.dispatcher.clock.sleep(PATIENCE) => match self.store.trouble() {
                Some(why) => Err(StoreError::Unavailable(why)),
                None => {
                    let why = format!("the disk has not answered for {} s", PATIENCE.as_secs());
                    return Health::Stalled { why };
                }
            },
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
