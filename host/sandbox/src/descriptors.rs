//! The process's file descriptors: how many all guests may hold together, how many one guest may
//! hold, and the limit of the kernel.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs::File;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

/// All guests together may hold half of the process's limit. The host has the rest, for its
/// database, connections, commands and servers.
const SHARE: u64 = 2;
/// The fraction of the guests' share that is reserved for preopened directories, so that guests
/// that open as many files as they can still leave others their `/workspace` and `/tmp`.
const DIRECTORIES_SHARE: usize = 4;

/// Raises this process's soft limit to its hard one, and returns the previous soft limit.
pub fn raise() -> std::io::Result<Option<u64>> {
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: before.maximum,
        ..before
    };
    setrlimit(Resource::Nofile, raised)?;
    Ok(before.current)
}

/// The descriptors that the guests of one host may hold together.
#[derive(Debug)]
pub struct Descriptors {
    left: AtomicUsize,
    /// How many of the remaining ones only preopened directories may take.
    reserved: usize,
}

impl Descriptors {
    /// Returns the guests' share of the current limit. Logs a warning if `runs` guests with `each`
    /// descriptors could hold more.
    pub fn of_process(runs: u32, each: u32) -> Arc<Self> {
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let share = limit / SHARE;
        if u64::from(runs).saturating_mul(u64::from(each)) > share {
            tracing::warn!(
                limit,
                share,
                runs,
                each,
                "guests share fewer file descriptors than they may have each: raise the hard \
                 limit of open files (`ulimit -Hn`), or allow fewer runs at the same time"
            );
        }

        Self::of(usize::try_from(share).unwrap_or(usize::MAX))
    }

    fn of(share: usize) -> Arc<Self> {
        Arc::new(Self {
            left: AtomicUsize::new(share),
            reserved: share / DIRECTORIES_SHARE,
        })
    }

    fn take(&self, reserved: usize) -> bool {
        let take = |left: usize| left.checked_sub(1).filter(|rest| *rest >= reserved);
        self.left
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, take)
            .is_ok()
    }
}

/// The descriptors of one guest.
#[derive(Debug)]
pub struct GuestDescriptors {
    shared: Arc<Descriptors>,
    max: usize,
    /// The files that it opened. A file is closed once no descriptor, stream or operation of the
    /// guest refers to it.
    open: Vec<Weak<File>>,
    /// The number taken from the shared pool: the highest number that was open at once.
    taken: usize,
}

impl GuestDescriptors {
    /// Creates the count of one run, which may hold at most `max` descriptors and its share of the
    /// process's.
    pub fn new(shared: Arc<Descriptors>, max: u32) -> Self {
        Self {
            shared,
            max: max as usize,
            open: Vec::new(),
            taken: 0,
        }
    }

    /// Whether the guest may open one more file.
    pub(super) fn has_room(&mut self) -> bool {
        self.take_one(self.shared.reserved)
    }

    /// Whether the guest may be given one more directory.
    pub(super) fn has_room_for_directory(&mut self) -> bool {
        self.take_one(0)
    }

    fn take_one(&mut self, reserved: usize) -> bool {
        self.open.retain(|file| file.strong_count() > 0);

        if self.open.len() >= self.max {
            return false;
        }

        if self.open.len() == self.taken {
            if !self.shared.take(reserved) {
                return false;
            }
            self.taken += 1;
        }

        true
    }

    /// Counts an opened file.
    pub(super) fn opened(&mut self, file: &Arc<File>) {
        self.open.push(Arc::downgrade(file));
    }
}

impl Drop for GuestDescriptors {
    fn drop(&mut self) {
        self.shared.left.fetch_add(self.taken, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Arc<File> {
        Arc::new(File::open("/dev/null").unwrap())
    }

    /// Opens files until one is refused.
    fn fill(held: &mut GuestDescriptors) -> Vec<Arc<File>> {
        std::iter::from_fn(|| {
            held.has_room().then(|| {
                let file = file();
                held.opened(&file);
                file
            })
        })
        .collect()
    }

    #[test]
    fn a_guest_may_reopen_up_to_its_bound_what_it_closed() {
        let shared = Descriptors::of(100);
        let mut held = GuestDescriptors::new(Arc::clone(&shared), 10);
        let mut files = fill(&mut held);

        assert_eq!(files.len(), 10);
        // A file that a stream or an operation still refers to is not closed.
        let stream = files.pop();
        assert!(!held.has_room());
        drop(stream);
        files.truncate(5);
        assert_eq!(fill(&mut held).len(), 5);
        assert_eq!(shared.left.load(Ordering::Acquire), 90);
        drop(held);
        assert_eq!(shared.left.load(Ordering::Acquire), 100);
    }

    #[test]
    fn guests_that_hold_all_they_can_leave_others_their_directories() {
        let shared = Descriptors::of(100);
        let mut greedy: Vec<_> = (0..20)
            .map(|_| GuestDescriptors::new(Arc::clone(&shared), 10))
            .collect();
        let files: Vec<_> = greedy.iter_mut().map(fill).collect();

        assert_eq!(files.iter().flatten().count(), 75);
        let mut other = GuestDescriptors::new(Arc::clone(&shared), 10);
        assert!(!other.has_room());

        let mut given = 0;

        while other.has_room_for_directory() {
            other.opened(&Arc::clone(&files[0][0]));
            given += 1;
        }

        assert_eq!(given, 10);
    }
}
