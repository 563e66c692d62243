//! The process's file descriptors: how many all guests may hold together, how many one, and the
//! limit that the kernel sets. Knows neither files nor what a descriptor is of.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs::File;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

/// What of the process's limit all guests together may hold: a half. The rest is the host's, for
/// its database, its connections, its commands and servers.
const SHARE: u64 = 2;
/// What of that is kept for the directories that a guest is given, so that guests which open
/// all they can leave every other one its `/workspace` and its `/tmp`.
const KEPT_FOR_DIRECTORIES: usize = 4;

/// Raises this process's soft limit to its hard one, and returns the soft limit from before.
pub fn raise() -> std::io::Result<Option<u64>> {
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: before.maximum,
        ..before
    };
    setrlimit(Resource::Nofile, raised)?;
    Ok(before.current)
}

/// What the guests of one host may hold together.
#[derive(Debug)]
pub struct Descriptors {
    left: AtomicUsize,
    /// Of those left, what only the directories that a guest is given may take.
    kept: usize,
}

impl Descriptors {
    /// The guests' share of the limit as it is now. Says so where `runs` with `each` could hold
    /// more.
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
            kept: share / KEPT_FOR_DIRECTORIES,
        })
    }

    fn take(&self, kept: usize) -> bool {
        let take = |left: usize| left.checked_sub(1).filter(|rest| *rest >= kept);
        self.left
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, take)
            .is_ok()
    }
}

/// What one guest holds, and may hold.
#[derive(Debug)]
pub struct Held {
    shared: Arc<Descriptors>,
    max: usize,
    /// What it opened; a file is gone once no descriptor, stream or operation of the guest's
    /// has it any more.
    open: Vec<Weak<File>>,
    /// Taken of what is shared: as many as were ever open at once.
    taken: usize,
}

impl Held {
    /// What one run may hold: at most `max`, and its share of the process's.
    pub fn new(shared: Arc<Descriptors>, max: u32) -> Self {
        Self {
            shared,
            max: max as usize,
            open: Vec::new(),
            taken: 0,
        }
    }

    /// Whether the guest may open one more.
    pub(super) fn has_room(&mut self) -> bool {
        self.take_one(self.shared.kept)
    }

    /// Whether it may be given one more directory.
    pub(super) fn has_room_for_directory(&mut self) -> bool {
        self.take_one(0)
    }

    fn take_one(&mut self, kept: usize) -> bool {
        self.open.retain(|file| file.strong_count() > 0);

        if self.open.len() >= self.max {
            return false;
        }

        if self.open.len() == self.taken {
            if !self.shared.take(kept) {
                return false;
            }
            self.taken += 1;
        }

        true
    }

    /// Counts what was opened.
    pub(super) fn opened(&mut self, file: &Arc<File>) {
        self.open.push(Arc::downgrade(file));
    }
}

impl Drop for Held {
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

    /// Opens until it is refused.
    fn fill(held: &mut Held) -> Vec<Arc<File>> {
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
    fn a_guest_holds_its_bound_and_what_it_closed_it_may_open_again() {
        let shared = Descriptors::of(100);
        let mut held = Held::new(Arc::clone(&shared), 10);
        let mut files = fill(&mut held);

        assert_eq!(files.len(), 10);
        // What a stream or an operation still has is not closed.
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
            .map(|_| Held::new(Arc::clone(&shared), 10))
            .collect();
        let files: Vec<_> = greedy.iter_mut().map(fill).collect();

        assert_eq!(files.iter().flatten().count(), 75);
        let mut other = Held::new(Arc::clone(&shared), 10);
        assert!(!other.has_room());

        let mut given = 0;

        while other.has_room_for_directory() {
            other.opened(&Arc::clone(&files[0][0]));
            given += 1;
        }

        assert_eq!(given, 10);
    }
}
