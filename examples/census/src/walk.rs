//! The way through a tree: every file once, folder by folder, in the order of names.
//!
//! It does not know what the counts are for. Of the tree it keeps only the folders that are
//! still to be seen and the entries of the one it is in.

use std::fs::{self, FileType};
use std::io;
use std::path::Path;

use crate::count::{Count, Sum};
use crate::reading::Reader;

/// Folders of tools, which hold what was made or fetched and not what was written.
const SKIPPED: [&str; 3] = [".git", "target", "node_modules"];

/// After how many files the walk says how far it is.
pub(crate) const STRIDE: u64 = 500;

/// What a walk has to tell while it goes on.
#[derive(Debug, PartialEq)]
pub(crate) enum Progress<'a> {
    /// An entry of the root was seen in full: a folder, or all the files beside the folders.
    Done {
        /// The folder; none for the files.
        folder: Option<&'a str>,
        /// What is in it.
        sum: Sum,
    },
    /// So many files were seen, the last of them in this folder.
    Passing {
        /// Files so far.
        files: u64,
        /// The folder, from the root of the walk.
        folder: &'a str,
    },
}

/// Counts all that is below `root`, and tells its progress as it goes.
///
/// # Errors
///
/// `root` cannot be read, or `tell` failed; anything unreadable further down is counted.
pub(crate) fn walk<E: From<io::Error>>(
    root: &Path,
    mut tell: impl FnMut(Progress<'_>) -> Result<(), E>,
) -> Result<Count, E> {
    let mut walk = Walk {
        root,
        count: Count::default(),
        reader: Reader::default(),
    };
    let top = walk.entries("")?;
    let before = walk.count.total;
    walk.files("", &top, &mut tell)?;
    let sum = difference(walk.count.total, before);
    tell(Progress::Done { folder: None, sum })?;
    for folder in walk.folders("", &top) {
        let before = walk.count.total;
        walk.below(folder.clone(), &mut tell)?;
        let sum = difference(walk.count.total, before);
        let folder = Some(folder.as_str());
        tell(Progress::Done { folder, sum })?;
    }
    Ok(walk.count)
}

struct Walk<'a> {
    root: &'a Path,
    count: Count,
    reader: Reader,
}

impl Walk<'_> {
    fn below<E>(
        &mut self,
        folder: String,
        tell: &mut impl FnMut(Progress<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut unseen = vec![folder];
        while let Some(folder) = unseen.pop() {
            let Ok(entries) = self.entries(&folder) else {
                self.count.unreadable += 1;
                continue;
            };
            self.files(&folder, &entries, tell)?;
            let folders = self.folders(&folder, &entries);
            unseen.extend(folders.into_iter().rev());
        }
        Ok(())
    }

    /// The entries of a folder, sorted by name. Those that cannot be told are counted.
    fn entries(&mut self, folder: &str) -> io::Result<Vec<(String, FileType)>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(self.root.join(folder))? {
            let named = entry.and_then(|entry| {
                let kind = entry.file_type()?;
                let name = entry.file_name().into_string();
                Ok((name.map_err(|_| io::ErrorKind::InvalidData)?, kind))
            });
            match named {
                Ok(entry) => entries.push(entry),
                Err(_) => self.count.unreadable += 1,
            }
        }
        entries.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(entries)
    }

    /// Reads the files of a folder.
    fn files<E>(
        &mut self,
        folder: &str,
        entries: &[(String, FileType)],
        tell: &mut impl FnMut(Progress<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        for (name, kind) in entries {
            if kind.is_file() {
                let counted = self.file(&join(folder, name));
                let files = self.count.total.files;
                if counted && files.is_multiple_of(STRIDE) {
                    tell(Progress::Passing { files, folder })?;
                }
            } else if kind.is_symlink() {
                self.count.links += 1;
            } else if !kind.is_dir() {
                self.count.special += 1;
            }
        }
        Ok(())
    }

    /// Counts a file; says whether it could be read.
    fn file(&mut self, path: &str) -> bool {
        let place = self.root.join(path);
        let read = fs::symlink_metadata(&place)
            .and_then(|metadata| Ok((metadata.len(), self.reader.read(&place)?)));
        match read {
            Ok((bytes, reading)) => {
                self.count.add(path, bytes, reading);
                true
            }
            Err(_) => {
                self.count.unreadable += 1;
                false
            }
        }
    }

    /// The folders to go into; those of tools are left out, and counted.
    fn folders(&mut self, folder: &str, entries: &[(String, FileType)]) -> Vec<String> {
        let mut folders = Vec::new();
        for (name, _) in entries.iter().filter(|(_, kind)| kind.is_dir()) {
            if SKIPPED.contains(&name.as_str()) {
                *self.count.skipped.entry(name.clone()).or_default() += 1;
            } else {
                folders.push(join(folder, name));
            }
        }
        folders
    }
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() {
        return name.to_owned();
    }
    format!("{folder}/{name}")
}

fn difference(after: Sum, before: Sum) -> Sum {
    Sum {
        files: after.files - before.files,
        lines: after.lines - before.lines,
        bytes: after.bytes - before.bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    fn told(root: &Path) -> (Count, Vec<String>) {
        let mut told = Vec::new();
        let count = walk(root, |progress| {
            told.push(match progress {
                Progress::Done { folder, sum } => format!("{folder:?} {}/{}", sum.files, sum.lines),
                Progress::Passing { files, folder } => format!("{files} in {folder}"),
            });
            Ok::<_, io::Error>(())
        });
        (count.unwrap(), told)
    }

    #[test]
    fn every_file_is_counted_once_and_folders_are_told_as_they_are_done() {
        let scratch = Scratch::new();
        scratch.write("README.md", "one\ntwo\n");
        scratch.write("src/lib.rs", "// TODO more\n");
        scratch.write("src/deep/er/mod.rs", "a\nb\nc");
        scratch.write("target/debug/x.rs", "no\n");
        scratch.write("src/node_modules/y.js", "no\n");
        scratch.write("assets/logo.png", b"\x89PNG\0\0");
        let (count, told) = told(scratch.root());
        assert_eq!(
            told,
            ["None 1/2", "Some(\"assets\") 1/0", "Some(\"src\") 2/4"]
        );
        assert_eq!(count.languages["Rust"].lines, 4);
        assert_eq!(count.languages["(binary)"].files, 1);
        assert_eq!(count.skipped.len(), 2);
        assert_eq!(count.places[0].path, "src/lib.rs");
    }

    #[cfg(unix)]
    #[test]
    fn links_are_counted_and_not_followed() {
        let scratch = Scratch::new();
        scratch.write("a/file", "x");
        std::os::unix::fs::symlink(scratch.root(), scratch.path("a/loop")).unwrap();
        let (count, _) = told(scratch.root());
        assert_eq!((count.total.files, count.links), (1, 1));
    }

    #[test]
    fn a_long_walk_says_how_far_it_is() {
        let scratch = Scratch::new();
        for file in 0..=STRIDE {
            scratch.write(&format!("many/{file}.txt"), "");
        }
        let (_, told) = told(scratch.root());
        assert_eq!(told[1], format!("{STRIDE} in many"));
    }

    #[test]
    fn a_root_that_cannot_be_read_is_an_error() {
        let scratch = Scratch::new();
        let result = walk(&scratch.path("nowhere"), |_| Ok::<_, io::Error>(()));
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
