//! Removes a tree that a guest or a command has left, however deeply it is nested: with a bounded
//! number of descriptors, without recursion, and never outside the tree.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fstat, openat, statat, unlinkat};
use std::ffi::CString;
use std::io;
use std::path::Path;

/// How many directories are open at once. These are the deepest ones; those above are opened again
/// on the way back.
const OPEN_MAX: usize = 16;

/// A directory on the path from the top of the tree to the one being emptied.
struct Level {
    /// Device and inode number, which identify the directory when it is opened again.
    identity: (u64, u64),
    /// The name in the parent directory.
    name: CString,
    open: Option<Dir>,
}

impl Level {
    fn enter(above: BorrowedFd<'_>, name: CString) -> io::Result<Self> {
        let opened = open(above, &name)?;
        Ok(Self {
            identity: identity(&opened)?,
            name,
            open: Some(Dir::new(opened)?),
        })
    }

    /// Opens the directory again, as the parent of `below`. Fails if `below` was moved meanwhile,
    /// since its new parent must not be emptied.
    fn reenter(&mut self, below: &Level) -> io::Result<()> {
        if self.open.is_some() {
            return Ok(());
        }

        let opened = open(below.directory()?.fd()?, c"..")?;
        if identity(&opened)? != self.identity {
            return Err(io::Error::other("it was moved while it was removed"));
        }

        self.open = Some(Dir::new(opened)?);
        Ok(())
    }

    fn directory(&self) -> io::Result<&Dir> {
        let closed = || io::Error::other("the directory is not open");
        self.open.as_ref().ok_or_else(closed)
    }

    /// Removes entries up to the first directory that is not empty, and returns its name.
    fn clear(&mut self) -> io::Result<Option<CString>> {
        let Some(directory) = &mut self.open else {
            return Ok(None);
        };
        while let Some(entry) = directory.read() {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }

            let at = directory.fd()?;
            let kind = match entry.file_type() {
                FileType::Unknown => {
                    let found = statat(at, name, AtFlags::SYMLINK_NOFOLLOW)?;
                    FileType::from_raw_mode(found.st_mode)
                }
                known => known,
            };

            if kind != FileType::Directory {
                unlinkat(at, name, AtFlags::empty())?;
            } else if unlinkat(at, name, AtFlags::REMOVEDIR).is_err() {
                return Ok(Some(name.to_owned()));
            }
        }

        Ok(None)
    }
}

fn open(at: BorrowedFd<'_>, name: &std::ffi::CStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(at, name, flags, Mode::empty())?)
}

fn identity(directory: &OwnedFd) -> io::Result<(u64, u64)> {
    let found = fstat(directory)?;
    Ok((found.st_dev, found.st_ino))
}

