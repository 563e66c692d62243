//! Why a message ended.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a message ended.
///
/// Agents and models may report every reason up to [`FinishReason::Unknown`]; only the host reports
/// the last three.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The agent's answer is complete.
    EndTurn,
    /// The model's output limit was reached.
    MaxTokens,
    /// The step ended in tool calls; their results and another step follow.
    ToolUse,
    /// The model's provider withheld the rest.
    ContentFilter,
    /// The run waits for a timer or an answer, which will queue a new run.
    Waiting,
    /// An unknown reason, or none.
    Unknown,
    /// A user, a deadline or a parent stopped the run.
    Cancelled,
    /// The agent or its sandbox failed.
    Error,
    /// The host stopped or died.
    Interrupted,
}

impl FinishReason {
    /// Returns the word that is stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EndTurn => "end_turn",
            Self::MaxTokens => "max_tokens",
            Self::ToolUse => "tool_use",
            Self::ContentFilter => "content_filter",
            Self::Waiting => "waiting",
            Self::Unknown => "unknown",
            Self::Cancelled => "cancelled",
            Self::Error => "error",
            Self::Interrupted => "interrupted",
        }
    }

    /// Returns the reason if an agent may report it; `None` for the three that only the host
    /// reports.
    #[must_use]
    pub fn from_agent(word: Option<&str>) -> Option<Self> {
        Some(match word {
            None | Some("end_turn" | "end-turn" | "stop") => Self::EndTurn,
            Some("max_tokens" | "max-tokens" | "length") => Self::MaxTokens,
            Some("tool_use" | "tool-use") => Self::ToolUse,
            Some("content_filter" | "content-filter") => Self::ContentFilter,
            Some("waiting") => Self::Waiting,
            Some("cancelled" | "error" | "interrupted") => return None,
            Some(_) => Self::Unknown,
        })
    }
}

impl fmt::Display for FinishReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
