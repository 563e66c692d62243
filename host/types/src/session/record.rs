//! Sessions, their plans and their usage, and workspaces, as plain values.

use crate::clock::UnixMillis;
use crate::id::{AgentId, MessageId, SessionId, WorkspaceId};
use serde::{Deserialize, Serialize};

/// The largest number of characters of a title that is made from a prompt.
pub const TITLE_CHARS_MAX: usize = 80;

/// Tokens and cost, as models reported them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Usage {
    /// Tokens that models read.
    pub input_tokens: u64,
    /// Tokens that models wrote.
    pub output_tokens: u64,
    /// The cost of these tokens, in millionths of a US dollar; 0 if the price is unknown.
    #[serde(default)]
    pub cost_micros: u64,
    /// The part of `input_tokens` that the service read from its cache.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cache_read_tokens: u64,
    /// The part of `input_tokens` that the service wrote to its cache.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cache_write_tokens: u64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Usage {
    /// Adds another usage, saturating.
    pub fn add(&mut self, other: Self) {
        self.input_tokens = self.input_tokens.saturating_add(other.input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(other.output_tokens);
        self.cost_micros = self.cost_micros.saturating_add(other.cost_micros);
        self.cache_read_tokens = self
            .cache_read_tokens
            .saturating_add(other.cache_read_tokens);
        self.cache_write_tokens = self
            .cache_write_tokens
            .saturating_add(other.cache_write_tokens);
    }
}

/// One point of a session's plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Todo {
    /// The task.
    pub content: String,
    /// The progress of this point.
    pub status: TodoStatus,
}

/// The largest number of points in a plan.
pub const TODO_POINTS_MAX: usize = 100;
/// The largest number of characters in a point.
pub const TODO_CHARS_MAX: usize = 500;

/// The progress of a point of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum TodoStatus {
    /// Not begun.
    Pending,
    /// Under way.
    InProgress,
    /// Done.
    Completed,
}

/// The message through which a session's history was copied into a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ForkPoint {
    /// The session that was copied.
    pub session: SessionId,
    /// The last message that was copied.
    pub message: MessageId,
}

/// One conversation with one agent in one workspace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SessionRecord {
    /// Its id.
    pub id: SessionId,
    /// The workspace that it belongs to.
    pub workspace: WorkspaceId,
    /// The agent that it talks to.
    pub agent: AgentId,
    /// The title that a person or the agent set, or one that was made from the first prompt.
    pub title: Option<String>,
    /// The number of messages with a place in the history.
    pub messages: u64,
    /// The usage of all its runs.
    pub usage: Usage,
    /// The session that began this one, if one did and still exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<SessionId>,
    /// The message of another session through which its history was copied, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forked_from: Option<ForkPoint>,
    /// The message with the summary that replaces the beginning of the history, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<MessageId>,
    /// Its plan.
    #[serde(default)]
    pub todo: Vec<Todo>,
    /// Unix time in milliseconds when it was created.
    pub created_ms: UnixMillis,
    /// Unix time in milliseconds when one of its runs last began or ended.
    pub updated_ms: UnixMillis,
}

/// The largest number of characters of a title that a user gives.
pub const TITLE_GIVEN_CHARS_MAX: usize = 200;

/// Returns a title from a user, trimmed; `None` if it is empty, longer than
/// [`TITLE_GIVEN_CHARS_MAX`] characters, or contains control characters.
#[must_use]
pub fn title_given(title: &str) -> Option<&str> {
    let title = title.trim();
    let fits = (1..=TITLE_GIVEN_CHARS_MAX).contains(&title.chars().count());
    (fits && !title.chars().any(char::is_control)).then_some(title)
}

/// A known workspace, open or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WorkspaceRecord {
    /// Its id.
    pub id: WorkspaceId,
    /// The path of its directory, or its name.
    pub key: String,
    /// The kind of the key.
    pub kind: WorkspaceKind,
    /// Unix time in milliseconds when it was first opened.
    pub created_ms: UnixMillis,
    /// The number of its sessions.
    pub sessions: u64,
}

/// The kind of a workspace's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum WorkspaceKind {
    /// A directory.
    Directory,
    /// A directory whose path is not UTF-8. `%XX` stands for each byte that is not part of UTF-8
    /// text, and for `%`.
    DirectoryBytes,
    /// A directory of which an earlier version kept only the UTF-8 part of the path. The full path
    /// is unknown: its sessions can be read, but it cannot be opened.
    DirectoryLossy,
    /// A name without a directory.
    Name,
}

impl WorkspaceKind {
    const ALL: [Self; 4] = [
        Self::Directory,
        Self::DirectoryBytes,
        Self::DirectoryLossy,
        Self::Name,
    ];

    /// Returns the word before the colon of a stored key.
    fn word(self) -> &'static str {
        match self {
            Self::Directory => "dir",
            Self::DirectoryBytes => "bytes",
            Self::DirectoryLossy => "lossy",
            Self::Name => "name",
        }
    }

    /// Returns the kind of a stored key, and the rest of it.
    #[must_use]
    pub fn split(stored: &str) -> (Self, &str) {
        let parts = stored.split_once(':');
        let known = parts.and_then(|(word, key)| {
            let kind = Self::ALL.into_iter().find(|kind| kind.word() == word);
            Some((kind?, key))
        });
        known.unwrap_or((Self::Name, stored))
    }

    /// Returns the stored key of a workspace of this kind.
    #[must_use]
    pub fn stored(self, key: &str) -> String {
        format!("{}:{key}", self.word())
    }
}

impl WorkspaceRecord {
    /// Creates the record from a stored key, which begins with its kind.
    pub fn stored(id: WorkspaceId, key: &str, created_ms: UnixMillis, sessions: u64) -> Self {
        let (kind, key) = WorkspaceKind::split(key);
        Self {
            id,
            key: key.to_owned(),
            kind,
            created_ms,
            sessions,
        }
    }
}

/// Returns a one-line title of at most [`TITLE_CHARS_MAX`] characters from a prompt's text.
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
