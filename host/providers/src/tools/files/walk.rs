//! Walks a directory tree with a few threads: skips hidden and ignored names, follows no links, and
//! opens everything by its name in an already open directory. `list` and `search` supply the
//! visitors.

use super::ignored::{self, IgnoreRules};
use super::job::StopFlag;
use super::path::{self, join};
use cap_std::fs::Dir;
use rustix::fs::{self, AtFlags, FileType, Mode, OFlags};
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many threads one walk has at most.
const THREADS_MAX: usize = 8;
/// How many names one walk visits.
const ENTRIES_MAX: usize = 500_000;
/// How deep a walk goes.
pub(super) const DEPTH_MAX: usize = 64;
/// How long one walk may take.
pub(super) const TIME_MAX: Duration = Duration::from_secs(60);
/// Bytes of a file with ignore rules.
const RULES_BYTES_MAX: u64 = 1 << 20;
/// How many files one thread takes at a time.
const CHUNK: usize = 64;

/// A file, directory or link that a walk found.
pub(super) struct Entry<'a> {
    directory: &'a OwnedFd,
    name: &'a str,
    pub(super) path: String,
    pub(super) kind: Kind,
    /// 1 for an entry of the directory that the walk started at.
    pub(super) depth: usize,
}

/// The kind of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    Link,
    /// A pipe, a socket or a device.
    Other,
}

impl Entry<'_> {
    /// Opens the entry if it is still a regular file, without blocking.
    pub(super) fn open(&self) -> rustix::io::Result<File> {
        open_regular(self.directory, self.name)
    }
}

fn open_regular(directory: impl AsFd, name: &str) -> rustix::io::Result<File> {
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = fs::openat(directory, name, flags, Mode::empty())?;
    match FileType::from_raw_mode(fs::fstat(&file)?.st_mode) {
        FileType::RegularFile => Ok(file.into()),
        _ => Err(rustix::io::Errno::INVAL),
    }
}

/// Visits the entries; each thread has its own visitor.
pub(super) trait Visit {
    /// Whether to enter the directory of this path.
    fn enter(&mut self, path: &str, depth: usize) -> bool;
    /// Visits an entry that is neither hidden nor ignored.
    fn entry(&mut self, entry: Entry<'_>);
}

/// Where to start, and what to skip.
pub(super) struct Walk<'a> {
    /// The workspace.
    pub(super) root: &'a Dir,
    /// The directory to start at, by its resolved path.
    pub(super) start: &'a str,
    /// Whether to include names that begin with a dot, except `.git`.
    pub(super) hidden: bool,
    pub(super) stop: &'a StopFlag,
}

/// Whether a walk was complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WalkResult {
    Whole,
    /// It reached a bound, or was stopped.
    Part,
}

/// An open directory of the walk.
struct Level {
    fd: OwnedFd,
    path: String,
    rules: IgnoreRules,
    depth: usize,
}

enum Task {
    Directory(Arc<Level>, String),
    Entries(Arc<Level>, Vec<(String, Kind)>),
}

struct Queue {
    tasks: Vec<Task>,
    working: usize,
}

struct WalkState<'a> {
    walk: &'a Walk<'a>,
    queue: Mutex<Queue>,
    changed: Condvar,
    left: AtomicUsize,
    until: Instant,
}