/// Removes a directory with everything in it. Links are removed, not followed. Blocks.
///
/// # Errors
///
/// The first entry that cannot be removed ends the removal; the remaining ones stay.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    let top = CString::new(path.as_os_str().as_encoded_bytes())?;
    let mut levels = vec![Level::enter(CWD.as_fd(), top)?];
    while let Some(deepest) = levels.last_mut() {
        if let Some(name) = deepest.clear()? {
            let below = Level::enter(deepest.directory()?.fd()?, name)?;
            levels.push(below);
            if let Some(above) = levels.len().checked_sub(OPEN_MAX + 1) {
                levels[above].open = None;
            }
            continue;
        }

        let Some(cleared) = levels.pop() else { break };
        if let Some(above) = levels.last_mut() {
            above.reenter(&cleared)?;
            unlinkat(above.directory()?.fd()?, &cleared.name, AtFlags::REMOVEDIR)?;
        }
    }

    std::fs::remove_dir(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::mkdirat;
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    /// Set in the environment of the process that the test starts, so that it knows its role.
    const ALONE: &str = "LASTWORD_TEST_REMOVES_ALONE";
    const DEPTH: usize = 15_000;

    fn folder(name: &str) -> PathBuf {
        let name = format!("lastword-removing-{name}-{}", uuid::Uuid::now_v7());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).unwrap();
        folder
    }

    /// Nests directories, each with a file that sorts before the next directory and one that sorts
    /// after it.
    fn nest(top: &Path, depth: usize) {
        let mut at = rustix::fs::open(top, OFlags::DIRECTORY, Mode::empty()).unwrap();

        for _ in 0..depth {
            for file in [c"a", c"z"] {
                let flags = OFlags::CREATE | OFlags::WRONLY;
                drop(openat(&at, file, flags, Mode::RUSR | Mode::WUSR).unwrap());
            }
            mkdirat(&at, c"d", Mode::RWXU).unwrap();
            at = openat(&at, c"d", OFlags::DIRECTORY, Mode::empty()).unwrap();
        }
    }

    /// Runs in a process of its own, since the limit on descriptors is that of the whole process.
    #[test]
    fn removing_deep_trees_needs_neither_stack_nor_descriptors() {
        if std::env::var_os(ALONE).is_none() {
            let name = "removing::tests::removing_deep_trees_needs_neither_stack_nor_descriptors";
            let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
            alone
                .args(["--exact", name, "--test-threads=1"])
                .env(ALONE, "1");
            let output = alone.output().unwrap();
            let stdout = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{:?}: {stdout}", output.status);
            assert!(stdout.contains("1 passed"), "{stdout}");
            return;
        }

        let top = folder("deep");
        nest(&top, DEPTH);

        let most = Rlimit {
            current: Some(48),
            ..getrlimit(Resource::Nofile)
        };
        setrlimit(Resource::Nofile, most).unwrap();

        let removing = top.clone();
        let small = std::thread::Builder::new().stack_size(64 << 10);
        let removed = small.spawn(move || remove_tree(&removing)).unwrap();

        removed.join().unwrap().unwrap();
        assert!(!top.exists());
    }

    #[test]
    fn removes_wide_trees_but_not_the_targets_of_links() {
        let (top, other) = (folder("wide"), folder("other"));
        std::fs::write(other.join("kept"), "").unwrap();

        for at in 0..40 {
            let below = top.join(format!("{at}"));
            std::fs::create_dir(&below).unwrap();
            nest(&below, at);
            symlink(&other, below.join("link")).unwrap();
        }

        symlink(&other, top.join("link")).unwrap();
        remove_tree(&top).unwrap();
        assert!(!top.exists());
        assert!(other.join("kept").exists());
        std::fs::remove_dir_all(other).unwrap();
    }

    #[test]
    fn does_not_remove_a_tree_through_a_link() {
        let (top, other) = (folder("links"), folder("target"));
        std::fs::write(other.join("kept"), "").unwrap();
        symlink(&other, top.join("link")).unwrap();
        assert!(remove_tree(&top.join("link")).is_err());
        assert!(other.join("kept").exists());
        assert!(remove_tree(&top.join("nothing")).is_err());

        for folder in [top, other] {
            remove_tree(&folder).unwrap();
        }
    }

    #[test]
    fn does_not_follow_a_directory_that_was_moved_away() {
        let (top, other) = (folder("moved"), folder("elsewhere"));
        std::fs::write(other.join("kept"), "").unwrap();
        std::fs::create_dir_all(top.join("a/b")).unwrap();

        let mut above = Level::enter(CWD.as_fd(), name_of(&top.join("a"))).unwrap();
        let below = Level::enter(above.directory().unwrap().fd().unwrap(), c"b".to_owned());
        let below = below.unwrap();

        above.open = None;
        std::fs::rename(top.join("a/b"), other.join("b")).unwrap();
        assert!(above.reenter(&below).is_err());

        for folder in [top, other] {
            remove_tree(&folder).unwrap();
        }
    }

    fn name_of(path: &Path) -> CString {
        CString::new(path.as_os_str().as_encoded_bytes()).unwrap()
    }
}
