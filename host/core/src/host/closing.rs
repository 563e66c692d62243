//! Closes workspaces and the host. The same path serves a workspace without claims, one that is
//! closed on request, and all of them when the host closes. Every wait is bounded; for the order
//! of the steps see [`Lifecycle`](crate::workspace::Lifecycle).

use super::registry::TOOLS_CLOSE;
use super::workspace::{WorkspaceInner, WorkspaceStage};
use super::workspace_providers::OpenProviders;
use super::{Host, HostError, HostInner};
use crate::run::{Cause, Receipt};
use crate::workspace::claims::Owned;
use crate::workspace::registry::Registry;
use crate::workspace::{CloseReason, Lifecycle};
use lastword_sandbox::Limits;
use lastword_store::Waits;
use lastword_types::id::{RunId, WorkspaceId};
use std::sync::Arc;
use std::time::Duration;

/// How a workspace was closed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClosedWorkspace {
    /// Runs whose end is not on disk yet; until it is, the workspace stays closing.
    pub left: Vec<RunId>,
    /// The ends of the runs that the cancelled waits of its sessions would have started.
    pub taken_back: Vec<Receipt>,
}

/// How much longer than the finishing deadline a shutdown waits for the last run.
const SHUTDOWN_MARGIN: Duration = Duration::from_secs(1);

/// The stage of the host's own shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Open,
    /// No new prompts or workspaces are taken.
    Closing,
    /// Every run that can end in this process has ended.
    Drained,
}

impl HostInner {
    /// The first half of closing a workspace: it takes no new prompts, and its queued prompts are
    /// held. Does nothing for one that is not open.
    pub(super) fn begin_close(self: &Arc<Self>, id: WorkspaceId, reason: CloseReason) {
        let closing = self.mark_closing(&mut self.workspaces.lock(), id, false);
        if let Some(workspace) = closing {
            self.hold_prompts(&workspace, reason);
        }
    }

    /// Bars an open workspace and marks it as closing; with `only_idle`, only if all its runs have
    /// ended.
    pub(super) fn mark_closing(
        &self,
        registry: &mut Registry<Arc<WorkspaceInner>>,
        id: WorkspaceId,
        only_idle: bool,
    ) -> Option<Arc<WorkspaceInner>> {
        let workspace = registry.open(id).ok()?;
        let barred = self.dispatcher.bar(&workspace, only_idle);
        barred.then(|| registry.close(id)).flatten()
    }

    /// Reports that a workspace closes, and holds its queued prompts.
    pub(super) fn hold_prompts(&self, workspace: &WorkspaceInner, reason: CloseReason) {
        workspace.reach(WorkspaceStage::Closing);
        self.workspaces.changed();
        self.dispatcher.tell(Lifecycle::Closing {
            workspace: workspace.id,
            reason,
        });
        // At a shutdown, the next host's recovery marks them as held.
        let hold = reason != CloseReason::Shutdown;
        self.dispatcher.hold_waiting(workspace.id, hold);
    }

    /// The second half: stops the workspace's runs; it is closed once they are over.
    pub(super) fn end_runs(self: &Arc<Self>, id: WorkspaceId) {
        self.dispatcher.stop_workspace(id);
        self.finish_close(id);
    }

    /// Closes a workspace and waits for it. Its sessions are no longer woken by a time.
    pub(super) async fn close(self: &Arc<Self>, id: WorkspaceId) -> ClosedWorkspace {
        let patience = self.patience();
        self.begin_close(id, CloseReason::Asked);
        self.finish_asked(id, patience).await
    }

    /// Ends an opener's claim, and closes the workspace unless another opener or a client claims
    /// it. Both are one step: a claim that is added in between keeps the workspace open.
    pub(super) async fn close_claim(
        self: &Arc<Self>,
        id: WorkspaceId,
        owned: Option<Owned>,
    ) -> ClosedWorkspace {
        let patience = self.patience();
        let closing = {
            let mut registry = self.workspaces.lock();
            if let Some(owned) = owned {
                registry.end(id, owned);
            }
            if registry.has_users(id) {
                return ClosedWorkspace::default();
            }
            self.mark_closing(&mut registry, id, false)
        };

        if let Some(workspace) = closing {
            self.hold_prompts(&workspace, CloseReason::Asked);
        }
        self.finish_asked(id, patience).await
    }

    /// Stops the runs of a workspace that was asked to close, and waits for it.
    async fn finish_asked(
        self: &Arc<Self>,
        id: WorkspaceId,
        patience: Duration,
    ) -> ClosedWorkspace {
        self.end_runs(id);
        let mut taken_back = self.forget_times(id).await;
        let is_open = {
            let registry = self.workspaces.lock();
            registry.open(id).is_ok() && !registry.has_users(id)
        };
        if is_open && self.dispatcher.has_woken(id) {
            // A session's time came in between, and opened it again.
            self.begin_close(id, CloseReason::Asked);
            self.end_runs(id);
        }

        let left = self.closed(id, patience).await;
        // A run that was stopped may have ended waiting in the meantime.
        taken_back.extend(self.forget_times(id).await);
        ClosedWorkspace { left, taken_back }
    }

