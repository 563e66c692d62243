//! A session and a workspace as values, and the usage that a session sums.

use crate::clock::UnixMillis;
use crate::id::{AgentId, MessageId, SessionId, WorkspaceId};
use serde::{Deserialize, Serialize};

/// Characters of the longest title that is made from a prompt.
pub const TITLE_CHARS_MAX: usize = 80;

/// What models counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Usage {
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// What they cost, in millionths of a US dollar; 0 if the price is not known.
    #[serde(default)]
    pub cost_micros: u64,
    /// Of the tokens read, those that the service had kept from an earlier request.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cache_read_tokens: u64,
    /// Of the tokens read, those that the service kept for a later request.
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
    /// Adds another count, saturating.
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
    /// What is to be done.
    pub content: String,
    /// How far it is.
    pub status: TodoStatus,
}

/// Points of the longest plan.
pub const TODO_POINTS_MAX: usize = 100;
/// Characters of the longest point.
pub const TODO_CHARS_MAX: usize = 500;

/// How far a point of a plan is.
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
    /// Its last message that was copied.
    pub message: MessageId,
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
    /// What all its runs used.
    pub usage: Usage,
    /// The session that began this one, if that is still there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<SessionId>,
    /// Where its first messages were copied from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forked_from: Option<ForkPoint>,
    /// The message that stands for the beginning of the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<MessageId>,
    /// Its plan.
    #[serde(default)]
    pub todo: Vec<Todo>,
    /// When it was made.
    pub created_ms: UnixMillis,
    /// When one of its runs last began or ended.
    pub updated_ms: UnixMillis,
}

/// Characters of the longest title that a user may give.
pub const TITLE_GIVEN_CHARS_MAX: usize = 200;

/// A title that a user gives, trimmed; `None` if it is empty, longer than
/// [`TITLE_GIVEN_CHARS_MAX`] characters, or has control characters.
#[must_use]
pub fn title_given(title: &str) -> Option<&str> {
    let title = title.trim();
    let fits = (1..=TITLE_GIVEN_CHARS_MAX).contains(&title.chars().count());
    (fits && !title.chars().any(char::is_control)).then_some(title)
}

/// A workspace that is known, open or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WorkspaceRecord {
    /// Its id.
    pub id: WorkspaceId,
    /// A directory's path, or the name.
    pub key: String,
    /// What the key is.
    pub kind: WorkspaceKind,
    /// When it was first opened.
    pub created_ms: UnixMillis,
    /// How many sessions it has.
    pub sessions: u64,
}

/// What a workspace is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum WorkspaceKind {
    /// A directory.
    Directory,
    /// A directory whose path is no UTF-8: `%XX` stands for each byte that is none, and for
    /// `%`.
    DirectoryBytes,
    /// A directory of which an earlier version kept only the part of the path that is UTF-8.
    /// Which one it was cannot be told: its sessions can be read, and it cannot be opened.
    DirectoryLossy,
    /// A name without one.
    Name,
}

impl WorkspaceKind {
    const ALL: [Self; 4] = [
        Self::Directory,
        Self::DirectoryBytes,
        Self::DirectoryLossy,
        Self::Name,
    ];

    /// What stands in front of the colon of a stored key.
    fn word(self) -> &'static str {
        match self {
            Self::Directory => "dir",
            Self::DirectoryBytes => "bytes",
            Self::DirectoryLossy => "lossy",
            Self::Name => "name",
        }
    }

    /// What a stored key is, and what follows its kind.
    #[must_use]
    pub fn split(stored: &str) -> (Self, &str) {
        let parts = stored.split_once(':');
        let known = parts.and_then(|(word, key)| {
            let kind = Self::ALL.into_iter().find(|kind| kind.word() == word);
            Some((kind?, key))
        });
        known.unwrap_or((Self::Name, stored))
    }

    /// The stored key of a workspace of this kind.
    #[must_use]
    pub fn stored(self, key: &str) -> String {
        format!("{}:{key}", self.word())
    }
}

impl WorkspaceRecord {
    /// Of what is stored: the key with its kind in front.
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
