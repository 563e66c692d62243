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
pub(super) struct Seen(Mutex<HashMap<String, Digest>>);

/// How a file's current content relates to what this run has seen.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sight {
    Fresh,
    Stale,
    Never,
}

impl Seen {
    pub(super) fn note(&self, path: &str, digest: Digest) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= FILES_MAX && !seen.contains_key(path) {
            seen.clear();
        }
        seen.insert(path.to_owned(), digest);
    }

    pub(super) fn compare(&self, path: &str, now: Digest) -> Sight {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.get(path) {
            Some(digest) if *digest == now => Sight::Fresh,
            Some(_) => Sight::Stale,
            None => Sight::Never,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_compared() {
        let seen = Seen::default();
        let (one, other) = (Digest::of(b"1"), Digest::of(b"2"));
        assert_eq!(seen.compare("a", one), Sight::Never);
        seen.note("a", one);
        assert_eq!(seen.compare("a", one), Sight::Fresh);
        assert_eq!(seen.compare("a", other), Sight::Stale);
        assert!(one.to_string().starts_with("sha256:6b86b273ff34"));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let seen = Seen::default();
        for number in 0..=FILES_MAX {
            seen.note(&number.to_string(), Digest::of(b""));
        }
        assert_eq!(seen.compare("0", Digest::of(b"")), Sight::Never);
        let last = FILES_MAX.to_string();
        assert_eq!(seen.compare(&last, Digest::of(b"")), Sight::Fresh);
    }
}
