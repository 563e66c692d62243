//! Locks files, so that one change of a file happens at a time over all runs of a host.
//!
//! A file is identified by its directory's device and inode and by its name there, so that every
//! path, link and workspace leads to the same lock. Its own inode would not do: each change gives
//! it another one.

use cap_std::fs::{Dir, MetadataExt as _};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::OwnedMutexGuard;

/// Identifies a file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct FileKey {
    device: u64,
    directory: u64,
    name: String,
}

impl FileKey {
    /// The key of a name in a directory.
    pub(super) fn of(directory: &Dir, name: &str) -> io::Result<Self> {
        let metadata = directory.dir_metadata()?;
        Ok(Self {
            device: metadata.dev(),
            directory: metadata.ino(),
            name: name.to_owned(),
        })
    }
}

/// The locks of one host: one for each file that a call changes or waits for.
#[derive(Default)]
pub struct FileLocks(Mutex<HashMap<FileKey, LockEntry>>);

/// A lock, and how many calls hold it or wait for it.
#[derive(Default)]
struct LockEntry {
    users: usize,
    lock: Arc<tokio::sync::Mutex<()>>,
}

/// A lock that is held until this is dropped, or that is waited for.
pub(super) struct FileLockGuard {
    locks: Arc<FileLocks>,
    key: FileKey,
    guard: Option<OwnedMutexGuard<()>>,
}

impl FileLocks {
    fn table(&self) -> MutexGuard<'_, HashMap<FileKey, LockEntry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks a file; waiting calls get the lock in order. Dropping the future ends the wait.
    pub(super) async fn lock(self: &Arc<Self>, key: FileKey) -> FileLockGuard {
        let lock = {
            let mut table = self.table();
            let shared = table.entry(key.clone()).or_default();
            shared.users += 1;
            Arc::clone(&shared.lock)
        };

        let mut locked = FileLockGuard {
            locks: Arc::clone(self),
            key,
            guard: None,
        };
        locked.guard = Some(lock.lock_owned().await);
        locked
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.table().len()
    }

    /// How many calls hold a file's lock or wait for it.
    #[cfg(test)]
    pub(super) fn users(&self, key: &FileKey) -> usize {
        self.table().get(key).map_or(0, |shared| shared.users)
    }
}

impl Drop for FileLockGuard {
    fn drop(&mut self) {
        self.guard = None;
        if let Entry::Occupied(mut shared) = self.locks.table().entry(self.key.clone()) {
            shared.get_mut().users -= 1;
            if shared.get().users == 0 {
                shared.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    fn key(name: &str) -> FileKey {
        FileKey {
            device: 1,
            directory: 2,
            name: name.to_owned(),
        }
    }

    #[tokio::test]
    async fn a_file_has_one_holder_and_those_that_wait_come_in_order() {
        let locks = Arc::new(FileLocks::default());
        let held = locks.lock(key("a")).await;
        let mut first = Box::pin(locks.lock(key("a")));
        let mut second = Box::pin(locks.lock(key("a")));

        assert!(first.as_mut().now_or_never().is_none());
        assert!(second.as_mut().now_or_never().is_none());

        let other = locks.lock(key("b")).now_or_never();
        assert!(other.is_some(), "another file is free");
        drop(held);
        assert!(second.as_mut().now_or_never().is_none());
        drop(first.await);
        assert!(second.now_or_never().is_some());
    }

    #[tokio::test]
    async fn an_unused_lock_is_not_kept() {
        let locks = Arc::new(FileLocks::default());
        let held = locks.lock(key("a")).await;
        let mut given_up = Box::pin(locks.lock(key("a")));
        let mut waits = Box::pin(locks.lock(key("a")));

        assert!(given_up.as_mut().now_or_never().is_none());
        assert!(waits.as_mut().now_or_never().is_none());
        drop(given_up);
        drop(held);
        assert_eq!(locks.len(), 1);

        let held = waits.now_or_never().expect("it is free");
        drop(held);
        assert_eq!(locks.len(), 0);

        // A future that was never polled never waits.
        drop(locks.lock(key("b")));
        assert_eq!(locks.len(), 0);
    }
}
