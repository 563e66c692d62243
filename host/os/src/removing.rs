//! Removes what a guest or a command has left, however deep they nested it: with a bounded
//! number of descriptors, without recursion, and never outside. Knows not who left it.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fstat, openat, statat, unlinkat};
use std::ffi::CString;
use std::io;
use std::path::Path;

/// Directories that are open at once, the deepest ones; those above are opened again on the
/// way back.
const OPEN_MAX: usize = 16;

/// A directory on the way from the top to where the removal is.
struct Level {
    /// Device and number, by which it is known when it is come back to.
    identity: (u64, u64),
    /// Its name in the one above.
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

    /// Opens it again, from the one below it. Somebody may have moved that one elsewhere, and
    /// what is elsewhere is not to be removed.
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

    /// Removes what is in it up to the first directory that is not empty, and answers its name.
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
/// The first entry that cannot be removed ends it; what is left is left.
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

    /// Says to the process that this test starts that it is that process.
    const ALONE: &str = "LASTWORD_TEST_REMOVES_ALONE";
    const DEPTH: usize = 15_000;

    fn folder(name: &str) -> PathBuf {
        let name = format!("lastword-removing-{name}-{}", uuid::Uuid::now_v7());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).unwrap();
        folder
    }

    /// Directories one in the other, each with files before and behind the next.
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

    /// In a process of its own: the bound of descriptors is the whole process's.
    #[test]
    fn what_is_nested_deep_needs_neither_stack_nor_descriptors() {
        if std::env::var_os(ALONE).is_none() {
            let name = "removing::tests::what_is_nested_deep_needs_neither_stack_nor_descriptors";
            let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
            alone
                .args(["--exact", name, "--test-threads=1"])
                .env(ALONE, "1");
            let output = alone.output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{:?}: {said}", output.status);
            assert!(said.contains("1 passed"), "{said}");
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
    fn what_is_wide_goes_and_what_links_lead_to_stays() {
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
    fn a_link_is_no_directory_to_remove() {
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
    fn what_was_moved_away_is_not_come_back_to() {
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
