//! What an agent is about to do, in a form that can be decided and shown to users.

use super::Capability;
use crate::text;

/// Bytes of what else an access consists of that are shown, before what does not show is escaped.
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
    /// What else it consists of, for people, as [`text::lines`] writes it: what a command reads,
    /// the arguments of a tool.
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

    /// The same with what else it consists of, one thing below the other, as [`text::lines`]
    /// writes it. What is too long to be shown whole can be allowed this once only.
    #[must_use]
    pub fn details(mut self, details: &str) -> Self {
        let (head, rest) = details.split_at(details.floor_char_boundary(DETAILS_BYTES_MAX));
        let mut shown = text::lines(head).into_owned();
        if !rest.is_empty() {
            shown.push_str(&format!("\n… {} more bytes", rest.len()));
            self.once = true;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_show_everything_or_say_that_they_do_not() {
        let access = |text: &str| Access::new(Capability::Tools, "a", "").details(text);
        let whole = access("a\tb\n\x1b\u{202e}\u{2800}\\u{a}");
        let shown = "a\tb\n\\u{1b}\\u{202e}\\u{2800}\\u{5c}u{a}";
        assert_eq!(whole.details.as_deref(), Some(shown));
        assert!(!whole.once);
        let cut = access(&"ü".repeat(DETAILS_BYTES_MAX));
        assert!(cut.once, "what was not shown is not granted for longer");
        let details = cut.details.expect("they are there");
        assert!(details.ends_with(&format!("\n… {DETAILS_BYTES_MAX} more bytes")));
    }
}
