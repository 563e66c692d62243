//! What happens to workspaces and to the host itself, in the order in which it happens. Pure.
//!
//! These notices are not logged: they concern this process only. For one workspace the order
//! is `Opened`, then `Closing`, `Stopping` for each run that was active, `Ended` for each,
//! `Flushed`, `Released`, `Closed`; only after the last may its path be opened again.

use crate::id::{RunId, WorkspaceId};
use serde::Serialize;

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Lifecycle {
    /// A workspace was opened.
    Opened {
        /// Which.
        workspace: WorkspaceId,
    },
    /// A workspace takes no more prompts.
    Closing {
        /// Which.
        workspace: WorkspaceId,
        /// Why.
        reason: CloseReason,
    },
    /// A run was told to stop because its workspace closes.
    Stopping {
        /// Where it runs.
        workspace: WorkspaceId,
        /// Which.
        run: RunId,
    },
    /// A run has its end, and that is on disk.
    Ended {
        /// Where it ran.
        workspace: WorkspaceId,
        /// Which.
        run: RunId,
    },
    /// Everything that a workspace's runs said is on disk.
    Flushed {
        /// Which.
        workspace: WorkspaceId,
    },
    /// What a workspace had open is closed.
    Released {
        /// Which.
        workspace: WorkspaceId,
    },
    /// A workspace is closed; its path may be opened again.
    Closed {
        /// Which.
        workspace: WorkspaceId,
    },
    /// The host takes no more prompts.
    HostClosing,
    /// Every workspace is closed, and the store too.
    HostClosed,
}

impl Lifecycle {
    /// The workspace that it concerns; `None` for the host itself.
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
    /// A caller asked for it.
    Asked,
    /// The host shuts down.
    Shutdown,
}

/// What happens to the runs of a workspace once no client claims it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLastClient {
    /// They go on; the workspace closes after the last. The default.
    #[default]
    KeepRunning,
    /// They are stopped as at a shutdown; queued prompts are held. Where no client came since
    /// the workspace was opened, as for a prompt that waited, or where the last claim was not a
    /// client's but an embedder's, they go on.
    Cancel,
}
