//! Opens and closes workspaces as `workspace::registry` decides: that registry keeps the state,
//! and this module holds its lock and runs the timers of claims. Opening a workspace is slow, so
//! it happens outside the lock.

use super::workspace::{WorkspaceInner, WorkspaceStage, follow_path, open};
use super::{HostError, HostInner, WorkspaceOptions};
use crate::guest::tools::Source;
use crate::run::Cause;
use crate::workspace::claims::{LeasePhase, LeaseState, Owned, Stream, Timer};
use crate::workspace::registry::{Ask, Claimant, Claimed, Refused, Registry};
use crate::workspace::{CloseReason, Lifecycle, OnLastClient, WorkspaceKey};
use futures_util::future::BoxFuture;
use lastword_types::id::{ClientId, WorkspaceId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

/// How long closing a workspace waits for its tools.
pub(super) const TOOLS_CLOSE: Duration = Duration::from_secs(5);

/// How long claims last, and what happens when the last one ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClaimSettings {
    pub(super) hold: Duration,
    pub(super) grace: Duration,
    pub(super) on_last_client: OnLastClient,
}

type Locked = Registry<Arc<WorkspaceInner>>;

/// A timer of a claim, and the task that waits for its end.
struct Begun {
    timer: Timer,
    task: AbortHandle,
}

/// The workspaces of a host.
pub(super) struct Workspaces {
    registry: Mutex<Locked>,
    /// Changed only while the registry is locked, so that each timer belongs to the current state
    /// of its claim.
    timers: Mutex<HashMap<(WorkspaceId, ClientId), Begun>>,
    /// Tokens that notify the streams of a claim of its end. Like the timers, they change only
    /// while the registry is locked.
    streams: Mutex<HashMap<(WorkspaceId, ClientId), CancellationToken>>,
    settings: ClaimSettings,
    /// A counter of changes, which waiting callers watch.
    changes: watch::Sender<u64>,
}

impl Workspaces {
    pub(super) fn new(settings: ClaimSettings) -> Self {
        Self {
            registry: Mutex::new(Registry::new(settings.on_last_client)),
            timers: Mutex::new(HashMap::new()),
            streams: Mutex::new(HashMap::new()),
            settings,
            changes: watch::Sender::new(0),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Locked> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the open or closing workspace of a key.
    fn id_of(&self, key: &WorkspaceKey) -> Option<WorkspaceId> {
        let registry = self.lock();
        let mut found = registry
            .list()
            .filter(|(workspace, ..)| *workspace.key == *key);
        found.next().map(|(workspace, ..)| workspace.id)
    }

    pub(super) fn changed(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn timers(&self) -> MutexGuard<'_, HashMap<(WorkspaceId, ClientId), Begun>> {
        self.timers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a claim's timer, and stores its replacement, if there is one.
    fn keep_timer(&self, workspace: WorkspaceId, client: ClientId, begun: Option<Begun>) {
        let mut timers = self.timers();
        let before = match begun {
            Some(begun) => timers.insert((workspace, client), begun),
            None => timers.remove(&(workspace, client)),
        };
        if let Some(before) = before {
            before.task.abort();
        }
    }

    /// Removes a timer that ended, unless a later one has replaced it.
    fn forget_timer(&self, workspace: WorkspaceId, ended: Timer) {
        let mut timers = self.timers();
        let kept = timers.get(&(workspace, ended.client));
        if kept.is_some_and(|begun| begun.timer == ended) {
            timers.remove(&(workspace, ended.client));
        }
    }

    fn streams(&self) -> MutexGuard<'_, HashMap<(WorkspaceId, ClientId), CancellationToken>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the streams of a claim that was released or retired.
    fn end_streams(&self, workspace: WorkspaceId, client: ClientId) {
        if let Some(over) = self.streams().remove(&(workspace, client)) {
            over.cancel();
        }
    }

    fn stop_timers(&self, workspace: WorkspaceId) {
        // The streams learn from `WorkspaceStages` that the workspace is closed.
        self.streams().retain(|(of, _), _| *of != workspace);
        self.timers().retain(|(of, _), begun| {
            let stays = *of != workspace;
            if !stays {
                begun.task.abort();
            }
            stays
        });
    }
}

/// Removes the entry of a workspace if the future that opens it is dropped.
struct Opening<'h> {
    host: &'h HostInner,
    key: Option<&'h WorkspaceKey>,
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.host.workspaces.lock().failed(key);
            self.host.workspaces.changed();
        }
    }
}

/// An owned claim, which ends when this is dropped, if it has not ended before. The drop never
/// waits, and needs no runtime.
pub(super) struct ClaimGuard {
    host: Arc<HostInner>,
    workspace: WorkspaceId,
    owned: Owned,
}

