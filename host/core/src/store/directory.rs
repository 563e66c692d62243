//! The data directory: who owns it, on what kind of disk it lies, who may read it, and whether
//! what is open is still what lies there. Knows the files' names, not what is in them.

use super::notice::Notice;
use super::{OpenError, StoreError};
use rustix::fs::{FlockOperation, flock, statfs};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The database's file name inside a data directory.
pub(super) const DATABASE: &str = "lastword.db";
/// Its write-ahead log, as SQLite names it.
pub(super) const WAL: &str = "lastword.db-wal";
const WAL_INDEX: &str = "lastword.db-shm";
/// How far the database is committed.
pub(super) const COMMITTED: &str = "lastword.committed";
/// Causes of ends that are not committed.
pub(super) const CAUSES: &str = "lastword.causes";
const LOCK: &str = "owner.lock";
/// The permissions of whatever others might read.
const PRIVATE: u32 = 0o600;

/// Ownership of a data directory, until it is dropped or the process ends.
#[derive(Debug)]
pub(super) struct Ownership {
    lock: File,
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
    Ok(Ownership { lock })
}

/// Makes the database if it is missing, and closes what lies in an owned directory to other
/// users, whatever the umask is: SQLite gives its other files the database's permissions.
///
/// Nothing that SQLite may have open is opened here: closing it would drop SQLite's locks.
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
                what: "make the database",
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

/// The files that a host has open, by where they were then.
pub(super) struct Places(Vec<Place>);

struct Place {
    path: PathBuf,
    what: &'static str,
    /// Device and number.
    identity: (u64, u64),
}

impl Places {
    /// Of the files that are open in an owned directory.
    pub(super) fn of(directory: &Path, ownership: &Ownership) -> std::io::Result<Self> {
        let lock = rustix::fs::fstat(&ownership.lock)?;
        let place = |what, name: &str| -> std::io::Result<Place> {
            let path = directory.join(name);
            let identity = identity(&rustix::fs::stat(&path)?);
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

    /// Whether each of them still lies where it was: what is written to a file that was removed
    /// or replaced is gone with this process. A place that cannot be looked at now is not held
    /// against it.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        for place in &self.0 {
            let happened = match rustix::fs::stat(&place.path) {
                Ok(found) if identity(&found) == place.identity => continue,
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

#[expect(
    clippy::useless_conversion,
    clippy::unnecessary_cast,
    reason = "the fields' widths differ by platform"
)]
fn identity(stat: &rustix::fs::Stat) -> (u64, u64) {
    (stat.st_dev as u64, u64::from(stat.st_ino))
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
