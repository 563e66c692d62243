//! The status of a host: its workspaces, its counters, and its lifecycle events.

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
    /// Its key.
    pub key: WorkspaceKey,
    /// Whether it accepts no more prompts.
    pub closing: bool,
    /// Claims of callers of [`Host::open_workspace`].
    pub openers: u32,
    /// The number of clients that claim it.
    pub clients: u32,
    /// The number of its clients' streams.
    pub streams: u32,
    /// The number of its runs that have a guest.
    pub running: u32,
    /// The number of its waiting runs.
    pub queued: u32,
}

/// The lifecycle events of a host, from the moment when this was created. A reader that is more
/// than a thousand events behind misses the oldest.
///
/// It is a [`Stream`]; [`LifecycleEvents::next`] works without that trait. Dropping it has no
/// effect on the host; a new one begins with the next event.
pub struct LifecycleEvents {
    notices: Polled<broadcast::Receiver<Lifecycle>>,
}

impl LifecycleEvents {
    /// Returns the next event; `None` once the host is gone. Dropping the future loses no event.
    pub async fn next(&mut self) -> Option<Lifecycle> {
        self.notices.source().next().await
    }

    /// Returns the events that have happened and were not returned yet.
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
    /// Returns the workspaces that are open or closing, in no order.
    #[must_use]
    pub fn open_workspaces(&self) -> Vec<WorkspaceStatus> {
        let registry = self.inner.workspaces.lock();
        let list = registry.list().map(|seen| self.status(seen));
        list.collect()
    }

    /// Returns the status of one workspace; `None` if it is neither open nor closing.
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
            key: WorkspaceKey::clone(&workspace.key),
            closing,
            openers: claims.openers(),
            clients: u32::try_from(claims.clients().count()).unwrap_or(u32::MAX),
            streams: claims.streams(),
            running,
            queued,
        }
    }

    /// Returns the lifecycle events of this host, from now on.
    #[must_use]
    pub fn lifecycle(&self) -> LifecycleEvents {
        LifecycleEvents {
            notices: Polled::new(self.inner.dispatcher.lifecycle.subscribe()),
        }
    }

    /// Returns what the host has done since it started, and what it is doing.
    #[must_use]
    pub fn stats(&self) -> HostStats {
        let mut stats = self.inner.dispatcher.counters.read();
        let (running, queued) = self.inner.dispatcher.load(None);
        stats.runs_running = u64::from(running);
        stats.runs_queued = u64::from(queued);
        stats.slots = u64::from(self.inner.engine.concurrent_runs());
        (stats.database_bytes, stats.wal_bytes) = self.inner.store.bytes_on_disk();
        for (_, closing, claims) in self.inner.workspaces.lock().list() {
            if closing {
                stats.workspaces_closing += 1;
            } else {
                stats.workspaces_open += 1;
            }
            stats.clients += claims.clients().count() as u64;
            stats.streams += u64::from(claims.streams());
        }

        stats
    }
}

impl Workspace {
    /// Returns the workspace's status; `None` once it is closed.
    #[must_use]
    pub fn status(&self) -> Option<WorkspaceStatus> {
        self.host.workspace_status(self.inner.id)
    }
}
