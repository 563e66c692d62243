//! The events of a session, as they are logged and shown: the event catalogue and cursors. Plain
//! values.

mod body;
mod cursor;

pub use body::EventBody;
pub use cursor::{Position, Seq};

use crate::clock::UnixMillis;
use crate::id::{RunId, SessionId};
use serde::{Deserialize, Serialize};

/// One entry of the log.
///
/// Its JSON is what `lastword run --json` prints: `seq`, `pos`, `session`, `run`, `at_ms`,
/// then the body with its `type`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Event {
    /// Its number in the session, from 1, without gaps. 0 if the stored event was deleted and this
    /// one was rebuilt from the messages of its run.
    pub seq: Seq,
    /// Its position among all events of the host, in all workspaces: increasing, with gaps. 0 in
    /// the same case as `seq`.
    pub pos: Position,
    /// The session that it belongs to.
    pub session: SessionId,
    /// The run that it belongs to, if it belongs to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// Unix time in milliseconds when the host wrote it.
    pub at_ms: UnixMillis,
    /// What happened.
    #[serde(flatten)]
    pub body: EventBody,
}
