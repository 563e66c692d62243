//! What a model is shown of the workspace: a bounded text, so that it fits small contexts.
//!
//! It does not know why these files were chosen.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// All excerpts together, in bytes.
pub(crate) const TOTAL_MAX: usize = 6 * 1024;

/// How many names a listing shows.
const NAMES_MAX: usize = 60;

/// The beginning of each file, with equal shares of what the files before have left.
pub(crate) fn of_files(root: &Path, files: &[String]) -> String {
    let mut text = String::new();
    let mut left = TOTAL_MAX;
    for (at, file) in files.iter().enumerate() {
        let share = left / (files.len() - at);
        let excerpt = match beginning(&root.join(file), share) {
            Ok(excerpt) => excerpt,
            Err(error) => format!("(it cannot be read: {error})"),
        };
        left = left.saturating_sub(excerpt.len());
        text.push_str(&format!("<file path=\"{file}\">\n{excerpt}\n</file>\n"));
    }
    text
}

/// The names at the top of the workspace, sorted; folders end in a slash.
pub(crate) fn listing(root: &Path) -> io::Result<String> {
    let mut names: Vec<_> = fs::read_dir(root)?
        .filter_map(Result::ok)
        .map(|entry| {
            let folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let end = if folder { "/" } else { "" };
            format!("{}{end}", entry.file_name().to_string_lossy())
        })
        .collect();
    names.sort();
    let more = names.len().saturating_sub(NAMES_MAX);
    names.truncate(NAMES_MAX);
    if more > 0 {
        names.push(format!("and {more} more"));
    }
    Ok(cut(&names.join("\n"), TOTAL_MAX).to_owned())
}

fn beginning(path: &Path, most: usize) -> io::Result<String> {
    let mut bytes = Vec::with_capacity(most + 1);
    File::open(path)?
        .take(most as u64 + 1)
        .read_to_end(&mut bytes)?;
    if bytes.contains(&0) {
        return Ok("(it holds bytes that are no text)".to_owned());
    }
    let whole = bytes.len() <= most;
    let text = String::from_utf8_lossy(&bytes);
    let text = cut(&text, most);
    Ok(if whole {
        text.to_owned()
    } else {
        format!("{text}\n(it goes on)")
    })
}

/// The longest beginning of `most` bytes or less that ends between two characters.
fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn excerpts_share_a_bound_and_end_between_characters() {
        let scratch = Scratch::new();
        scratch.write("short.txt", "brief");
        scratch.write("long.txt", "é".repeat(TOTAL_MAX));
        scratch.write("bytes.bin", [0, 1, 2]);
        let files = ["short.txt", "long.txt", "bytes.bin", "gone.txt"].map(str::to_owned);
        let text = of_files(scratch.root(), &files);
        assert!(
            text.contains("<file path=\"short.txt\">\nbrief\n</file>"),
            "{text}"
        );
        assert!(text.contains("é\n(it goes on)\n</file>"), "{text}");
        assert!(
            text.contains("no text") && text.contains("cannot be read"),
            "{text}"
        );
        assert!(text.len() < TOTAL_MAX + 500);
    }

    #[test]
    fn a_listing_is_sorted_and_bounded() {
        let scratch = Scratch::new();
        scratch.write("b/file", "");
        scratch.write("a.txt", "");
        assert_eq!(listing(scratch.root()).unwrap(), "a.txt\nb/");
        for file in 0..NAMES_MAX {
            scratch.write(&format!("c{file}"), "");
        }
        assert!(listing(scratch.root()).unwrap().ends_with("and 2 more"));
    }
}
