//! What a host tells of itself: its workspaces, its counters, and the steps of its life.

use super::{Host, Workspace, WorkspaceInner};
use crate::run::HostStats;
use crate::run::polled::{Polled, Source};
use crate::workspace::claims::Claims;
use crate::workspace::{Lifecycle, WorkspaceKey};
use futures_util::Stream;
use lastword_types::id::WorkspaceId;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::broadcast;

/// An open or closing workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkspaceStatus {
    /// Its id.
    pub id: WorkspaceId,
    /// What it is known by.
    pub key: WorkspaceKey,
    /// Whether it takes no more prompts.
    pub closing: bool,
    /// Clients that claim it.
    pub clients: u32,
    /// Their streams.
    pub streams: u32,
    /// Its runs that have a guest.
    pub running: u32,
    /// Its runs that wait.
    pub queued: u32,
}

/// The steps of a host's life as they happen, from when it was asked for. A reader that is more
/// than a thousand steps behind misses the oldest.
///
/// It is a [`Stream`], and has [`LifecycleEvents::next`] for those who need no more. Dropping it
/// ends nothing; a new one begins with what happens then.
pub struct LifecycleEvents {
    notices: Polled<broadcast::Receiver<Lifecycle>>,
}

impl LifecycleEvents {
    /// The next step; `None` once the host is gone. Dropping the future loses no step.
    pub async fn next(&mut self) -> Option<Lifecycle> {
        self.notices.source().next().await
    }

    /// The steps that have happened and were not taken yet.
    #[must_use]
    pub fn so_far(&mut self) -> Vec<Lifecycle> {
        let notices = self.notices.source();
        std::iter::from_fn(|| notices.try_recv().ok()).collect()
    }
}

impl Stream for LifecycleEvents {
    type Item = Lifecycle;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Lifecycle>> {
        self.get_mut().notices.poll_next(cx)
    }
}

impl std::fmt::Debug for LifecycleEvents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LifecycleEvents").finish_non_exhaustive()
    }
}

impl Source for broadcast::Receiver<Lifecycle> {
    type Item = Lifecycle;

    async fn next(&mut self) -> Option<Lifecycle> {
        loop {
            match self.recv().await {
                Ok(notice) => return Some(notice),
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "a listener to the host's lifecycle was too slow");
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

impl Host {
    /// The workspaces that are open or closing, in no order.
    #[must_use]
    pub fn open_workspaces(&self) -> Vec<WorkspaceStatus> {
        let registry = self.inner.workspaces.lock();
        let list = registry.list().map(|seen| self.status(seen));
        list.collect()
    }

    /// One of them; `None` for a workspace that is neither open nor closing.
    #[must_use]
    pub fn workspace_status(&self, id: WorkspaceId) -> Option<WorkspaceStatus> {
        let registry = self.inner.workspaces.lock();
        registry.find(id).map(|seen| self.status(seen))
    }

    fn status(
        &self,
        (workspace, closing, claims): (&Arc<WorkspaceInner>, bool, &Claims),
    ) -> WorkspaceStatus {
        let (running, queued) = self.inner.dispatcher.load(Some(workspace.id));
        WorkspaceStatus {
            id: workspace.id,
            key: workspace.key.clone(),
            closing,
            clients: u32::try_from(claims.clients().count()).unwrap_or(u32::MAX),
            streams: claims.streams(),
            running,
            queued,
        }
    }

    /// The steps of this host's life, from now on.
    #[must_use]
    pub fn lifecycle(&self) -> LifecycleEvents {
        LifecycleEvents {
            notices: Polled::new(self.inner.dispatcher.lifecycle.subscribe()),
        }
    }

    /// What the host has done since it started, and what it is doing.
    #[must_use]
    pub fn stats(&self) -> HostStats {
        let mut stats = self.inner.dispatcher.counters.read();
        let (running, queued) = self.inner.dispatcher.load(None);
        stats.runs_running = u64::from(running);
        stats.runs_queued = u64::from(queued);
        stats.slots = u64::from(self.inner.engine.concurrent_runs());
        for (_, closing, claims) in self.inner.workspaces.lock().list() {
            match closing {
                true => stats.workspaces_closing += 1,
                false => stats.workspaces_open += 1,
            }
            stats.clients += claims.clients().count() as u64;
            stats.streams += u64::from(claims.streams());
        }

        stats
    }
}

impl Workspace {
    /// How it stands; `None` once it is closed.
    #[must_use]
    pub fn status(&self) -> Option<WorkspaceStatus> {
        self.host.workspace_status(self.inner.id)
    }
}