impl ClaimGuard {
    /// The claim, for a caller that ends it together with another change of the registry.
    pub(super) fn owned(&self) -> Owned {
        self.owned
    }
}

impl Drop for ClaimGuard {
    fn drop(&mut self) {
        let workspaces = &self.host.workspaces;
        workspaces.lock().end(self.workspace, self.owned);
        self.host.close_if_unclaimed(self.workspace);
    }
}

/// A workspace that was claimed.
pub(super) struct ClaimedWorkspace {
    pub(super) workspace: Arc<WorkspaceInner>,
    /// Whether this claim opened it.
    pub(super) opened: bool,
    /// The claim, if its owner ends it.
    pub(super) guard: Option<ClaimGuard>,
}

impl HostInner {
    /// Opens a workspace for a claimant, or returns the open one, with the directory that its path
    /// leads to now. Options replace those of the workspace; without options, it keeps those it had
    /// last. If it is closing, waits for that within a bound.
    ///
    /// Dropping the future ends an owned claim that it had obtained.
    pub(super) async fn claim(
        self: &Arc<Self>,
        key: &WorkspaceKey,
        options: Option<WorkspaceOptions>,
        who: Claimant,
    ) -> Result<ClaimedWorkspace, HostError> {
        let mut changes = self.workspaces.watch();
        let mut patience = None;
        loop {
            changes.borrow_and_update();
            let ask = match self.ask(key, who) {
                Err(Refused::WorkspaceClosing) => {
                    let Some(id) = self.workspaces.id_of(key) else {
                        // It closed in the meantime.
                        continue;
                    };
                    let over = patience.get_or_insert_with(|| self.closed_by());
                    tokio::select! {
                        biased;
                        _ = changes.changed() => continue,
                        () = over => return Err(HostError::WorkspaceClosing(id)),
                    }
                }
                ask => {
                    ask.map_err(|refused| why(refused, who, WorkspaceId::from_bytes([0; 16])))?
                }
            };
            match ask {
                Ask::Ready(workspace, claimed) => {
                    let guard = self.guard(workspace.id, claimed);
                    follow_path(self, &workspace).await?;
                    if let Some(options) = options {
                        self.set_options(&workspace, options).await?;
                    }
                    return Ok(ClaimedWorkspace {
                        workspace,
                        opened: false,
                        guard,
                    });
                }
                Ask::Open => return self.open(key, options, who).await,
                // The sender lives as long as the host.
                Ask::Wait => drop(changes.changed().await),
            }
        }
    }

    /// Returns what ends an owned claim. It must not be dropped while the registry is locked.
    fn guard(self: &Arc<Self>, workspace: WorkspaceId, claimed: Claimed) -> Option<ClaimGuard> {
        match claimed {
            Claimed::Owned(owned) => Some(ClaimGuard {
                host: Arc::clone(self),
                workspace,
                owned,
            }),
            Claimed::Client(..) => None,
        }
    }

