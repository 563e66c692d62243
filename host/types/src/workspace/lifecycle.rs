//! The events in the life of workspaces and of the host, in the order in which they happen. Pure.
//!
//! These notices are not logged, since they concern this process only. For one workspace the order
//! is `Opened`, then `Closing`, `Stopping` for each run that was active, `Ended` for each,
//! `Flushed`, `Released`, `Closed`. Its path can be opened again only after the last one.

use crate::id::{RunId, WorkspaceId};
use serde::Serialize;

/// One notice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Lifecycle {
    /// A workspace was opened.
    Opened {
        /// The workspace.
        workspace: WorkspaceId,
    },
    /// A workspace accepts no more prompts.
    Closing {
        /// The workspace.
        workspace: WorkspaceId,
        /// Why it closes.
        reason: CloseReason,
    },
    /// A run was told to stop because its workspace closes.
    Stopping {
        /// The workspace of the run.
        workspace: WorkspaceId,
        /// The run.
        run: RunId,
    },
    /// A run ended, and its end is durable.
    Ended {
        /// The workspace of the run.
        workspace: WorkspaceId,
        /// The run.
        run: RunId,
    },
    /// All output of a workspace's runs is durable.
    Flushed {
        /// The workspace.
        workspace: WorkspaceId,
    },
    /// Everything that a workspace had open is closed.
    Released {
        /// The workspace.
        workspace: WorkspaceId,
    },
    /// A workspace is closed. Its path can be opened again.
    Closed {
        /// The workspace.
        workspace: WorkspaceId,
    },
    /// The host accepts no more prompts.
    HostClosing,
    /// All workspaces and the store are closed.
    HostClosed,
}

impl Lifecycle {
    /// Returns the workspace of the notice; `None` for the host itself.
    #[must_use]
    pub fn workspace(&self) -> Option<WorkspaceId> {
        match self {
            Self::Opened { workspace }
            | Self::Closing { workspace, .. }
            | Self::Stopping { workspace, .. }
            | Self::Ended { workspace, .. }
            | Self::Flushed { workspace }
            | Self::Released { workspace }
            | Self::Closed { workspace } => Some(*workspace),
            Self::HostClosing | Self::HostClosed => None,
        }
    }
}

/// Why a workspace closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum CloseReason {
    /// No client claims it any more.
    Unclaimed,
    /// A caller asked for it to close.
    Asked,
    /// The host shuts down.
    Shutdown,
}

/// What happens to the runs of a workspace once no client claims it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLastClient {
    /// They continue, and the workspace closes after the last one. The default.
    #[default]
    KeepRunning,
    /// They are stopped as at a shutdown, and queued prompts are held. They continue if no client
    /// has come since the workspace was opened, for example for a prompt that waited, or if the last
    /// claim was an embedder's and not a client's.
    Cancel,
}
