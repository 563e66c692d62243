//! Why a message ended.

use crate::words::closed_words;

closed_words! {
    /// Why a message ended.
    ///
    /// Agents and models may report every reason up to [`FinishReason::Unknown`]; only the host
    /// reports the last three.
    #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
    pub enum FinishReason ("finish reason", "finish reasons") {
        /// The agent's answer is complete.
        EndTurn = "end_turn",
        /// The model's output limit was reached.
        MaxTokens = "max_tokens",
        /// The step ended in tool calls; their results and another step follow.
        ToolUse = "tool_use",
        /// The model's provider withheld the rest.
        ContentFilter = "content_filter",
        /// The run waits for a timer or an answer, which will queue a new run.
        Waiting = "waiting",
        /// An unknown reason, or none.
        Unknown = "unknown",
        /// A user, a deadline or a parent stopped the run.
        Cancelled = "cancelled",
        /// The agent or its sandbox failed.
        Error = "error",
        /// The host stopped or died.
        Interrupted = "interrupted",
    }
}

impl FinishReason {
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
