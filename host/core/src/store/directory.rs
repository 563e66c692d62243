//! The data directory: who owns it, and on what kind of disk it lies.
//! Knows the files' names, not what is in them.

use super::OpenError;
use rustix::fs::{FlockOperation, flock, statfs};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The database's file name inside a data directory.
pub(super) const DATABASE: &str = "lastword.db";
const LOCK: &str = "owner.lock";

/// Ownership of a data directory, until it is dropped or the process ends.
#[derive(Debug)]
pub(super) struct Ownership {
    _lock: File,
}

/// Makes the directory if it is missing, readable by this user only.
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

/// Takes the directory for this process.
pub(super) fn own(directory: &Path) -> Result<Ownership, OpenError> {
    let path = directory.join(LOCK);
    let io = |what, source| OpenError::Io {
        what,
        path: path.clone(),
        source,
    };
    let mut lock = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|e| io("open the lock file", e))?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut pid = String::new();
            let _unreadable_is_unknown = lock.read_to_string(&mut pid);
            let pid = pid.trim();
            return Err(OpenError::InUse {
                directory: directory.to_owned(),
                pid: if pid.is_empty() { "unknown" } else { pid }.to_owned(),
            });
        }
        Err(errno) => return Err(io("lock", errno.into())),
    }
    lock.set_len(0)
        .and_then(|()| lock.rewind())
        .and_then(|()| writeln!(lock, "{}", std::process::id()))
        .map_err(|e| io("write the lock file", e))?;
    Ok(Ownership { _lock: lock })
}

/// Whether some process owns the directory now.
pub(super) fn is_owned(directory: &Path) -> bool {
    File::open(directory.join(LOCK)).is_ok_and(|lock| {
        flock(&lock, FlockOperation::NonBlockingLockShared) == Err(rustix::io::Errno::WOULDBLOCK)
    })
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
