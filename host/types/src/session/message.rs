//! A message: its role, its place in the history, and its parts.

use super::{Extra, FinishReason, Part};
use crate::clock::UnixMillis;
use crate::id::{MessageId, RunId};
use crate::words::closed_words;
use serde::{Deserialize, Serialize};

closed_words! {
    /// Who speaks.
    #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
    pub enum Role ("role", "roles") {
        /// The user, or another agent, that sends the prompt.
        User = "user",
        /// The agent.
        Assistant = "assistant",
        /// The tools that were called.
        Tool = "tool",
        /// The host, or a summary.
        System = "system",
    }
}

/// A message of a session, whole or still growing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// The run that it belongs to.
    pub run: RunId,
    /// Its place in the session's history, from 1; `None` until the run of a queued prompt starts,
    /// and for good if that prompt is taken back.
    /// The order of messages depends on this alone, never on a clock.
    pub ordinal: Option<u64>,
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub parts: Vec<Part>,
    /// The model that wrote it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Where that model runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Why it ended; `None` while it grows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish: Option<FinishReason>,
    /// When it was begun.
    pub created_ms: UnixMillis,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_ms: Option<UnixMillis>,
    /// What came with it.
    #[serde(default, skip_serializing_if = "Extra::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = std::collections::BTreeMap<String, String>))]
    pub extra: Extra,
}

impl Message {
    /// An empty message without a place yet.
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

    /// All text parts, joined.
    #[must_use]
    pub fn text(&self) -> String {
        self.parts.iter().filter_map(Part::as_text).collect()
    }
}
