//! The frames of streams other than events of the log.

use lastword_types::id::WorkspaceId;
use serde::{Deserialize, Serialize};

/// The name of the last frame of a stream that failed. Its data is a [`Problem`](crate::Problem).
pub const EVENT_PROBLEM: &str = "problem";

/// A notice about a workspace's life, which is not logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Notice {
    /// The kind, which is also the event's name.
    #[serde(rename = "type")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub kind: NoticeKind,
    /// The workspace.
    pub workspace: WorkspaceId,
}

/// The kind of a notice about a workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NoticeKind {
    /// Its runs are being ended, and it accepts no more prompts.
    #[serde(rename = "workspace.closing")]
    Closing,
    /// It is closed. The stream ends.
    #[serde(rename = "workspace.closed")]
    Closed,
    /// The claim of this stream's client has ended. The stream ends.
    #[serde(rename = "workspace.released")]
    Released,
}

impl NoticeKind {
    /// Returns the name of the frame.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closing => "workspace.closing",
            Self::Closed => "workspace.closed",
            Self::Released => "workspace.released",
        }
    }
}
