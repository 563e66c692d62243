//! A small file of slots that are written in place, for data that must be kept when a commit cannot
//! keep it. Its blocks are allocated once, so that a full disk does not refuse a write. Each slot
//! has a digest, by which a torn or damaged slot is detected. Nothing in it is acknowledged to a
//! caller, and losing the file loses no run.

use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Bytes of a slot: one sector, which a disk writes atomically.
const SLOT: usize = 512;
/// Bytes before the content: its length, and the first bytes of its SHA-256.
const HEAD: usize = 2 + 8;
/// The largest number of bytes of content in a slot.
pub(super) const CONTENT_MAX: usize = SLOT - HEAD;

/// An open file of slots.
pub(super) struct Slots(File);

/// The content of a file of slots.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    /// The intact contents, each with the index of its slot.
    pub(super) whole: Vec<(usize, Vec<u8>)>,
    /// The number of slots that are neither empty nor intact.
    pub(super) damaged: usize,
}

impl Slots {
    /// Opens or creates the file, readable by this user only, with space for `count` slots.
    pub(super) fn open(path: &Path, count: usize) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        let (found, wanted) = (file.metadata()?.len(), (count * SLOT) as u64);
        if found < wanted {
            // Written and not only reserved, so that later writes need no allocation.
            let zeros = vec![0; (wanted - found) as usize];
            file.write_all_at(&zeros, found)?;
            file.sync_all()?;
        }
        Ok(Self(file))
    }

    /// Replaces the content of a slot. Not synced: the content survives the end of the process, but
    /// after a power cut the slot may still have its earlier content.
    pub(super) fn write(&self, slot: usize, content: &[u8]) -> io::Result<()> {
        let mut bytes = [0; SLOT];
        let Some(room) = bytes.get_mut(HEAD..HEAD + content.len()) else {
            return Err(io::ErrorKind::FileTooLarge.into());
        };
        room.copy_from_slice(content);
        bytes[..2].copy_from_slice(&(content.len() as u16).to_le_bytes());
        bytes[2..HEAD].copy_from_slice(&Sha256::digest(content)[..HEAD - 2]);
        self.0.write_all_at(&bytes, (slot * SLOT) as u64)
    }

    /// Empties a slot.
    pub(super) fn clear(&self, slot: usize) -> io::Result<()> {
        self.0.write_all_at(&[0; SLOT], (slot * SLOT) as u64)
    }

    /// Waits until everything that was written is on the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

/// Reads the content of a file of slots; empty if the file does not exist.
pub(super) fn read(path: &Path) -> io::Result<Content> {
    let bytes = match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Content::default()),
        bytes => bytes?,
    };
    let mut content = Content::default();
    for (slot, bytes) in bytes.chunks(SLOT).enumerate() {
        if bytes.iter().all(|byte| *byte == 0) {
            continue;
        }
        match whole(bytes) {
            Some(whole) => content.whole.push((slot, whole.to_owned())),
            None => content.damaged += 1,
        }
    }
    Ok(content)
}

fn whole(bytes: &[u8]) -> Option<&[u8]> {
    let length = u16::from_le_bytes(bytes.get(..2)?.try_into().ok()?);
    let content = bytes.get(HEAD..)?.get(..usize::from(length))?;
    let digest = Sha256::digest(content);
    (bytes[2..HEAD] == digest[..HEAD - 2]).then_some(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_torn_is_told_from_what_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("slots");
        assert_eq!(read(&path).unwrap(), Content::default());
        let slots = Slots::open(&path, 4).unwrap();
        assert_eq!(read(&path).unwrap(), Content::default());
        slots.write(0, b"first").unwrap();
        slots.write(2, &[7; CONTENT_MAX]).unwrap();
        slots.write(3, b"gone").unwrap();
        slots.clear(3).unwrap();
        slots.sync().unwrap();
        assert!(slots.write(1, &[7; CONTENT_MAX + 1]).is_err());
        let whole = [(0, b"first".to_vec()), (2, vec![7; CONTENT_MAX])];
        let content = read(&path).unwrap();
        assert_eq!((&content.whole[..], content.damaged), (&whole[..], 0));

        let bytes = std::fs::read(&path).unwrap();
        for bit in 0..SLOT * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, flipped).unwrap();
            let content = read(&path).unwrap();
            let first = content.whole.iter().find(|(slot, _)| *slot == 0);
            // The bytes after the content are ignored.
            assert!(
                first.is_none_or(|(_, content)| content == b"first"),
                "{bit}"
            );
            assert_eq!(content.damaged + content.whole.len(), 2, "{bit}");
        }
        assert_eq!(
            Slots::open(&path, 4).unwrap().0.metadata().unwrap().len(),
            2048
        );
    }
}