    async fn forget_times(&self, id: WorkspaceId) -> Vec<Receipt> {
        let why =
            "the session waited to be woken, and its workspace was closed; prompt it to go on";
        let taken = self.take_waits_back(Waits::Times(id), Cause::Shutdown, why);
        taken.await.unwrap_or_else(|error| {
            tracing::warn!(workspace = %id, %error, "its sessions still wait for their times");
            Vec::new()
        })
    }

    /// Waits until a workspace is closed, at most as long as `patience`. Returns the runs that
    /// still keep it open.
    async fn closed(&self, id: WorkspaceId, patience: Duration) -> Vec<RunId> {
        let mut changes = self.workspaces.watch();
        let closed = async {
            loop {
                changes.borrow_and_update();
                if self.workspaces.lock().closing(id).is_none() {
                    return;
                }
                drop(changes.changed().await);
            }
        };

        tokio::select! {
            biased;
            () = closed => Vec::new(),
            () = self.dispatcher.clock.sleep(patience + TOOLS_CLOSE) => {
                self.dispatcher.drained(Some(id), Duration::ZERO).await
            }
        }
    }

    /// Waits until every workspace has closed its resources.
    async fn all_closed(&self, patience: Duration) {
        let mut changes = self.workspaces.watch();
        let closed = async {
            loop {
                changes.borrow_and_update();
                if self.workspaces.lock().is_empty() {
                    return;
                }
                drop(changes.changed().await);
            }
        };

        tokio::select! {
            biased;
            () = closed => {}
            () = self.dispatcher.clock.sleep(patience) => {}
        }
    }

    /// Whether no workspace is open or closing, except those kept by a lost run.
    fn is_idle(&self) -> bool {
        let registry = self.workspaces.lock();
        let stuck = |id| self.dispatcher.has_lost(id) && !self.dispatcher.has_runs(id);
        let mut list = registry.list();
        list.all(|(workspace, closing, _)| closing && stuck(workspace.id))
    }

    /// Handles the end of a workspace's last run.
    pub(super) fn on_idle(self: &Arc<Self>, id: WorkspaceId) {
        self.finish_close(id);
        self.close_if_unclaimed(id);
    }

    /// Begins the shutdown: no more prompts or workspaces are taken. Returns the open workspaces.
    fn take_nothing_new(&self) -> Vec<WorkspaceId> {
        let open = self.workspaces.lock().close_all();
        self.dispatcher.close();
        let first = self.stage.send_if_modified(|stage| {
            let first = *stage == Stage::Open;
            if first {
                *stage = Stage::Closing;
            }
            first
        });
        if first {
            self.dispatcher.tell(Lifecycle::HostClosing);
        }

        open
    }

    /// Whether the host is closing.
    pub(super) fn is_closing(&self) -> bool {
        *self.stage.borrow() != Stage::Open
    }

    /// Returns how long the end of a stopped run may take.
    pub(super) fn patience(&self) -> Duration {
        let of = |limits: &Limits| limits.finish_deadline + limits.grace + limits.epilogue;
        let registry = self.workspaces.lock();
        let own = registry.list().map(|(workspace, ..)| workspace.limits());
        let longest = own.map(|limits| of(&limits)).max().unwrap_or_default();
        longest.max(of(&self.limits)) + SHUTDOWN_MARGIN
    }

    async fn drain(self: &Arc<Self>) -> Vec<RunId> {
        let dispatcher = &self.dispatcher;
        let open = self.take_nothing_new();
        let patience = self.patience();
        for id in &open {
            self.begin_close(*id, CloseReason::Shutdown);
        }

        if !self.drain_time.is_zero() {
            dispatcher.drained(None, self.drain_time).await;
        }

        let closing: Vec<WorkspaceId> = {
            let registry = self.workspaces.lock();
            registry
                .list()
                .map(|(workspace, ..)| workspace.id)
                .collect()
        };

        for id in &closing {
            self.end_runs(*id);
        }

        let left = dispatcher.drained(None, patience).await;
        if left.is_empty() && dispatcher.brought().closes_workspaces() {
            self.all_closed(patience + TOOLS_CLOSE).await;
        }

        self.stage.send_replace(Stage::Drained);
        left
    }

    /// Ends every run, drops the embedder's extensions, and closes the store.
    async fn shut_down(self: &Arc<Self>) -> Vec<RunId> {
        let left = self.drain().await;
        let dispatcher = &self.dispatcher;
        // A workspace stays open, and keeps its providers, if a run has no end.
        let of_workspaces: Vec<OpenProviders> = {
            let registry = self.workspaces.lock();
            let workspaces = registry.list();
            workspaces
                .map(|(workspace, ..)| workspace.take_providers())
                .collect()
        };
        self.drop_providers((dispatcher.let_go(), of_workspaces))
            .await;

        let store = self.store.clone();
        let closed = dispatcher.guests.spawn_blocking(move || store.close());
        if closed.await.is_err() {
            tracing::error!("closing the store panicked");
        }

        dispatcher.tell(Lifecycle::HostClosed);
        left
    }

