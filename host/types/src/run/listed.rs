//! Runs without their messages, as lists and single reads have them.

use super::{Origin, Receipt, RunState};
use crate::clock::UnixMillis;
use crate::id::{RunId, SessionId};
use crate::session::Part;
use serde::{Deserialize, Serialize};

/// A run, without its messages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RunSummary {
    /// Its id.
    pub run: RunId,
    /// The session that it belongs to.
    pub session: SessionId,
    /// Its state.
    pub state: RunState,
    /// What began it: `user`, `resume`, `fork`, …
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub origin: Origin,
    /// The lower-case hex SHA-256 of the agent's component.
    pub digest: String,
    /// Unix time in milliseconds when it was accepted.
    pub accepted_ms: UnixMillis,
    /// Unix time in milliseconds when its agent was called, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_ms: Option<UnixMillis>,
    /// Unix time in milliseconds when it ended, if it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<UnixMillis>,
    /// How it ended, if it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
}

/// A waiting prompt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct QueuedRun {
    /// The id of its run.
    pub run: RunId,
    /// `queued`, or `held` until it is resumed.
    pub state: RunState,
    /// What began the run: `user`, `parent`, `resume`, `wake` or `answer`.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub origin: Origin,
    /// The content of the prompt.
    pub parts: Vec<Part>,
    /// The caller's idempotency key, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The longest time that the run may take after its start, in milliseconds, if it is not the
    /// deadline of the limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
    /// Unix time in milliseconds when it was accepted.
    pub accepted_ms: UnixMillis,
}
