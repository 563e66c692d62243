//! Text that is safe to show to people who decide on it. Characters that are invisible or reorder
//! others are written as `\u{202e}`, and different texts never look the same. Pure.
//!
//! | text | function |
//! |---|---|
//! | a file name, a target, anything of one line | [`line()`] |
//! | a diff, arguments, anything of several lines | [`lines`] |
//! | what is escaped already: a [rule](crate::permission::Rule), the target of a command, a question's details | [`seen`] |
//! | a word to be copied into a shell | [`shell`] |

use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::RangeInclusive;
use unicode_general_category::{GeneralCategory, get_general_category};

/// Returns the text in one line, reversibly. Each invisible character is written as `\u{…}`,
/// including line feeds, tabs and blanks at either end. If the text itself contains `\u{`, its
/// backslash becomes `\u{5c}`. Nothing is left out.
#[must_use]
pub fn line(text: &str) -> Cow<'_, str> {
    let inner = text.trim_matches(' ');
    let begins = text.len() - text.trim_start_matches(' ').len();
    let ends = begins + inner.len();
    let is_edge = |at: usize| at < begins || at >= ends;
    write(text, |at, c, rest| {
        is_unseen(c) || (c == ' ' && is_edge(at)) || is_escape(c, rest)
    })
}

/// As [`line()`], but keeps line feeds, tabs and blanks.
#[must_use]
pub fn lines(text: &str) -> Cow<'_, str> {
    write(text, |_, c, rest| {
        (is_unseen(c) && !matches!(c, '\n' | '\t')) || is_escape(c, rest)
    })
}

/// Returns the text with `\u{…}` for each invisible character except line feeds and tabs. Existing
/// escapes are kept, so that this is reversible only for text that is already escaped.
#[must_use]
pub fn seen(text: &str) -> Cow<'_, str> {
    escaped(text, |c| is_unseen(c) && !matches!(c, '\n' | '\t'))
}

/// Returns the text with `\u{…}` for each character for which `is_meant` returns true.
#[must_use]
pub fn escaped(text: &str, is_meant: impl Fn(char) -> bool) -> Cow<'_, str> {
    write(text, |_, c, _| is_meant(c))
}

/// Returns a word quoted for a shell: plain, 'quoted', or `$'with \U0000202e'` if it contains
/// invisible characters. Different words never have the same form.
#[must_use]
pub fn shell(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_@%+=:,./-".contains(c);
    let unseen = word.chars().any(is_unseen);
    if !unseen && !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    if !unseen {
        return format!("'{}'", word.replace('\'', "'\\''"));
    }
    let mut escaped = String::from("$'");
    for c in word.chars() {
        match c {
            '\'' | '\\' => escaped.extend(['\\', c]),
            '\n' => escaped.push_str("\\n"),
            '\t' => escaped.push_str("\\t"),
            c if is_unseen(c) => {
                // Writing to a string does not fail.
                let _written = write!(escaped, "\\U{:08x}", u32::from(c));
            }
            c => escaped.push(c),
        }
    }
    escaped + "'"
}

/// Whether a character is invisible, or reorders others: controls, formats, characters that Unicode
/// allows a display to ignore, all spaces except the plain one, blank letters, and code points that
/// are not characters. A character that is newer than the Unicode version of
/// `unicode-general-category` counts as invisible.
#[must_use]
pub fn is_unseen(c: char) -> bool {
    use GeneralCategory::{
        Control, Format, LineSeparator, ParagraphSeparator, SpaceSeparator, Unassigned,
    };
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    matches!(
        get_general_category(c),
        Control | Format | LineSeparator | ParagraphSeparator | SpaceSeparator | Unassigned
    ) || IGNORABLE.iter().any(|range| range.contains(&c))
        || matches!(c, BRAILLE_BLANK | NULL_NOTEHEAD | KHITAN_FILLER)
}

/// The characters with the property `Default_Ignorable_Code_Point` whose general category does not
/// imply it: blank letters, marks, and variation selectors. From Unicode 17; `tests/suite/shown.rs`
/// compares this with the table of the standard.
const IGNORABLE: [RangeInclusive<char>; 8] = [
    '\u{34f}'..='\u{34f}',
    '\u{115f}'..='\u{1160}',
    '\u{17b4}'..='\u{17b5}',
    '\u{180b}'..='\u{180f}',
    '\u{3164}'..='\u{3164}',
    '\u{fe00}'..='\u{fe0f}',
    '\u{ffa0}'..='\u{ffa0}',
    '\u{e0000}'..='\u{e0fff}',
];

/// Letters and signs that are blank without a Unicode property that says so.
const BRAILLE_BLANK: char = '\u{2800}';
const NULL_NOTEHEAD: char = '\u{1d159}';
const KHITAN_FILLER: char = '\u{16fe4}';

/// Whether this is a backslash that would begin an escape.
fn is_escape(c: char, rest: &str) -> bool {
    c == '\\' && rest.starts_with("u{")
}

/// Returns the text with `\u{…}` for each character for which `is_meant` returns true. It receives
/// the character's index, the character, and the text after it.
fn write(text: &str, is_meant: impl Fn(usize, char, &str) -> bool) -> Cow<'_, str> {
    let meant = |at: usize, c: char| is_meant(at, c, &text[at + c.len_utf8()..]);
    let Some((first, _)) = text.char_indices().find(|(at, c)| meant(*at, *c)) else {
        return Cow::Borrowed(text);
    };
    let mut shown = text[..first].to_owned();
    for (at, c) in text[first..].char_indices() {
        if meant(first + at, c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn what_does_not_show_is_written_down() {
        assert_eq!(line("src/a b.rs"), "src/a b.rs");
        assert_eq!(line("grün/עברית/\u{1f600}"), "grün/עברית/\u{1f600}");
        assert_eq!(line("a\u{202e}b\n\t\r"), r"a\u{202e}b\u{a}\u{9}\u{d}");
        assert_eq!(line(" a  b "), r"\u{20}a  b\u{20}");
        assert_eq!(line("  "), r"\u{20}\u{20}");
        assert_eq!(line(r"a\u{202e}b\n"), r"a\u{5c}u{202e}b\n");
        assert_eq!(lines(" a\n\tb\r\n"), " a\n\tb\\u{d}\n");
        assert_eq!(seen("a\u{3164}\\u{b}"), r"a\u{3164}\u{b}");
    }

    #[test]
    fn different_texts_look_different() {
        let pieces = [
            "", "a", " ", "\\", "\\u", "u{", "{", "5c}", "202e}", "\u{202e}", "\u{34f}", "\n",
        ];
        for show in [line, lines] {
            let mut seen = HashMap::new();
            for one in pieces {
                for two in pieces {
                    for three in pieces {
                        let text = format!("{one}{two}{three}");
                        let before = seen.insert(show(&text).into_owned(), text.clone());
                        assert!(before.is_none_or(|before| before == text), "{text:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn words_for_a_shell_are_quoted() {
        assert_eq!(shell("write-files=src/a.rs"), "write-files=src/a.rs");
        assert_eq!(shell("tools=git.*"), "'tools=git.*'");
        assert_eq!(shell("it's"), r"'it'\''s'");
        assert_eq!(shell(""), "''");
        assert_eq!(shell("a\nb'\u{202e}\x1b"), r"$'a\nb\'\U0000202e\U0000001b'");
    }
}
