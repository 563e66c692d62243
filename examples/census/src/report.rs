//! The report in Markdown, section by section, so that each can be said as soon as it is known.
//!
//! It does not know how anything was counted.

use std::cmp::Reverse;
use std::fmt::Write;

use crate::count::{Count, FINGERPRINTS_MAX, LARGEST_MAX, Sum};
use crate::duplicates::Duplicates;
use crate::reading::MARKERS;
use crate::walk::Progress;

/// How many languages have a row of their own.
const LANGUAGES_MAX: usize = 30;

/// What comes before the walk.
pub(crate) fn opening(folder: &str) -> String {
    let place = if folder.is_empty() {
        "the workspace".to_owned()
    } else {
        format!("`{folder}`")
    };
    format!("# Census of {place}\n\n## Folders\n\n")
}

/// One line of the walk.
pub(crate) fn progress(progress: &Progress<'_>) -> String {
    match progress {
        Progress::Done { folder, sum } => {
            let place = folder.map_or("beside the folders".to_owned(), |name| format!("`{name}/`"));
            format!("- {place}: {}\n", sum_in_words(*sum))
        }
        Progress::Passing { files, folder } => {
            let files = number(*files);
            format!("- … {files} files so far, now in `{folder}/`\n")
        }
    }
}

/// What is known after the walk.
pub(crate) fn sections(count: &Count) -> [String; 4] {
    [
        languages(count),
        largest(count),
        markers(count),
        left_out(count),
    ]
}

fn languages(count: &Count) -> String {
    let mut text = format!("\nIn all {}.\n", sum_in_words(count.total));
    if count.languages.is_empty() {
        return text;
    }
    text.push_str("\n## Languages\n\n| language | files | lines | size |\n|---|--:|--:|--:|\n");
    let mut rows: Vec<_> = count.languages.iter().collect();
    rows.sort_by_key(|(name, sum)| (Reverse(sum.lines), Reverse(sum.files), **name));
    for (name, sum) in rows.iter().take(LANGUAGES_MAX) {
        let (files, lines) = (number(sum.files), number(sum.lines));
        _ = writeln!(text, "| {name} | {files} | {lines} | {} |", size(sum.bytes));
    }
    if rows.len() > LANGUAGES_MAX {
        _ = writeln!(text, "\n… and {} more.", rows.len() - LANGUAGES_MAX);
    }
    text
}

fn largest(count: &Count) -> String {
    let mut text = format!("\n## Largest files\n\nAt most {LARGEST_MAX}.\n\n");
    for (bytes, path) in &count.largest {
        _ = writeln!(text, "- `{path}`: {}", size(*bytes));
    }
    text
}

fn markers(count: &Count) -> String {
    let mut text = "\n## Unfinished work\n\n".to_owned();
    for (marker, found) in MARKERS.iter().zip(count.markers) {
        _ = writeln!(text, "- {marker}: {}", number(found));
    }
    if !count.places.is_empty() {
        text.push_str("\nFor example:\n\n");
    }
    for place in &count.places {
        let note = place.note.replace('`', "'");
        _ = writeln!(text, "- `{}:{}`: `{note}`", place.path, place.line);
    }
    text
}

fn left_out(count: &Count) -> String {
    let mut text = "\n## Left out\n\n".to_owned();
    for (name, times) in &count.skipped {
        _ = writeln!(text, "- folders named `{name}`: {}", number(*times));
    }
    for (what, times) in [
        ("links, which are not followed", count.links),
        ("neither file nor folder nor link", count.special),
        ("unreadable", count.unreadable),
    ] {
        if times > 0 {
            _ = writeln!(text, "- {what}: {}", number(times));
        }
    }
    if text.ends_with("out\n\n") {
        text.push_str("Nothing.\n");
    }
    text
}

/// What comes before the duplicates, which take another look at the files.
pub(crate) fn duplicates_opening() -> String {
    "\n## Duplicates\n\n".to_owned()
}

/// One group of equal files.
pub(crate) fn duplicate_group(bytes: u64, paths: &[&str], more: usize) -> String {
    let mut text = format!("- {} each:", size(bytes));
    for path in paths {
        _ = write!(text, " `{path}`");
    }
    if more > 0 {
        _ = write!(text, " and {more} more");
    }
    text.push('\n');
    text
}

/// What comes after the duplicates.
pub(crate) fn duplicates_closing(duplicates: &Duplicates, count: &Count) -> String {
    let mut text = if duplicates.groups == 0 {
        "No two files are the same.\n".to_owned()
    } else {
        format!(
            "\nGroups of equal files: {}. Without the copies there would be {} less.\n",
            number(duplicates.groups),
            size(duplicates.wasted)
        )
    };
    if count.forgotten > 0 {
        _ = writeln!(
            text,
            "Only the first {} files were compared.",
            number(FINGERPRINTS_MAX as u64)
        );
    }
    text
}

fn sum_in_words(sum: Sum) -> String {
    let plural = if sum.files == 1 { "" } else { "s" };
    let (files, lines) = (number(sum.files), number(sum.lines));
    format!("{files} file{plural}, {lines} lines, {}", size(sum.bytes))
}

/// A number with its thousands apart.
fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in the unit that suits them.
fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut tenths = bytes * 10 / 1024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < units.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::Reading;

    #[test]
    fn numbers_and_sizes_are_readable() {
        assert_eq!(number(7), "7");
        assert_eq!(number(1_234_567), "1,234,567");
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(5 * 1024 * 1024 * 1024), "5.0 GiB");
    }

    #[test]
    fn sections_say_what_was_counted() {
        let mut count = Count::default();
        let reading = Reading {
            lines: 1_200,
            markers: [2, 0],
            first_marker: Some((7, "TODO `x`".into())),
            ..Reading::default()
        };
        count.add("src/lib.rs", 2048, reading);
        let [languages, largest, markers, left_out] = sections(&count);
        assert!(
            languages.contains("| Rust | 1 | 1,200 | 2.0 KiB |"),
            "{languages}"
        );
        assert!(largest.contains("- `src/lib.rs`: 2.0 KiB"), "{largest}");
        assert!(
            markers.contains("- `src/lib.rs:7`: `TODO 'x'`"),
            "{markers}"
        );
        assert!(left_out.ends_with("Nothing.\n"), "{left_out}");
    }
}
