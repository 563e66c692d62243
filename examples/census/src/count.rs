//! What has been counted so far. It is bounded: the more there is, the less is kept of each.
//!
//! It does not know how files are found, or how the counts are shown.

use std::collections::{BTreeMap, HashMap};

use crate::language;
use crate::reading::Reading;

/// How many large files are named.
pub(crate) const LARGEST_MAX: usize = 10;

/// How many places of markers are named.
pub(crate) const PLACES_MAX: usize = 20;

/// How many files are remembered for the search for duplicates; about 20 MB of memory.
pub(crate) const FINGERPRINTS_MAX: usize = 100_000;

/// A sum over some files.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sum {
    /// Files.
    pub(crate) files: u64,
    /// Lines of text.
    pub(crate) lines: u64,
    /// Bytes.
    pub(crate) bytes: u64,
}

impl Sum {
    fn add(&mut self, bytes: u64, reading: &Reading) {
        self.files += 1;
        self.lines += reading.lines;
        self.bytes += bytes;
    }
}

/// A marker and where it stands.
#[derive(Debug, PartialEq)]
pub(crate) struct Place {
    /// The file, from the root of the census.
    pub(crate) path: String,
    /// The line, counted from 1.
    pub(crate) line: u64,
    /// The marker and what follows it.
    pub(crate) note: String,
}

/// All that is counted.
#[derive(Debug, Default)]
pub(crate) struct Count {
    /// Everything.
    pub(crate) total: Sum,
    /// By language; binary files are one.
    pub(crate) languages: BTreeMap<&'static str, Sum>,
    /// The largest files, largest first.
    pub(crate) largest: Vec<(u64, String)>,
    /// How often each marker was found.
    pub(crate) markers: [u64; 2],
    /// The first places of markers, one for each file.
    pub(crate) places: Vec<Place>,
    /// Folders that were left out, by name.
    pub(crate) skipped: BTreeMap<String, u64>,
    /// Links, which are not followed.
    pub(crate) links: u64,
    /// What is neither file nor folder nor link.
    pub(crate) special: u64,
    /// Entries that could not be read.
    pub(crate) unreadable: u64,
    /// Files that were too many to be remembered as possible duplicates.
    pub(crate) forgotten: u64,
    by_content: HashMap<(u64, u64), Vec<Box<str>>>,
    remembered: usize,
}

impl Count {
    /// Adds a file that was read.
    pub(crate) fn add(&mut self, path: &str, bytes: u64, reading: Reading) {
        let name = path.rsplit('/').next().unwrap_or(path);
        let language = if reading.binary {
            "(binary)"
        } else {
            language::of(name)
        };
        self.total.add(bytes, &reading);
        let sum = self.languages.entry(language).or_default();
        sum.add(bytes, &reading);
        self.note_large(path, bytes);
        self.remember(path, bytes, reading.fingerprint);
        for (total, found) in self.markers.iter_mut().zip(reading.markers) {
            *total += found;
        }
        if let Some((line, note)) = reading.first_marker
            && self.places.len() < PLACES_MAX
        {
            let path = path.to_owned();
            self.places.push(Place { path, line, note });
        }
    }

    /// Files with the same size and the same fingerprint, those that take the most room first.
    pub(crate) fn suspects(&self) -> Vec<(u64, &[Box<str>])> {
        let mut suspects: Vec<_> = self
            .by_content
            .iter()
            .filter(|(_, paths)| paths.len() > 1)
            .map(|((bytes, _), paths)| (*bytes, paths.as_slice()))
            .collect();
        suspects.sort_by_key(|(bytes, paths)| {
            let waste = bytes.saturating_mul(paths.len() as u64 - 1);
            (std::cmp::Reverse(waste), &paths[0])
        });
        suspects
    }

    fn note_large(&mut self, path: &str, bytes: u64) {
        let place = self.largest.partition_point(|(other, _)| *other >= bytes);
        if place < LARGEST_MAX {
            self.largest.insert(place, (bytes, path.to_owned()));
            self.largest.truncate(LARGEST_MAX);
        }
    }

    /// Empty files are all equal, and do not count as duplicates.
    fn remember(&mut self, path: &str, bytes: u64, fingerprint: u64) {
        if bytes == 0 {
            return;
        }
        if self.remembered == FINGERPRINTS_MAX {
            self.forgotten += 1;
            return;
        }
        self.remembered += 1;
        let alike = self.by_content.entry((bytes, fingerprint)).or_default();
        alike.push(path.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_are_kept_in_order() {
        let mut count = Count::default();
        for bytes in [5, 90, 20, 90, 1].into_iter().chain(100..120) {
            count.add(&format!("f{bytes}"), bytes, Reading::default());
        }
        let sizes: Vec<_> = count.largest.iter().map(|(bytes, _)| *bytes).collect();
        assert_eq!(sizes, (110..120).rev().collect::<Vec<_>>());
        assert_eq!(count.total.files, 25);
    }

    #[test]
    fn empty_files_are_no_duplicates() {
        let mut count = Count::default();
        for (path, bytes) in [("a", 0), ("b", 0), ("c", 7), ("d", 7)] {
            count.add(path, bytes, Reading::default());
        }
        let suspects = count.suspects();
        assert_eq!(suspects.len(), 1);
        assert_eq!(suspects[0].0, 7);
    }
}
