//! Runs as lists give them.

use super::{Origin, Receipt, RunState};
use crate::clock::UnixMillis;
use crate::id::RunId;
use crate::session::Part;
use serde::{Deserialize, Serialize};

/// A run, without its messages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RunSummary {
    /// Its id.
    pub id: RunId,
    /// Where it stands.
    pub state: RunState,
    /// What began it: `user`, `resume`, `fork`, …
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub origin: Origin,
    /// The lower-case hex SHA-256 of the agent's component.
    pub digest: String,
    /// When it was accepted.
    pub accepted_ms: UnixMillis,
    /// When its agent was called, once it has been.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_ms: Option<UnixMillis>,
    /// When it ended, once it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<UnixMillis>,
    /// How it ended, once it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
}

/// A prompt that waits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct QueuedRun {
    /// Its run.
    pub run: RunId,
    /// `queued`, or `held` until it is resumed.
    pub state: RunState,
    /// What began it: `user`, `parent`, `resume`, `wake` or `answer`.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub origin: Origin,
    /// What is asked.
    pub parts: Vec<Part>,
    /// The caller's idempotency key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// How long the run may take once it is running, if it is not the limits' own deadline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
    /// When it was accepted.
    pub accepted_ms: UnixMillis,
}