    /// Handles the drop of the last handle. Unfinished runs are ended in the background, in the
    /// order of a shutdown; if there are none, the store is closed at once.
    pub(super) fn abandon(self: Arc<Self>) {
        let busy = !self.dispatcher.live_runs(None).is_empty();
        let serves = self.dispatcher.brought().closes_workspaces();
        if busy || (serves && !self.workspaces.lock().is_empty()) {
            let guests = self.dispatcher.guests.clone();
            drop(guests.spawn(async move { self.shut_down().await }));
        } else {
            self.store.close();
        }
    }
}

impl Host {
    /// Closes a workspace for everyone: all claims of openers and clients end, and the rest is as
    /// for the last claim's [`Workspace::close`](super::Workspace::close). If it is not open, this
    /// only stops its sessions from being woken.
    ///
    /// Dropping the future after its first poll does not undo the closing: the workspace closes
    /// once its runs have ended. Sessions that wait for a time may still be woken then; call this
    /// again to prevent that.
    ///
    /// # Errors
    /// [`HostError::UnknownWorkspace`] if it is not open and no session of it waits for a time;
    /// [`HostError::WorkspaceClosing`], [`HostError::HostClosing`].
    pub async fn close_workspace(&self, id: WorkspaceId) -> Result<ClosedWorkspace, HostError> {
        let unknown = match self.workspace(id) {
            Ok(_) => None,
            Err(unknown @ HostError::UnknownWorkspace(_)) => Some(unknown),
            Err(other) => return Err(other),
        };

        let closed = self.inner.close(id).await;
        match unknown {
            Some(unknown) if closed == ClosedWorkspace::default() => Err(unknown),
            _ => Ok(closed),
        }
    }

    /// Ends every run. The host takes no new prompts; runs may continue for the time set by
    /// [`HostBuilder::drain`](super::HostBuilder::drain), are then stopped with the cause
    /// `shutdown`, and their ends are written. Queued prompts stay queued for the next host.
    /// Logs and sessions can still be read, until [`Host::shutdown`].
    ///
    /// After the time to drain, waits no longer than the finishing deadline, the grace period and
    /// a second. Returns the runs whose ends are not on disk by then; the next host's recovery
    /// writes them. Idempotent.
    ///
    /// Dropping the future after its first poll does not let the host take prompts again. Runs that
    /// have the time to drain are stopped by the next call, by [`Host::shutdown`], or when the last
    /// handle is dropped.
    pub async fn drain(&self) -> Vec<RunId> {
        self.inner.drain().await
    }

    /// Begins to close the host, if every accepted run has ended; otherwise changes nothing. This
    /// is atomic: a prompt is either accepted before, and keeps the host open, or refused with
    /// [`HostError::HostClosing`]. Returns whether the host is closing; [`Host::drain`] and
    /// [`Host::shutdown`] do the rest.
    #[must_use]
    pub fn close_if_idle(&self) -> bool {
        let closing = self.inner.dispatcher.close_if_idle();
        if closing {
            self.inner.take_nothing_new();
        }
        closing
    }

    /// Waits until every accepted run has ended, and then begins to close the host, as
    /// [`Host::close_if_idle`] does.
    ///
    /// Dropping the future has no effect, unless the host began to close before.
    pub async fn close_when_idle(&self) {
        self.inner.dispatcher.close_when_idle().await;
        self.inner.take_nothing_new();
    }

    /// Ends the host: calls [`Host::drain`], then drops the embedder's extensions and closes the
    /// store, so that another host can open the data directory.
    ///
    /// Returns the runs whose ends are left to the next host's recovery.
    ///
    /// Dropping the future after its first poll does not let the host take prompts again; the next
    /// call, or dropping the last handle, does the rest.
    pub async fn shutdown(&self) -> Vec<RunId> {
        self.inner.shut_down().await
    }

    /// Whether the host is closing and takes no more prompts.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.inner.is_closing()
    }

    /// Completes once the host is closing and takes no more prompts.
    ///
    /// Dropping the future has no effect.
    pub async fn closing(&self) {
        self.reached(Stage::Closing).await;
    }

    /// Completes once every run that can end in this process has ended: from then on, no events
    /// are added to the log.
    ///
    /// Dropping the future has no effect.
    pub async fn drained(&self) {
        self.reached(Stage::Drained).await;
    }

    async fn reached(&self, wanted: Stage) {
        let mut stage = self.inner.stage.subscribe();
        // The sender lives as long as the host.
        drop(stage.wait_for(|stage| *stage >= wanted).await);
    }

    /// Completes once no workspace has been open for this long: none is claimed, and every run has
    /// ended, except those whose ends only the next host can write.
    ///
    /// Dropping the future has no effect.
    pub async fn idle(&self, linger: Duration) {
        let mut changes = self.inner.workspaces.watch();
        loop {
            changes.borrow_and_update();
            if !self.inner.is_idle() {
                drop(changes.changed().await);
                continue;
            }
            tokio::select! {
                biased;
                _ = changes.changed() => {}
                () = self.inner.dispatcher.clock.sleep(linger) => return,
            }
        }
    }
}
