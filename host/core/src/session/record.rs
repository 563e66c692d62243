//! A session as a value, and the usage that it sums. Knows no storage.

use crate::clock::UnixMillis;
use crate::id::{AgentId, SessionId, WorkspaceId};
use serde::{Deserialize, Serialize};

/// Characters of the longest title that is made from a prompt.
pub const TITLE_CHARS_MAX: usize = 80;

/// Tokens that models counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Usage {
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
}

impl Usage {
    /// Adds another count, saturating.
    pub fn add(&mut self, other: Self) {
        self.input_tokens = self.input_tokens.saturating_add(other.input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(other.output_tokens);
    }
}

/// One conversation with one agent in one workspace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SessionRecord {
    /// Its id.
    pub id: SessionId,
    /// Where it belongs.
    pub workspace: WorkspaceId,
    /// Whom it talks to.
    pub agent: AgentId,
    /// Set by a person or the agent; otherwise made from the first prompt.
    pub title: Option<String>,
    /// Messages with a place in the history.
    pub messages: u64,
    /// Tokens of all its runs.
    pub usage: Usage,
    /// When it was made.
    pub created_ms: UnixMillis,
    /// When one of its runs last began or ended.
    pub updated_ms: UnixMillis,
}

/// A one-line title of at most [`TITLE_CHARS_MAX`] characters from a prompt's text.
#[must_use]
pub fn title_from(prompt: &str) -> String {
    let line = prompt.trim().lines().next().unwrap_or_default();
    let mut title: String = line
        .chars()
        .filter(|c| !c.is_control())
        .take(TITLE_CHARS_MAX)
        .collect();
    if line.chars().count() > TITLE_CHARS_MAX {
        title.pop();
        title.push('…');
    }
    title
}
