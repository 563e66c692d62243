//! Reads files that a person or a setting names. Only plain files of a bounded size are read:
//! opening a pipe could block, and a device may have no end.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{Error, ErrorKind, Read, Result};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// The largest text that is read (settings, scripts, keys), in bytes.
pub const TEXT_BYTES_MAX: usize = 16 << 20;
/// The largest component that is read, in bytes.
pub const COMPONENT_BYTES_MAX: usize = 64 << 20;
/// Device number of `/dev/null`, which is accepted as an empty file.
const NULL: (u32, u32) = (1, 3);

/// Opens a plain file for reading, without blocking.
///
/// # Errors
///
/// As [`File::open`]; [`ErrorKind::IsADirectory`] for a directory, [`ErrorKind::InvalidInput`] for
/// anything else that is no plain file.
pub fn open(path: impl AsRef<Path>) -> Result<File> {
    use rustix::fs::OFlags;
    // Opening a terminal must not make it the controlling terminal of this process.
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(flags).open(path)?;
    // Checked on the open file, so that it cannot be exchanged between check and open.
    check_plain(&file.metadata()?).map(|()| file)
}

fn check_plain(metadata: &Metadata) -> Result<()> {
    let kind = metadata.file_type();
    let device = metadata.rdev();
    let null = (rustix::fs::major(device), rustix::fs::minor(device)) == NULL;

    if kind.is_file() || (kind.is_char_device() && null) {
        return Ok(());
    }

    if kind.is_dir() {
        return Err(rustix::io::Errno::ISDIR.into());
    }

    let kind = if kind.is_fifo() {
        "a pipe"
    } else {
        "a device or a socket"
    };

    Err(Error::new(
        ErrorKind::InvalidInput,
        format!("it is {kind}, and only plain files are read; write it to one first"),
    ))
}

/// Reads a whole plain file.
///
/// # Errors
///
/// As [`open`] and [`read_from`].
pub fn read(path: impl AsRef<Path>, bytes_max: usize) -> Result<Vec<u8>> {
    let file = open(path)?;
    let length = file.metadata()?.len();
    read_into(Vec::with_capacity(room(length, bytes_max)), file, bytes_max)
}

/// Returns for how many bytes room is made before a file of this length is read: growing while it
/// is read costs more than the reading itself.
fn room(length: u64, bytes_max: usize) -> usize {
    // One byte more, so that the end is seen without another allocation.
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    length.min(bytes_max).saturating_add(1)
}

/// Reads a plain file of at most [`TEXT_BYTES_MAX`] bytes as text.
///
/// # Errors
///
/// As [`read`]; [`ErrorKind::InvalidData`] if it is not UTF-8.
pub fn read_text(path: impl AsRef<Path>) -> Result<String> {
    let text = String::from_utf8(read(path, TEXT_BYTES_MAX)?);
    text.map_err(|_| Error::new(ErrorKind::InvalidData, "it is not UTF-8 text"))
}

/// Reads an open source to its end.
///
/// # Errors
///
/// [`ErrorKind::FileTooLarge`] if it holds more than `bytes_max` bytes.
pub fn read_from(from: impl Read, bytes_max: usize) -> Result<Vec<u8>> {
    read_into(Vec::new(), from, bytes_max)
}

fn read_into(mut bytes: Vec<u8>, from: impl Read, bytes_max: usize) -> Result<Vec<u8>> {
    // One byte more than allowed shows that a file is too large, even if its length is unknown.
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    from.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;

    if bytes.len() > bytes_max {
        return Err(Error::new(
            ErrorKind::FileTooLarge,
            format!("it holds more than {bytes_max} bytes, the most that is read"),
        ));
    }

    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_only_plain_files_within_the_bound() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("file"), "12345").unwrap();
        std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", at("endless")).unwrap();

        let socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        let mode = rustix::fs::Mode::RUSR;
        let fifo = rustix::fs::FileType::Fifo;

        rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), fifo, mode, 0).unwrap();

        for name in ["file", "link"] {
            assert_eq!(read(at(name), 5).unwrap(), b"12345");
            let more = read(at(name), 4).unwrap_err();
            assert_eq!(more.kind(), ErrorKind::FileTooLarge);
        }

        assert_eq!(read_text("/dev/null").unwrap(), "");

        for name in ["pipe", "endless"] {
            let error = read(at(name), 5).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name}: {error}");
        }

        assert!(read(at("socket"), 5).is_err());
        let directory = read(folder.path(), 5).unwrap_err();
        assert_eq!(directory.kind(), ErrorKind::IsADirectory);
        std::fs::write(at("file"), b"\xff").unwrap();

        let binary = read_text(at("file")).unwrap_err();
        assert_eq!(binary.kind(), ErrorKind::InvalidData);
        drop(socket);
    }
}