    /// Completes after the longest time that closing a workspace should take from now.
    fn closed_by(&self) -> BoxFuture<'static, ()> {
        let clock = &self.dispatcher.clock;
        clock.sleep(self.patience() + TOOLS_CLOSE)
    }

    fn ask(
        self: &Arc<Self>,
        key: &WorkspaceKey,
        who: Claimant,
    ) -> Result<Ask<Arc<WorkspaceInner>>, Refused> {
        let mut registry = self.workspaces.lock();
        let ask = registry.ask(key, who)?;
        if let Ask::Ready(open, Claimed::Client(client, state)) = &ask {
            self.claimed(registry, open.id, *client, *state);
        }
        Ok(ask)
    }

    async fn open(
        self: &Arc<Self>,
        key: &WorkspaceKey,
        options: Option<WorkspaceOptions>,
        who: Claimant,
    ) -> Result<ClaimedWorkspace, HostError> {
        let mut opening = Opening {
            host: self,
            key: Some(key),
        };

        let inner = open(self, key, options).await?;
        opening.key = None;
        let opened = {
            let mut registry = self.workspaces.lock();
            let opened = registry.opened(key, inner.id, Arc::clone(&inner), who);
            if let Ok(Claimed::Client(client, state)) = opened {
                self.claimed(registry, inner.id, client, state);
            }
            opened
        };

        self.workspaces.changed();
        self.dispatcher.tell(Lifecycle::Opened {
            workspace: inner.id,
        });
        match opened {
            Ok(claimed) => Ok(ClaimedWorkspace {
                guard: self.guard(inner.id, claimed),
                workspace: inner,
                opened: true,
            }),
            Err(refused) => {
                self.close_if_unclaimed(inner.id);
                Err(why(refused, who, inner.id))
            }
        }
    }

    /// Replaces the options of a workspace. It may be closed, or closed and opened again since
    /// this handle was made.
    pub(super) async fn set_options(
        &self,
        handle: &Arc<WorkspaceInner>,
        options: WorkspaceOptions,
    ) -> Result<(), HostError> {
        let mut changes = self.workspaces.watch();
        loop {
            changes.borrow_and_update();
            let replaced = {
                // Written under the lock, so that the next call that opens it reads these options.
                let registry = self.workspaces.lock();
                // A call that is opening it may have read the previous options.
                (!registry.is_opening(&handle.key)).then(|| {
                    let open = registry.open(handle.id);
                    let workspace = open.unwrap_or_else(|_| Arc::clone(handle));
                    let on_disk = workspace.set_options(&self.store, options.clone());
                    (workspace.id, on_disk)
                })
            };
            if let Some((workspace, on_disk)) = replaced {
                let limit = options.concurrent_runs.unwrap_or(u32::MAX);
                self.dispatcher.limit_runs(workspace, limit);
                return Ok(on_disk.await?);
            }
            // The sender lives as long as the host.
            drop(changes.changed().await);
        }
    }

    /// Attaches a stream of a client.
    pub(super) fn attach(
        self: &Arc<Self>,
        id: WorkspaceId,
        client: ClientId,
    ) -> Result<(Stream, CancellationToken), HostError> {
        let mut registry = self.workspaces.lock();
        let attached = registry.attach(id, client);
        let stream = attached.map_err(|refused| refusal(refused, id, Some(client)))?;
        let over = self
            .workspaces
            .streams()
            .entry((id, client))
            .or_default()
            .clone();
        self.claimed(registry, id, client, LeaseState::Stands);
        Ok((stream, over))
    }

    /// Detaches a client's stream that was lost.
    pub(super) fn detach(self: &Arc<Self>, id: WorkspaceId, stream: Stream) {
        let mut registry = self.workspaces.lock();
        if let Some(claimed) = registry.detach(id, stream) {
            self.claimed(registry, id, stream.client(), claimed);
        }
    }

    /// Releases a client's claim on a workspace.
    pub(super) fn release(
        self: &Arc<Self>,
        id: WorkspaceId,
        client: ClientId,
    ) -> Result<(), HostError> {
        let mut registry = self.workspaces.lock();
        let released = registry.release(id, client);
        released.map_err(|refused| refusal(refused, id, Some(client)))?;
        self.claimed(registry, id, client, LeaseState::Gone);
        Ok(())
    }

    /// Retires a client for good.
    pub(super) fn retire(self: &Arc<Self>, client: ClientId) {
        let had = self.workspaces.lock().retire(client);
        // A retired client cannot claim a workspace again, so the list stays complete.
        for id in had {
            self.claimed(self.workspaces.lock(), id, client, LeaseState::Gone);
        }
    }

    /// Applies the change of a claim to its timer, while the registry is still locked.
    fn claimed(
        self: &Arc<Self>,
        registry: MutexGuard<'_, Locked>,
        id: WorkspaceId,
        client: ClientId,
        claimed: LeaseState,
    ) {
        let begun = match claimed {
            LeaseState::Until(timer) => {
                let task = self.dispatcher.embedder.spawn(self.expiry(id, timer));
                let task = task.abort_handle();
                Some(Begun { timer, task })
            }
            LeaseState::Stands | LeaseState::Gone => None,
        };

        self.workspaces.keep_timer(id, client, begun);
        if claimed == LeaseState::Gone {
            self.workspaces.end_streams(id, client);
            self.unclaimed(registry, id, client);
        }
    }

    fn expiry(
        self: &Arc<Self>,
        id: WorkspaceId,
        timer: Timer,
    ) -> impl Future<Output = ()> + Send + 'static {
        let lasts = match timer.lasts {
            LeasePhase::Hold => self.workspaces.settings.hold,
            LeasePhase::Grace => self.workspaces.settings.grace,
        };

        let over = self.dispatcher.clock.sleep(lasts);
        let host = Arc::downgrade(self);
        async move {
            over.await;
            if let Some(host) = host.upgrade() {
                host.expired(id, timer);
            }
        }
    }

    fn expired(self: &Arc<Self>, id: WorkspaceId, timer: Timer) {
        let mut registry = self.workspaces.lock();
        let gone = registry.expire(id, timer);
        self.workspaces.forget_timer(id, timer);
        if gone {
            self.workspaces.end_streams(id, timer.client);
            self.unclaimed(registry, id, timer.client);
        }
    }

    /// Stops the runs that were bound to a client whose claim is gone, unless the client has
    /// claimed the workspace again by the time that the registry is unlocked.
    fn unclaimed(
        self: &Arc<Self>,
        registry: MutexGuard<'_, Locked>,
        id: WorkspaceId,
        client: ClientId,
    ) {
        let bound = self.dispatcher.bound(id, client);
        drop(registry);
        for live in bound {
            self.dispatcher.stop(&live, &Cause::ClientGone);
        }
        self.close_if_unclaimed(id);
    }

    /// Closes a workspace that has no claim left, unless its runs keep it open.
    pub(super) fn close_if_unclaimed(self: &Arc<Self>, id: WorkspaceId) {
        let has_runs = self.dispatcher.has_runs(id);
        let closing = {
            let mut registry = self.workspaces.lock();
            if registry.is_to_close(id, has_runs) {
                // If it was idle above, it must still be: a prompt may have come in between.
                self.mark_closing(&mut registry, id, !has_runs)
            } else {
                None
            }
        };

        if let Some(workspace) = closing {
            self.hold_prompts(&workspace, CloseReason::Unclaimed);
            self.end_runs(id);
        }
    }

    /// Completes the closing of a workspace once its runs are over. Does nothing for one that is
    /// not closing, or whose runs are not over.
    pub(super) fn finish_close(self: &Arc<Self>, id: WorkspaceId) {
        let closing = self.workspaces.lock().closing(id);
        let Some(workspace) = closing else { return };
        if self.dispatcher.has_lost(id) {
            // It stays closing, and does not keep `Host::idle` waiting.
            return self.workspaces.changed();
        }
        if self.dispatcher.has_runs(id) || workspace.is_released() {
            return;
        }

        // All ends of runs and all held prompts are committed: there is nothing to flush.
        self.dispatcher.tell(Lifecycle::Flushed { workspace: id });
        self.workspaces.stop_timers(id);
        let own = workspace.take_providers();
        let mut tools = own.tools.clone();
        tools.extend(self.dispatcher.brought().tools);
        if tools.is_empty() && own.is_empty() {
            return self.released(&workspace);
        }

        let host = Arc::clone(self);
        // On the host's own runtime, so that the workspace closes even if the tools fail to.
        drop(self.dispatcher.guests.spawn(async move {
            host.close_tools(id, tools).await;
            if !own.is_empty() {
                host.drop_providers(own).await;
            }
            host.released(&workspace);
        }));
    }

    /// Makes every source of tools close its resources for a workspace, each within a bound.
    async fn close_tools(&self, id: WorkspaceId, tools: Vec<Source>) {
        let foreign = &self.dispatcher.foreign;
        let all = tools.into_iter().map(|source| async move {
            let close = move || source.provider.close(id);
            if let Err(error) = foreign.call(Some(TOOLS_CLOSE), close).await {
                tracing::warn!(workspace = %id, %error, "a source of tools did not close");
            }
        });
        futures_util::future::join_all(all).await;
    }

    /// Drops foreign code, which may block, within a bound.
    pub(super) async fn drop_providers(&self, providers: impl Send + 'static) {
        let foreign = &self.dispatcher.foreign;
        let dropped = foreign.blocking(TOOLS_CLOSE, move || drop(providers));
        if let Err(error) = dropped.await {
            tracing::warn!(%error, "the embedder's providers were not dropped");
        }
    }

    /// Marks a workspace as closed, once all its resources are.
    fn released(&self, workspace: &WorkspaceInner) {
        let id = workspace.id;
        workspace.release();
        self.dispatcher.tell(Lifecycle::Released { workspace: id });
        self.workspaces.lock().closed(id);
        workspace.reach(WorkspaceStage::Closed);
        self.dispatcher.tell(Lifecycle::Closed { workspace: id });
        self.workspaces.changed();
        // One of its sessions may have become due in the meantime.
        self.dispatcher.waits.notify_one();
    }
}

fn why(refused: Refused, who: Claimant, id: WorkspaceId) -> HostError {
    let client = match who {
        Claimant::Client(client) => Some(client),
        Claimant::Owner(_) => None,
    };
    refusal(refused, id, client)
}

/// Converts a refusal into the embedder's error.
pub(super) fn refusal(refused: Refused, id: WorkspaceId, client: Option<ClientId>) -> HostError {
    match (refused, client) {
        (Refused::HostClosing, _) => HostError::HostClosing,
        (Refused::WorkspaceClosing, _) => HostError::WorkspaceClosing(id),
        (Refused::ClientRetired, Some(client)) => HostError::ClientRetired(client),
        (Refused::NotAttached, Some(client)) => HostError::ClientNotAttached {
            client,
            workspace: id,
        },
        (Refused::UnknownWorkspace | Refused::ClientRetired | Refused::NotAttached, _) => {
            HostError::UnknownWorkspace(id)
        }
    }
}

#[cfg(test)]
mod tests;