impl Walk<'_> {
    /// Walks the tree; `visitor` creates one for each thread.
    ///
    /// # Errors
    ///
    /// If the start directory cannot be read.
    pub(super) fn run<V: Visit>(
        &self,
        visitor: impl Fn() -> V + Sync,
    ) -> std::io::Result<WalkResult> {
        let first = self.begin()?;

        let shared = WalkState {
            walk: self,
            queue: Mutex::new(Queue {
                tasks: vec![],
                working: 1,
            }),
            changed: Condvar::new(),
            left: AtomicUsize::new(ENTRIES_MAX),
            until: Instant::now() + TIME_MAX,
        };
        let tasks = shared.list(first, &mut visitor())?;
        shared.done(tasks);

        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            for _ in 1..threads.min(THREADS_MAX) {
                scope.spawn(|| shared.work(&mut visitor()));
            }
            shared.work(&mut visitor());
        });

        let all = shared.left.load(Ordering::Acquire) > 0 && !shared.is_over();
        Ok(if all {
            WalkResult::Whole
        } else {
            WalkResult::Part
        })
    }

    /// Opens the start directory, with the ignore rules of all directories above it.
    fn begin(&self) -> std::io::Result<Level> {
        let mut directory = self.root.try_clone()?;
        let mut path = ".".to_owned();
        let mut rules = IgnoreRules::default();

        for name in self.start.split('/').filter(|name| *name != ".") {
            rules = rules.below(&path, &read_rules(&directory, &ignored::FILES));
            directory = path::step(&directory, name)?;
            path = join(&path, name);
        }

        Ok(Level {
            fd: directory.into_std_file().into(),
            path,
            rules,
            depth: 0,
        })
    }
}

/// The texts of these files in a directory, if they exist.
fn read_rules(directory: impl AsFd, names: &[&str]) -> Vec<String> {
    let read = |name: &&str| {
        let file = open_regular(&directory, name).ok()?;
        let mut bytes = Vec::new();
        file.take(RULES_BYTES_MAX).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    };
    names.iter().filter_map(read).collect()
}

