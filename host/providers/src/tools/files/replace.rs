//! Replaces pieces of a text exactly, and explains what to do when a piece is missing or occurs
//! more than once. Pure.

use super::line_ends::{LineEnds, with_crlf};
use std::cmp::Reverse;

/// How many lines are compared to find the one that is most similar to a missing piece.
const LINES_COMPARED_MAX: usize = 20_000;
/// Characters of a line that are shown.
const LINE_SHOWN: usize = 120;

/// A piece of text, and its replacement.
#[derive(Clone, Debug)]
pub(super) struct Edit {
    pub(super) old: String,
    pub(super) new: String,
    /// Whether to replace all occurrences; otherwise there has to be exactly one.
    pub(super) all: bool,
}

/// Applies edits one after the other, to a text of at most `bytes_max`. Errors are for a model to
/// correct.
pub(super) fn apply(text: &str, edits: &[Edit], bytes_max: usize) -> Result<String, String> {
    let mut text = text.to_owned();

    for (number, edit) in edits.iter().enumerate() {
        text = replace(&text, edit, bytes_max).map_err(|what| match edits.len() {
            1 => what,
            count => format!(
                "edit {} of {count}: {what}; nothing was changed",
                number + 1
            ),
        })?;
    }

    Ok(text)
}

fn replace(text: &str, edit: &Edit, bytes_max: usize) -> Result<String, String> {
    let line_ends = |piece: &str| match LineEnds::of(text) {
        LineEnds::CrLf => with_crlf(piece),
        _ => piece.to_owned(),
    };
    let (old, new) = (line_ends(&edit.old), line_ends(&edit.new));

    if old.is_empty() {
        return Err("the text to replace is empty; write_file makes a new file".to_owned());
    }

    if old == new {
        return Err("the text to replace and the new one are the same".to_owned());
    }

    match text.matches(old.as_str()).count() {
        0 => Err(explain_missing(text, &old)),
        1 => replace_bounded(text, &old, &new, 1, bytes_max),
        count if edit.all => replace_bounded(text, &old, &new, count, bytes_max),
        count => Err(format!(
            "the text to replace is there {count} times, on lines {}; give more of what is \
             around it, or set replace_all",
            line_numbers(text, &old)
        )),
    }
}

fn replace_bounded(
    text: &str,
    old: &str,
    new: &str,
    count: usize,
    max: usize,
) -> Result<String, String> {
    let grown = count.saturating_mul(new.len());
    let left = text.len() - count * old.len();
    if left.saturating_add(grown) > max {
        Err(format!("the file would have more than {max} bytes"))
    } else {
        Ok(text.replace(old, new))
    }
}

/// The numbers of the first lines on which a piece begins.
fn line_numbers(text: &str, piece: &str) -> String {
    const SHOWN: usize = 10;

    let (mut line, mut counted, mut numbers) = (1, 0, Vec::new());

    for (at, _) in text.match_indices(piece).take(SHOWN) {
        line += text[counted..at].matches('\n').count();
        counted = at;
        numbers.push(line.to_string());
    }

    let more = text.matches(piece).count() > SHOWN;
    numbers.join(", ") + if more { ", …" } else { "" }
}

fn explain_missing(text: &str, old: &str) -> String {
    let begin = "the text to replace is not there (0 matches)";
    let wanted = old.lines().map(str::trim).find(|line| !line.is_empty());
    let Some(wanted) = wanted else {
        return format!("{begin}: it is only white space");
    };
    let lines = || text.lines().enumerate().take(LINES_COMPARED_MAX);

    if let Some((at, line)) = lines().find(|(_, line)| line.trim() == wanted) {
        return format!(
            "{begin}; line {} has the words of its first line: {:?}. Compare the white space and \
             the lines that follow, and give the text exactly as it stands",
            at + 1,
            excerpt(line)
        );
    }

    let likeness = |line: &str| {
        let line = line.trim();
        let same = line.chars().zip(wanted.chars());
        let front = same.take_while(|(one, other)| one == other).count();
        let same = line.chars().rev().zip(wanted.chars().rev());
        front + same.take_while(|(one, other)| one == other).count()
    };
    let nearest = lines().max_by_key(|(at, line)| (likeness(line), Reverse(*at)));
    match nearest.filter(|(_, line)| likeness(line) > 3) {
        Some((at, line)) => format!(
            "{begin}; the nearest to its first line is line {}: {:?}. Read the file again and \
             give the text exactly as it stands",
            at + 1,
            excerpt(line)
        ),
        None => format!("{begin}, nor anything like it; read the file again"),
    }
}

fn excerpt(line: &str) -> String {
    line.chars().take(LINE_SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(old: &str, new: &str, all: bool) -> Edit {
        Edit {
            old: old.to_owned(),
            new: new.to_owned(),
            all,
        }
    }

    fn one(text: &str, old: &str, new: &str) -> Result<String, String> {
        apply(text, &[edit(old, new, false)], 1_000)
    }

    #[test]
    fn a_piece_is_replaced_exactly_once() {
        assert_eq!(one("a\nb\nc", "b", "x\ny").as_deref(), Ok("a\nx\ny\nc"));
        let twice = one("b\na\nb\n", "b", "x").expect_err("twice");
        assert!(twice.contains("2 times, on lines 1, 3;"), "{twice}");
        let all = apply("b b", &[edit("b", "bb", true)], 1_000);
        assert_eq!(all.as_deref(), Ok("bb bb"));
    }

    #[test]
    fn line_ends_are_kept() {
        let crlf = one("a\r\nb\r\nc", "a\nb", "x\ny");
        assert_eq!(crlf.as_deref(), Ok("x\r\ny\r\nc"));
        let mixed = one("a\r\nb\nc", "b\n", "x\n");
        assert_eq!(mixed.as_deref(), Ok("a\r\nx\nc"));
        assert_eq!(one("a\nb", "b", "c").as_deref(), Ok("a\nc"));
    }

    #[test]
    fn missing_pieces_are_explained() {
        let indented = one("x\n    let a = 1;\n", "  let a = 1;\nb", "y").expect_err("not there");
        assert!(indented.contains("0 matches"), "{indented}");
        assert!(indented.contains("line 2 has the words"), "{indented}");

        let like = one("x\nlet number = 1;\n", "let numbers = 1;", "y").expect_err("not there");
        assert!(
            like.contains("nearest to its first line is line 2"),
            "{like}"
        );

        let nothing = one("x\n", "let numbers = 1;", "y").expect_err("not there");
        assert!(nothing.contains("nor anything like it"), "{nothing}");
        assert!(one("x", "", "y").is_err());
        assert!(one("x", "x", "x").is_err());
    }

    #[test]
    fn edits_are_all_or_nothing_and_bounded() {
        let edits = [edit("a", "b", false), edit("zzzz", "c", false)];
        let error = apply("a", &edits, 1_000).expect_err("the second is not there");
        assert!(error.starts_with("edit 2 of 2: "), "{error}");
        let grows = apply(&"a".repeat(100), &[edit("a", "aaaaaaaaaaaa", true)], 1_000);
        assert_eq!(
            grows.expect_err("too much"),
            "the file would have more than 1000 bytes"
        );
    }
}
