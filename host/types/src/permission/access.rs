//! An access that an agent is about to make, in a form that can be decided and shown to users.

use super::Capability;
use crate::text;

/// The largest number of bytes of an access's details that are shown, before characters are
/// escaped.
const DETAILS_BYTES_MAX: usize = 16 << 10;

/// One access that a tool, or a guest by itself, is about to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The capability that the access needs.
    pub capability: Capability,
    /// The target of the access: a path relative to the workspace, `host:port`, the name of a tool,
    /// an agent or a secret, or a program and its arguments separated by spaces.
    pub target: String,
    /// One line for people: `change src/lib.rs`.
    pub title: String,
    /// The change as a unified diff, if the access changes a file.
    pub diff: Option<String>,
    /// Further details for people, escaped as by [`text::lines`]: what a command reads, or the
    /// arguments of a tool.
    pub details: Option<String>,
    /// Whether an answer can allow it only this once: the question offers nothing for longer, and
    /// earlier answers do not cover it. Set if the target alone does not describe the whole access.
    pub once: bool,
}

impl Access {
    /// Creates an access to a target.
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

    /// Adds further details, one below the other, escaped as by [`text::lines`]. If they are too
    /// long to be shown completely, the access can be allowed only this once.
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

    /// Returns the access, which answers can then allow only this once. Rules can still allow it.
    #[must_use]
    pub fn once(mut self) -> Self {
        self.once = true;
        self
    }

    /// Adds the change as a unified diff.
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
