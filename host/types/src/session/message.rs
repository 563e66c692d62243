//! A message: its role, its place in the history, and its parts.

use super::{Extra, FinishReason, Part};
use crate::clock::UnixMillis;
use crate::id::{MessageId, RunId};
use crate::words::closed_words;
use serde::{Deserialize, Serialize};

closed_words! {
    /// The role of a message's author.
    #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
    pub enum Role ("role", "roles") {
        /// The user, or the agent that sent the prompt.
        User = "user",
        /// The agent.
        Assistant = "assistant",
        /// The tools that were called.
        Tool = "tool",
        /// The host, or a summary.
        System = "system",
    }
}

/// A message of a session, finished or still growing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// The run that it belongs to.
    pub run: RunId,
    /// Its place in the session's history, from 1. `None` until the run of a queued prompt starts,
    /// and permanently if that prompt is taken back. It alone decides the order of messages, never
    /// a clock.
    pub ordinal: Option<u64>,
    /// The role of its author.
    pub role: Role,
    /// Its content.
    pub parts: Vec<Part>,
    /// The model that wrote it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The provider of that model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Why it ended; `None` while it grows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish: Option<FinishReason>,
    /// Unix time in milliseconds when it was begun.
    pub created_ms: UnixMillis,
    /// Unix time in milliseconds when it ended, if it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_ms: Option<UnixMillis>,
    /// Named JSON values beside its fields.
    #[serde(default, skip_serializing_if = "Extra::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = std::collections::BTreeMap<String, String>))]
    pub extra: Extra,
}

impl Message {
    /// Creates an empty message without a place in the history.
    #[must_use]
    pub fn begin(id: MessageId, run: RunId, role: Role, now: UnixMillis) -> Self {
        Self {
            id,
            run,
            ordinal: None,
            role,
            parts: Vec::new(),
            model: None,
            provider: None,
            finish: None,
            created_ms: now,
            finished_ms: None,
            extra: Extra::new(),
        }
    }

    /// Returns all text parts, joined.
    #[must_use]
    pub fn text(&self) -> String {
        self.parts.iter().filter_map(Part::as_text).collect()
    }
}
