//! Which files a question is about, by the names in it.
//!
//! It does not read files, and does not know what is done with them.

use std::fs;
use std::path::Path;

/// How many files one question is taken to be about.
pub(crate) const FILES_MAX: usize = 4;

/// How many entries are looked at in search of a name, and how deep.
const ENTRIES_MAX: usize = 5_000;
const DEPTH_MAX: usize = 8;

/// Directories of tools, whose files are never meant by a bare name.
const SKIPPED: [&str; 3] = [".git", "target", "node_modules"];

/// The files that a question names, as paths from the root, in the order of the question:
/// a path that exists, or else the first file of that name in a bounded search.
pub(crate) fn files(question: &str, root: &Path) -> Vec<String> {
    let words = words(question);
    let mut found: Vec<Option<String>> = words
        .iter()
        .map(|word| root.join(word).is_file().then(|| (*word).to_owned()))
        .collect();
    search(root, |path| {
        let name = path.rsplit('/').next().unwrap_or(path);
        for (word, place) in words.iter().zip(&mut found) {
            if place.is_none() && is_named(name, word) {
                *place = Some(path.to_owned());
            }
        }
        found.iter().any(Option::is_none)
    });
    let mut files: Vec<String> = Vec::new();
    for file in found.into_iter().flatten() {
        if !files.contains(&file) && files.len() < FILES_MAX {
            files.push(file);
        }
    }
    files
}

/// The words of a question that could name a file below the root.
fn words(question: &str) -> Vec<&str> {
    let is_mark = |c: char| c.is_ascii_punctuation() && !matches!(c, '.' | '/' | '_' | '-');
    question
        .split_whitespace()
        .map(|word| word.trim_matches(is_mark))
        .map(|word| word.trim_end_matches(['.', '/']))
        .map(|word| word.strip_prefix("./").unwrap_or(word))
        .filter(|word| word.len() > 2 && !word.starts_with('/'))
        .filter(|word| !word.split('/').any(|step| step == ".."))
        .collect()
}

/// Whether a word means a file of this name: the name itself, or, for a word in capitals such
/// as README, the name without its ending.
fn is_named(name: &str, word: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name);
    let in_capitals = !word.bytes().any(|byte| byte.is_ascii_lowercase());
    name.eq_ignore_ascii_case(word) || (in_capitals && stem == word)
}

/// Shows the files of a tree, the upper ones first, until `see` has seen enough or the bound
/// is reached. Links are not followed.
fn search(root: &Path, mut see: impl FnMut(&str) -> bool) {
    let mut level = vec![String::new()];
    let mut entries_left = ENTRIES_MAX;
    for _ in 0..DEPTH_MAX {
        let mut below = Vec::new();
        for folder in level {
            let Ok(entries) = fs::read_dir(root.join(&folder)) else {
                continue;
            };
            let mut entries: Vec<_> = entries
                .take(entries_left)
                .filter_map(Result::ok)
                .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry)))
                .collect();
            entries.sort_by(|(one, _), (other, _)| one.cmp(other));
            entries_left -= entries.len();
            for (name, entry) in entries {
                let path = if folder.is_empty() {
                    name.clone()
                } else {
                    format!("{folder}/{name}")
                };
                match entry.file_type() {
                    Ok(kind) if kind.is_file() && !see(&path) => return,
                    Ok(kind) if kind.is_dir() && !SKIPPED.contains(&name.as_str()) => {
                        below.push(path);
                    }
                    _ => {}
                }
            }
        }
        level = below;
    }
}

#[cfg(test)]
mod tests {
    use crate::scratch::Scratch;

    #[test]
    fn files_are_found_by_path_and_by_name() {
        let scratch = Scratch::new();
        scratch.write("README.md", "");
        scratch.write("src/lib.rs", "");
        scratch.write("src/deep/walk.rs", "");
        scratch.write("target/secret.rs", "");
        for (question, files) in [
            ("What does `src/lib.rs` do?", vec!["src/lib.rs"]),
            (
                "Compare walk.rs with README.",
                vec!["src/deep/walk.rs", "README.md"],
            ),
            ("lib.rs, src/lib.rs and ./src/lib.rs", vec!["src/lib.rs"]),
            ("What is in secret.rs?", vec![]),
            ("And in ../outside or /etc/passwd?", vec![]),
            ("Who are you?", vec![]),
        ] {
            assert_eq!(super::files(question, scratch.root()), files, "{question}");
        }
    }
}
