//! What stands in streams beside the events of the log.

use lastword_types::id::WorkspaceId;
use serde::{Deserialize, Serialize};

/// The name of the last frame of a stream that broke off: its data is a [`Problem`](crate::Problem).
pub const EVENT_PROBLEM: &str = "problem";

/// A notice of a workspace's life, which is in no log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Notice {
    /// The same as the event's name.
    #[serde(rename = "type")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub kind: NoticeKind,
    /// The workspace.
    pub workspace: WorkspaceId,
}

/// What a notice says of a workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NoticeKind {
    /// Its runs are being ended; it takes no more prompts.
    #[serde(rename = "workspace.closing")]
    Closing,
    /// It is closed; the stream ends.
    #[serde(rename = "workspace.closed")]
    Closed,
    /// The claim of this stream's client is over; the stream ends.
    #[serde(rename = "workspace.released")]
    Released,
}

impl NoticeKind {
    /// The name of the frame.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closing => "workspace.closing",
            Self::Closed => "workspace.closed",
            Self::Released => "workspace.released",
        }
    }
}
