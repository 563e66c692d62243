//! The line ends and the byte order mark of a text. Pure.

/// Some programs put it before a text to mark it as Unicode.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// How the lines of a text end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineEnds {
    /// The text has no line end.
    None,
    Lf,
    CrLf,
    Mixed,
}

impl LineEnds {
    pub(super) fn of(text: &str) -> Self {
        let all = text.matches('\n').count();
        match text.matches("\r\n").count() {
            _ if all == 0 => Self::None,
            0 => Self::Lf,
            some if some == all => Self::CrLf,
            _ => Self::Mixed,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::None => "nothing",
            Self::Lf => "LF",
            Self::CrLf => "CR LF",
            Self::Mixed => "some LF and some CR LF",
        }
    }
}

/// Ends every line with CR LF.
pub(super) fn with_crlf(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\n', "\r\n")
}

fn has_mark(text: &str) -> bool {
    text.starts_with(BYTE_ORDER_MARK)
}

/// Adapts a text to the one that it replaces: it gets a byte order mark if that has one, and CR LF
/// line ends if all of that one's are and its own are all LF.
pub(super) fn with_line_ends_of(before: &str, mut content: String) -> String {
    if (LineEnds::of(before), LineEnds::of(&content)) == (LineEnds::CrLf, LineEnds::Lf) {
        content = with_crlf(&content);
    }
    if has_mark(before) && !has_mark(&content) && !content.is_empty() {
        content.insert(0, BYTE_ORDER_MARK);
    }
    content
}

/// A remark on unusual or changed line ends, to be put after the file's name; mostly empty.
pub(super) fn remark(before: &str, after: &str) -> String {
    let mut remark = String::new();

    match (LineEnds::of(before), LineEnds::of(after)) {
        (LineEnds::CrLf, LineEnds::CrLf) => {
            remark.push_str("; its lines end with CR LF, as before");
        }
        (old, new) if old != new && old != LineEnds::None && new != LineEnds::None => {
            let (old, new) = (old.name(), new.name());
            remark.push_str(&format!(
                "; its lines ended with {old} and now end with {new}"
            ));
        }
        _ => {}
    }

    remark.push_str(match (has_mark(before), has_mark(after)) {
        (true, true) => "; it begins with a byte order mark, as before",
        (true, false) => "; the byte order mark at its beginning is gone",
        (false, true) => "; it now begins with a byte order mark",
        (false, false) => "",
    });

    remark
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_all_lines_count() {
        for (text, ends) in [
            ("", LineEnds::None),
            ("a\rb", LineEnds::None),
            ("a\nb", LineEnds::Lf),
            ("a\r\nb", LineEnds::CrLf),
            ("a\r\nb\n", LineEnds::Mixed),
        ] {
            assert_eq!(LineEnds::of(text), ends, "{text:?}");
        }
    }

    #[test]
    fn line_ends_are_preserved_or_remarked() {
        let crlf = "; its lines end with CR LF, as before";
        let mark = "; it begins with a byte order mark, as before";

        for (before, content, after, says) in [
            ("a\n", "b\nc\n", "b\nc\n", ""),
            ("a\r\n", "b\nc", "b\r\nc", crlf),
            ("a\r\n", "b\r\nc\r\n", "b\r\nc\r\n", crlf),
            ("a\r\n", "b", "b", ""),
            (
                "a\r\nb\r\n",
                "b\r\nc\n",
                "b\r\nc\n",
                "; its lines ended with CR LF and now end with some LF and some CR LF",
            ),
            (
                "a\r\nb\n",
                "c\n",
                "c\n",
                "; its lines ended with some LF and some CR LF and now end with LF",
            ),
            (
                "a\n",
                "c\r\n",
                "c\r\n",
                "; its lines ended with LF and now end with CR LF",
            ),
            ("\u{feff}a", "b", "\u{feff}b", mark),
            ("\u{feff}a", "\u{feff}b", "\u{feff}b", mark),
            (
                "a",
                "\u{feff}b",
                "\u{feff}b",
                "; it now begins with a byte order mark",
            ),
            (
                "\u{feff}a",
                "",
                "",
                "; the byte order mark at its beginning is gone",
            ),
        ] {
            let made = with_line_ends_of(before, content.to_owned());
            assert_eq!(made, after, "{before:?} {content:?}");
            assert_eq!(remark(before, &made), says, "{before:?} {content:?}");
        }

        let both = with_line_ends_of("\u{feff}a\r\n", "b\n".to_owned());
        assert_eq!(both, "\u{feff}b\r\n");
        assert_eq!(remark("\u{feff}a\r\n", &both), format!("{crlf}{mark}"));
    }
}
