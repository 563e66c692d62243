//! The repository's files as text, and Rust without its comments and strings.

use lastword_tests::guests::root;
use std::path::{Path, PathBuf};

/// A file, by its path from the root.
pub(super) struct File {
    pub(super) path: String,
    pub(super) text: String,
}

/// What is made, not written.
const MADE: [&str; 6] = [
    ".git",
    ".venv",
    "__pycache__",
    "dist",
    "node_modules",
    "target",
];

/// Every text file of the repository.
pub(super) fn all() -> Vec<File> {
    let mut files = Vec::new();
    collect(root(), &mut files);
    assert!(files.len() > 100, "the repository was not found");
    files.sort_by(|one, other| one.path.cmp(&other.path));
    files
}

/// Every Rust file.
pub(super) fn rust() -> Vec<File> {
    let mut files = all();
    files.retain(|file| file.path.ends_with(".rs"));
    files
}

fn collect(folder: &Path, files: &mut Vec<File>) {
    for entry in std::fs::read_dir(folder).expect("a folder is read") {
        let path: PathBuf = entry.expect("a folder is read").path();
        let name = path.file_name().expect("it has a name").to_string_lossy();
        if MADE.contains(&&*name) {
            continue;
        }
        if path.is_dir() {
            collect(&path, files);
        } else if let Ok(text) = std::fs::read_to_string(&path) {
            let path = path.strip_prefix(root()).expect("inside the root");
            let path = path.to_string_lossy().into_owned();
            files.push(File { path, text });
        }
    }
}

/// Rust without comments and without what is in strings and characters; lines stay.
pub(super) fn code(text: &str) -> String {
    let mut rest = text;
    let mut code = String::with_capacity(text.len());
    while let Some(first) = rest.chars().next() {
        let length = not_code(rest, &code);
        let (taken, kept) = match length {
            0 => (first.len_utf8(), true),
            length => (length, false),
        };
        for character in rest[..taken].chars() {
            code.push(match kept || character == '\n' {
                true => character,
                false => ' ',
            });
        }
        rest = &rest[taken..];
    }
    code
}

/// How long the comment, string or character is that begins here; 0 if none does.
fn not_code(rest: &str, before: &str) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return rest.find("*/").map_or(rest.len(), |end| end + 2);
    }
    let in_a_word = before
        .chars()
        .next_back()
        .is_some_and(|last| last.is_alphanumeric() || last == '_');
    if !in_a_word && (rest.starts_with('r') || rest.starts_with("br")) {
        let raw = rest.trim_start_matches('b').trim_start_matches('r');
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let close = format!("\"{}", "#".repeat(hashes));
            let begin = rest.len() - raw.len() + hashes + 1;
            let end = rest[begin..].find(&close);
            return end.map_or(rest.len(), |end| begin + end + close.len());
        }
    }
    if rest.starts_with('"') {
        return quoted(rest, '"');
    }
    // A lifetime has no second quote where a character has one.
    let mut characters = rest.chars();
    if characters.next() == Some('\'') {
        let (first, second) = (characters.next(), characters.next());
        if first == Some('\\') || second == Some('\'') {
            return quoted(rest, '\'');
        }
    }
    0
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in rest.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The code without its inline modules of tests.
pub(super) fn without_tests(code: &str) -> String {
    let mut lines = Vec::new();
    let mut skipping = false;
    for line in code.lines() {
        skipping |= line.starts_with("#[cfg(test)]");
        lines.push(if skipping { "" } else { line });
        skipping &= line != "}" && !line.ends_with(';');
    }
    lines.join("\n")
}

/// Whether a word stands in a text, and not as a part of another.
pub(super) fn has_word(text: &str, word: &str) -> bool {
    let part = |character: char| character.is_alphanumeric() || character == '_';
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

/// Applies a rule to files, and asserts that it finds nothing.
#[track_caller]
pub(super) fn holds<'a>(
    files: impl IntoIterator<Item = &'a File>,
    rule: impl Fn(&File) -> Vec<String>,
) {
    let wrong = files.into_iter().flat_map(|file| {
        let wrong = rule(file).into_iter();
        wrong.map(|what| format!("{}: {what}", file.path))
    });
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// Asserts that a rule does not let a snippet pass.
#[track_caller]
pub(super) fn catches(rule: impl Fn(&File) -> Vec<String>, path: &str, text: &str) {
    let file = File {
        path: path.to_owned(),
        text: text.to_owned(),
    };
    assert!(!rule(&file).is_empty(), "`{text}` in {path} passes");
}

#[test]
fn comments_and_strings_are_no_code() {
    let rust = r##"let a = "{ // \" }"; // {
let b = '{'; let c = r#"" {"#; /* { */ fn d<'a>(e: &'a str) { f('\'') }"##;
    let code = code(rust);
    assert_eq!(code.matches('{').count(), 1, "{code}");
    assert_eq!(code.lines().count(), 2);
    assert!(code.contains("<'a>(e: &'a str) { f("), "{code}");
}
