//! What somebody is about to do, said so that it can be decided and shown to people.

use super::Capability;

/// Bytes of what else an access consists of that are shown, about.
const DETAILS_BYTES_MAX: usize = 16 << 10;

/// One thing that a tool, or a guest by itself, is about to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// What kind of thing.
    pub capability: Capability,
    /// To what: a path relative to the workspace, `host:port`, a tool's, an agent's or a
    /// secret's name, a program and its arguments separated by spaces.
    pub target: String,
    /// One line for people: `change src/lib.rs`.
    pub title: String,
    /// What would change, as a unified diff.
    pub diff: Option<String>,
    /// What else it consists of, for people: what a command reads, the arguments of a tool.
    pub details: Option<String>,
    /// Whether an answer allows it this once only: it offers nothing for longer, and what
    /// earlier answers granted does not cover it. For what its target does not say whole.
    pub once: bool,
}

impl Access {
    /// An access to a target.
    #[must_use]
    pub fn new(
        capability: Capability,
        target: impl Into<String>,
        title: impl Into<String>,
    ) -> Self {
        Self {
            capability,
            target: target.into(),
            title: title.into(),
            diff: None,
            details: None,
            once: false,
        }
    }

    /// The same with what else it consists of, one thing below the other, and with nothing in it
    /// that does not show. What is too long to be shown whole can be allowed this once only.
    #[must_use]
    pub fn details(mut self, details: &str) -> Self {
        let mut shown = String::new();
        for (at, c) in details.char_indices() {
            if shown.len() >= DETAILS_BYTES_MAX {
                shown.push_str(&format!("\n… {} more bytes", details.len() - at));
                self.once = true;
                break;
            }
            match is_unseen(c) && !matches!(c, '\n' | '\t') {
                true => shown.extend(c.escape_unicode()),
                false => shown.push(c),
            }
        }
        self.details = Some(shown);
        self
    }

    /// The same, to be allowed by rules or this once.
    #[must_use]
    pub fn once(mut self) -> Self {
        self.once = true;
        self
    }

    /// The same with what would change.
    #[must_use]
    pub fn diff(mut self, diff: impl Into<String>) -> Self {
        self.diff = Some(diff.into());
        self
    }
}

/// What does not show, or turns around what does.
pub(crate) fn is_unseen(c: char) -> bool {
    c.is_control()
        || (c.is_whitespace() && c != ' ')
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
        // Letters that are blank.
        || matches!(c, '\u{115f}' | '\u{1160}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_show_everything_or_say_that_they_do_not() {
        let access = |text: &str| Access::new(Capability::Tools, "a", "").details(text);
        let whole = access("a\tb\n\x1b\u{202e}\u{2800}");
        let shown = "a\tb\n\\u{1b}\\u{202e}\\u{2800}";
        assert_eq!(whole.details.as_deref(), Some(shown));
        assert!(!whole.once);
        let cut = access(&"ü".repeat(DETAILS_BYTES_MAX));
        assert!(cut.once, "what was not shown is not granted for longer");
        let details = cut.details.expect("they are there");
        assert!(details.ends_with(&format!("\n… {DETAILS_BYTES_MAX} more bytes")));
    }
}
