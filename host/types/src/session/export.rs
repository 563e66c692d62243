//! A whole session as one value, for export. Pure.

use super::{Message, SessionRecord};
use crate::id::RunId;
use crate::run::{Receipt, RunState};
use serde::{Deserialize, Serialize};

/// A session with the output of all its runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Export {
    /// The session.
    pub session: SessionRecord,
    /// Its runs, in the order of acceptance.
    pub runs: Vec<ExportedRun>,
}

/// A run with its messages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ExportedRun {
    /// Its id.
    pub run: RunId,
    /// Its state.
    pub state: RunState,
    /// Its receipt, if it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
    /// Its messages in order: first those with a place in the history, then the others.
    pub messages: Vec<Message>,
}