impl WalkState<'_> {
    fn is_over(&self) -> bool {
        self.walk.stop.is_set() || Instant::now() >= self.until
    }

    /// Completes a task and queues its subtasks, the last of which is taken first.
    fn done(&self, tasks: Vec<Task>) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.tasks.extend(tasks);
        queue.working -= 1;
        drop(queue);
        self.changed.notify_all();
    }

    /// Takes the next task; `None` once all are completed.
    fn next(&self) -> Option<Task> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);

        loop {
            if let Some(task) = queue.tasks.pop() {
                queue.working += 1;
                return Some(task);
            }
            if queue.working == 0 {
                return None;
            }
            let waited = self.changed.wait(queue);
            queue = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn work(&self, visitor: &mut impl Visit) {
        // Completed on drop, so that a panic does not leave other threads waiting.
        struct CompleteOnDrop<'a, 'b>(&'a WalkState<'b>, Vec<Task>);

        impl Drop for CompleteOnDrop<'_, '_> {
            fn drop(&mut self) {
                self.0.done(std::mem::take(&mut self.1));
            }
        }

        while let Some(task) = self.next() {
            let mut done = CompleteOnDrop(self, vec![]);

            match task {
                _ if self.is_over() => {}
                Task::Entries(level, entries) => self.show(&level, entries, visitor),
                Task::Directory(above, name) => {
                    // A directory that was removed or cannot be read has no entries.
                    done.1 = self
                        .enter(&above, &name)
                        .and_then(|level| self.list(level, visitor))
                        .unwrap_or_default();
                }
            }
        }
    }

    fn enter(&self, above: &Level, name: &str) -> std::io::Result<Level> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Level {
            fd: fs::openat(&above.fd, name, flags, Mode::empty())?,
            path: join(&above.path, name),
            rules: above.rules.clone(),
            depth: above.depth + 1,
        })
    }

    /// Reads a directory and creates tasks for its entries.
    fn list(&self, mut level: Level, visitor: &mut impl Visit) -> std::io::Result<Vec<Task>> {
        let mut names = Vec::new();
        let mut rules = Vec::new();

        for entry in fs::Dir::read_from(&level.fd)? {
            let entry = entry?;
            // A name that is not UTF-8 cannot be named in a call.
            let Ok(name) = entry.file_name().to_str() else {
                continue;
            };

            if matches!(name, "." | ".." | ".git") {
                continue;
            }

            let left = self
                .left
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| {
                    left.checked_sub(1)
                });

            if left.is_err() {
                break;
            }

            rules.extend(ignored::FILES.into_iter().filter(|file| *file == name));

            if self.walk.hidden || !name.starts_with('.') {
                names.push((name.to_owned(), entry.file_type()));
            }
        }

        rules.sort_unstable();
        level.rules = level
            .rules
            .below(&level.path, &read_rules(&level.fd, &rules));
        Ok(self.tasks(&Arc::new(level), names, visitor))
    }

    fn tasks(
        &self,
        level: &Arc<Level>,
        names: Vec<(String, FileType)>,
        visitor: &mut impl Visit,
    ) -> Vec<Task> {
        let mut tasks = Vec::new();
        let mut entries = Vec::new();

        for (name, kind) in names {
            let kind = self.kind(level, &name, kind);
            let path = join(&level.path, &name);
            if level.rules.ignores(&path, kind == Kind::Directory) {
                continue;
            }
            let depth = level.depth + 1;
            if kind == Kind::Directory && depth < DEPTH_MAX && visitor.enter(&path, depth) {
                tasks.push(Task::Directory(Arc::clone(level), name.clone()));
            }
            entries.push((name, kind));
        }

        while !entries.is_empty() {
            let rest = entries.split_off(entries.len().min(CHUNK));
            tasks.push(Task::Entries(Arc::clone(level), entries));
            entries = rest;
        }

        tasks
    }

    fn kind(&self, level: &Level, name: &str, kind: FileType) -> Kind {
        let kind = match kind {
            FileType::Unknown => fs::statat(&level.fd, name, AtFlags::SYMLINK_NOFOLLOW)
                .map_or(FileType::Unknown, |stat| {
                    FileType::from_raw_mode(stat.st_mode)
                }),
            known => known,
        };

        match kind {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Link,
            _ => Kind::Other,
        }
    }

    fn show(&self, level: &Level, entries: Vec<(String, Kind)>, visitor: &mut impl Visit) {
        for (name, kind) in entries {
            if self.walk.stop.is_set() {
                return;
            }
            visitor.entry(Entry {
                directory: &level.fd,
                path: join(&level.path, &name),
                name: &name,
                kind,
                depth: level.depth + 1,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::{Path, PathBuf};

    /// Replaces each entry by a link to the outside, right before it is opened.
    struct Exchange<'a> {
        place: &'a Path,
        read: &'a Mutex<Vec<String>>,
    }

    impl Exchange<'_> {
        fn exchange(&self, path: &str, outside: &str) {
            let path = self.place.join("in").join(path);
            std::fs::rename(&path, path.with_extension("moved")).expect("it moves");
            std::os::unix::fs::symlink(self.place.join(outside), path).expect("a link");
        }
    }

    impl Visit for Exchange<'_> {
        fn enter(&mut self, path: &str, _: usize) -> bool {
            self.exchange(path, "out");
            true
        }

        fn entry(&mut self, entry: Entry<'_>) {
            let mut read = self.read.lock().expect("no test panicked");
            read.push(entry.path.clone());
            if entry.kind == Kind::File {
                self.exchange(&entry.path, "out/secret");
                assert!(entry.open().is_err(), "{} leads out", entry.path);
            }
        }
    }

    #[test]
    fn an_entry_that_becomes_a_link_is_not_followed() {
        let name = format!("lastword-walk-{}", uuid::Uuid::now_v7());
        let place: PathBuf = std::env::temp_dir().join(name);

        for directory in ["in/d", "out"] {
            std::fs::create_dir_all(place.join(directory)).expect("a directory");
        }

        for file in ["in/f", "in/d/g", "out/secret"] {
            std::fs::write(place.join(file), "canary").expect("a file");
        }

        let root = File::open(place.join("in")).expect("it is there");
        let walk = Walk {
            root: &Dir::from_std_file(root),
            start: ".",
            hidden: false,
            stop: &StopFlag::default(),
        };

        let read = Mutex::default();
        let visitor = || Exchange {
            place: &place,
            read: &read,
        };
        walk.run(visitor).expect("it begins");

        let mut read = read.into_inner().expect("no test panicked");
        read.sort();
        assert_eq!(read, ["d", "f"]);
        std::fs::remove_dir_all(&place).expect("it goes");
    }
}
