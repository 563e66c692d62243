//! Reads a file from the kernel's cache on the guest's own thread, where nothing may block. Another
//! thread would cost several times the work itself.
//!
//! The kernel is asked to resolve the path and to read the bytes from memory only, and not to
//! follow links. If it refuses, the call goes to [`read`](super::read), which may wait, resolve
//! links, ask a person, and report what is wrong.

use super::path::RequestedPath;
use super::{Run, read, reading};
use crate::tools::ToolOutput;
use cap_std::fs::Dir;
use lastword_types::permission::Access;
use rustix::fd::OwnedFd;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat2};
use rustix::io::{ReadWriteFlags, preadv2};
use std::io::IoSliceMut;

/// Bytes of a file that may be read this way: reading more takes a while even from memory.
const BYTES_MAX: usize = 128 << 10;
/// Bytes of arguments that may be parsed this way.
const ARGUMENTS_BYTES_MAX: usize = 8 << 10;

/// Returns the output of `read_file`, or `None` if anything might have to wait, or is unusual.
pub(super) fn read_file(
    run: &Run,
    arguments: &str,
    is_granted: impl FnOnce(&Access) -> bool,
) -> Option<ToolOutput> {
    let is_object = arguments.trim_start().starts_with('{');
    if !is_object || arguments.len() > ARGUMENTS_BYTES_MAX {
        return None;
    }

    let arguments: read::Arguments = serde_json::from_str(arguments).ok()?;
    let wanted = RequestedPath::parse(&arguments.path).ok()?;
    let path = wanted.plain()?;

    if !is_granted(&reading(path, "read")) {
        return None;
    }

    let bytes = bytes(run.root().ok()?, path)?;
    let (digest, answer) = read::output(path, &bytes, &arguments);
    run.seen.note(path, digest);

    Some(answer)
}

fn bytes(root: &Dir, path: &str) -> Option<Vec<u8>> {
    // Checked before it is opened, since opening a device may have effects.
    let (_, seen) = open(root, path, OFlags::PATH)?;
    let reading = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let (file, opened) = open(root, path, reading)?;

    if (seen.st_dev, seen.st_ino) != (opened.st_dev, opened.st_ino) {
        return None;
    }

    // One more byte shows that the file grew.
    let size = usize::try_from(opened.st_size).ok()?;
    let mut bytes = vec![0; size + 1];
    let mut filled = 0;

    loop {
        let mut rest = [IoSliceMut::new(&mut bytes[filled..])];
        match preadv2(&file, &mut rest, filled as u64, ReadWriteFlags::NOWAIT).ok()? {
            0 => break,
            count => filled += count,
        }
        if filled > size {
            return None;
        }
    }

    bytes.truncate(filled);
    Some(bytes)
}

/// Opens a regular file that is not too long.
fn open(root: &Dir, path: &str, how: OFlags) -> Option<(OwnedFd, Stat)> {
    let flags = how | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let only = ResolveFlags::CACHED
        | ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS;
    let file = openat2(root, path, flags, Mode::empty(), only).ok()?;
    let found = fstat(&file).ok()?;
    let is_file = FileType::from_raw_mode(found.st_mode) == FileType::RegularFile;

    (is_file && found.st_size <= BYTES_MAX as i64).then_some((file, found))
}
