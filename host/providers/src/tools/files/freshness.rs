//! What this run has read or written of each file, so that it changes nothing that it has not seen.
//! Only digests are kept.

use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// How many files are remembered; further ones have to be read again.
const FILES_MAX: usize = 10_000;

/// The digest of a file's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digest([u8; 32]);

impl Digest {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The digests that this run has seen, by paths without links.
#[derive(Default)]
pub(super) struct FileDigests(Mutex<HashMap<String, Digest>>);

/// How a file's current content relates to what this run has seen.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FileFreshness {
    Fresh,
    Stale,
    Unseen,
}

impl FileDigests {
    pub(super) fn note(&self, path: &str, digest: Digest) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= FILES_MAX && !seen.contains_key(path) {
            seen.clear();
        }
        seen.insert(path.to_owned(), digest);
    }

    pub(super) fn compare(&self, path: &str, now: Digest) -> FileFreshness {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.get(path) {
            Some(digest) if *digest == now => FileFreshness::Fresh,
            Some(_) => FileFreshness::Stale,
            None => FileFreshness::Unseen,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freshness_compares_digests() {
        let seen = FileDigests::default();
        let (one, other) = (Digest::of(b"1"), Digest::of(b"2"));
        assert_eq!(seen.compare("a", one), FileFreshness::Unseen);
        seen.note("a", one);
        assert_eq!(seen.compare("a", one), FileFreshness::Fresh);
        assert_eq!(seen.compare("a", other), FileFreshness::Stale);
        assert!(one.to_string().starts_with("sha256:6b86b273ff34"));
    }

    #[test]
    fn remembered_files_are_bounded() {
        let seen = FileDigests::default();
        for number in 0..=FILES_MAX {
            seen.note(&number.to_string(), Digest::of(b""));
        }
        assert_eq!(seen.compare("0", Digest::of(b"")), FileFreshness::Unseen);
        let last = FILES_MAX.to_string();
        assert_eq!(seen.compare(&last, Digest::of(b"")), FileFreshness::Fresh);
    }
}
