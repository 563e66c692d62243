//! The data directory: its ownership, its file system, its permissions, and whether the open files
//! are still in their places. Defines the names of the files, which other modules read and write.

use crate::notice::Notice;
use crate::{OpenError, StoreError};
use rustix::fs::{FlockOperation, flock, statfs};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The database's file name inside a data directory.
pub(super) const DATABASE: &str = "lastword.db";
/// Its write-ahead log, as SQLite names it.
pub(super) const WAL: &str = "lastword.db-wal";
const WAL_INDEX: &str = "lastword.db-shm";
/// The record of the last commit.
pub(super) const COMMITTED: &str = "lastword.committed";
/// The causes of ends that are not committed.
pub(super) const CAUSES: &str = "lastword.causes";
const LOCK: &str = "owner.lock";
/// The largest number of bytes of the lock file that are read.
const PID_BYTES_MAX: u64 = 32;
/// How often locking the lock file is tried while a reader inspects it, and the pause in between.
const TRIES: u32 = 500;
const BETWEEN_TRIES: Duration = Duration::from_millis(1);
/// The permissions of files that other users could read otherwise.
const PRIVATE: u32 = 0o600;

/// Returns the number of bytes of the database and of its write-ahead log; 0 for a file that cannot
/// be examined.
pub(crate) fn bytes_on_disk(directory: &Path) -> (u64, u64) {
    let bytes = |name: &str| {
        let metadata = std::fs::metadata(directory.join(name));
        metadata.map_or(0, |metadata| metadata.len())
    };
    (bytes(DATABASE), bytes(WAL))
}

/// Ownership of a data directory, until it is dropped or the process ends.
///
/// There are two locks. That of the directory decides, since the directory cannot be removed while
/// its owner has it open. That of the lock file informs readers and earlier versions, and the file
/// names the owner.
#[derive(Debug)]
pub(super) struct Ownership {
    lock: File,
    _folder: File,
}

/// Creates the directory if it is missing, readable by this user only.
pub(super) fn prepare(directory: &Path) -> Result<PathBuf, OpenError> {
    let io = |what, source| OpenError::Io {
        what,
        path: directory.to_owned(),
        source,
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|e| io("create the data directory", e))?;
    let directory = directory
        .canonicalize()
        .map_err(|e| io("resolve the data directory", e))?;
    refuse_network(&directory)?;
    Ok(directory)
}

/// Takes ownership of the directory for this process.
pub(super) fn own(directory: &Path) -> Result<Ownership, OpenError> {
    let path = directory.join(LOCK);
    let io = |what, path: &Path, source| OpenError::Io {
        what,
        path: path.to_owned(),
        source,
    };
    let folder = File::open(directory).map_err(|e| io("open", directory, e))?;
    if !lock(&folder).map_err(|e| io("lock", directory, e))? {
        return Err(in_use(directory));
    }
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|e| io("open the lock file", &path, e))?;
    let mut tries = 0;
    while !lock(&file).map_err(|e| io("lock", &path, e))? {
        tries += 1;
        if tries == TRIES {
            return Err(in_use(directory));
        }
        // A reader holds the lock only for a moment.
        std::thread::sleep(BETWEEN_TRIES);
    }
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(|e| io("write the lock file", &path, e))?;
    Ok(Ownership {
        lock: file,
        _folder: folder,
    })
}

/// Locks a file exclusively; returns `false` if another process has locked it.
fn lock(file: &File) -> std::io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

fn in_use(directory: &Path) -> OpenError {
    let mut pid = String::new();
    if let Ok(file) = lastword_os::file::open(directory.join(LOCK)) {
        let _unreadable_is_unknown = file.take(PID_BYTES_MAX).read_to_string(&mut pid);
    }
    let pid = pid.trim();
    OpenError::InUse {
        directory: directory.to_owned(),
        pid: if pid.is_empty() { "unknown" } else { pid }.to_owned(),
    }
}

/// Creates the database if it is missing, and removes other users' access to the files of an owned
/// directory, whatever the umask is: SQLite gives its other files the database's permissions.
///
/// Opens no file that SQLite may have open, since closing it would release SQLite's locks.
pub(super) fn close_to_others(directory: &Path) -> Result<Vec<Notice>, OpenError> {
    let path = directory.join(DATABASE);
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(PRIVATE)
        .open(&path);
    match made {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(OpenError::Io {
                what: "create the database",
                path,
                source: error,
            });
        }
        _ => {}
    }
    let mut notices = Vec::new();
    let mode = |path: &Path| Some(std::fs::metadata(path).ok()?.mode() & 0o777);
    let open = mode(directory).filter(|mode| mode & 0o077 != 0);
    notices.extend(open.map(|mode| Notice::OpenToOthers {
        directory: directory.to_owned(),
        mode,
    }));
    for name in [DATABASE, WAL, WAL_INDEX, COMMITTED, CAUSES, LOCK] {
        let path = directory.join(name);
        if mode(&path).is_none_or(|mode| mode & 0o077 == 0 && mode & PRIVATE == PRIVATE) {
            continue;
        }
        if let Err(error) = std::fs::set_permissions(&path, PermissionsExt::from_mode(PRIVATE)) {
            let why = error.to_string();
            notices.push(Notice::Readable { path, why });
        }
    }
    Ok(notices)
}

/// The files that a host has open, with the paths at which they were opened.
pub(super) struct Places(Vec<Place>);

struct Place {
    path: PathBuf,
    what: &'static str,
    /// The device and the inode number.
    identity: (u64, u64),
}

