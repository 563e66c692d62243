//! What happens to the names in a directory, as the kernel reports it, so that a test knows how far
//! a tool has come without asking the tool.

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

/// Names in a directory that something has happened to since this was made.
pub struct Watch {
    told: OwnedFd,
    names: BTreeSet<String>,
}

impl Watch {
    /// Watches for names that are opened.
    ///
    /// # Panics
    /// When the kernel does not tell.
    #[must_use]
    pub fn opened(directory: &Path) -> Self {
        Self::of(directory, WatchFlags::OPEN)
    }

    /// Watches for names that are created.
    ///
    /// # Panics
    /// When the kernel does not tell.
    #[must_use]
    pub fn made(directory: &Path) -> Self {
        Self::of(directory, WatchFlags::CREATE)
    }

    fn of(directory: &Path, what: WatchFlags) -> Self {
        let told = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC);
        let told = told.expect("the kernel tells");
        inotify::add_watch(&told, directory, what).expect("the directory is there");
        let names = BTreeSet::new();
        Self { told, names }
    }

    /// Waits until a name is among them that begins so.
    ///
    /// # Panics
    /// When the kernel does not tell.
    pub async fn until(&mut self, begins: &str) {
        while !self.names().iter().any(|name| name.starts_with(begins)) {
            tokio::task::yield_now().await;
        }
    }

    /// The names so far.
    ///
    /// # Panics
    /// When the kernel told more than it keeps.
    pub fn names(&mut self) -> &BTreeSet<String> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = Reader::new(&self.told, &mut buffer);
        loop {
            match events.next() {
                Ok(event) => {
                    let overrun = event.events().contains(ReadFlags::QUEUE_OVERFLOW);
                    assert!(!overrun, "the kernel told more than it keeps");
                    let name = event.file_name().map(|name| name.to_string_lossy());
                    self.names.extend(name.map(String::from));
                }
                Err(Errno::AGAIN) => return &self.names,
                Err(error) => panic!("the kernel does not tell: {error}"),
            }
        }
    }
}
