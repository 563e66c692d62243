//! What somebody is about to do, said so that it can be decided and shown to people.

use super::Capability;

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
        }
    }

    /// The same with what would change.
    #[must_use]
    pub fn diff(mut self, diff: impl Into<String>) -> Self {
        self.diff = Some(diff.into());
        self
    }
}