impl Places {
    /// Returns the places of the files that are open in an owned directory.
    pub(super) fn of(directory: &Path, ownership: &Ownership) -> std::io::Result<Self> {
        let lock = rustix::fs::fstat(&ownership.lock)?;
        let place = |what, name: &str| -> std::io::Result<Place> {
            let path = directory.join(name);
            let identity = look(&path)?;
            Ok(Place {
                path,
                what,
                identity,
            })
        };
        Ok(Self(vec![
            place("the database lastword.db", DATABASE)?,
            place("the write-ahead log lastword.db-wal", WAL)?,
            Place {
                path: directory.join(LOCK),
                what: "the lock file owner.lock",
                identity: identity(&lock),
            },
        ]))
    }

    /// Checks that each file is still in its place. Data that is written to a file that was removed
    /// or replaced is lost with this process. A place that cannot be checked now counts as
    /// unchanged.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        for place in &self.0 {
            let happened = match look(&place.path) {
                Ok(found) if found == place.identity => continue,
                Ok(_) => "replaced",
                Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => "removed or moved",
                Err(_) => continue,
            };
            return Err(StoreError::Closed(format!(
                "{} was {happened} while this host had it open; what was acknowledged until then \
                 is in the file as it was. Stop the host, put the file back or accept what lies \
                 there now, and start it again",
                place.what
            )));
        }
        Ok(())
    }
}

/// Returns the [`identity`] of the file at a path. Does not request the file's times: on Linux,
/// after a read of the time, the next write records a later one, so that its fsync commits the file
/// system's journal and takes a third longer.
#[cfg(target_os = "linux")]
fn look(path: &Path) -> rustix::io::Result<(u64, u64)> {
    use rustix::fs::{AtFlags, CWD, StatxFlags, makedev, statx};
    match statx(CWD, path, AtFlags::empty(), StatxFlags::INO) {
        Ok(found) => {
            let device = makedev(found.stx_dev_major, found.stx_dev_minor);
            Ok((device, found.stx_ino))
        }
        // A container that filters system calls does not have this one.
        Err(rustix::io::Errno::NOSYS) => rustix::fs::stat(path).map(|found| identity(&found)),
        Err(error) => Err(error),
    }
}

#[cfg(not(target_os = "linux"))]
fn look(path: &Path) -> rustix::io::Result<(u64, u64)> {
    rustix::fs::stat(path).map(|found| identity(&found))
}

/// Returns the device and the inode number of a file.
#[expect(
    clippy::useless_conversion,
    clippy::unnecessary_cast,
    reason = "the fields' widths differ by platform"
)]
fn identity(stat: &rustix::fs::Stat) -> (u64, u64) {
    (stat.st_dev as u64, u64::from(stat.st_ino))
}

/// Whether a process owns the directory now.
pub(super) fn is_owned(directory: &Path) -> bool {
    let is_locked = |file: File| {
        flock(&file, FlockOperation::NonBlockingLockShared) == Err(rustix::io::Errno::WOULDBLOCK)
    };
    let file = File::open(directory.join(LOCK)).or_else(|_| File::open(directory));
    file.is_ok_and(is_locked)
}

/// The magic numbers of statfs(2) for file systems that are reached over a network.
const NETWORK: [(i64, &str); 8] = [
    (0x6969, "NFS"),
    (0xFF53_4D42, "CIFS"),
    (0xFE53_4D42, "SMB2"),
    (0x517B, "SMB"),
    (0x0102_1997, "9P"),
    (0x00C3_6400, "Ceph"),
    (0x7461_636f, "OCFS2"),
    (0x0bd0_0bd0, "Lustre"),
];

fn refuse_network(directory: &Path) -> Result<(), OpenError> {
    let Ok(found) = statfs(directory) else {
        return Ok(());
    };
    #[expect(
        clippy::useless_conversion,
        reason = "the field's width differs by platform"
    )]
    let magic = i64::from(found.f_type) & 0xFFFF_FFFF;
    match NETWORK.iter().find(|row| row.0 == magic) {
        Some(&(_, kind)) => Err(OpenError::NetworkFileSystem {
            directory: directory.to_owned(),
            kind,
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_refused(directory: &Path) -> bool {
        matches!(own(directory), Err(OpenError::InUse { .. }))
    }

    #[test]
    fn a_lock_file_that_is_removed_lets_no_second_owner_in() {
        let place = tempfile::tempdir().unwrap();
        let owner = own(place.path()).unwrap();
        assert!(is_refused(place.path()));
        std::fs::remove_file(place.path().join(LOCK)).unwrap();
        assert!(is_refused(place.path()) && is_owned(place.path()));
        drop(owner);
        assert!(!is_owned(place.path()));
        assert!(own(place.path()).is_ok());
    }

    #[test]
    fn an_owner_of_an_earlier_version_has_the_lock_file_alone() {
        let place = tempfile::tempdir().unwrap();
        let earlier = File::create(place.path().join(LOCK)).unwrap();
        assert!(lock(&earlier).unwrap());
        assert!(is_refused(place.path()));
        drop(earlier);
        assert!(own(place.path()).is_ok());
    }

    #[test]
    fn readers_that_look_keep_no_owner_out() {
        let place = tempfile::tempdir().unwrap();
        drop(own(place.path()).unwrap());
        let over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    is_owned(place.path());
                }
            });
            let refused = (0..200).filter(|_| own(place.path()).is_err()).count();
            over.store(true, std::sync::atomic::Ordering::Relaxed);
            assert_eq!(refused, 0);
        });
    }
}
