//! Workspaces as an embedder holds them.

use super::{Agent, Host, HostError, Session, WorkspaceOptions, bounds};
use crate::run::Run;
use crate::run::polled::{Polled, Source};
use crate::workspace::WorkspaceKey;
use crate::workspace::claims::Stream;
use lastword_sandbox::Limits;
#[cfg(test)]
use lastword_store::StoredOptions;
use lastword_store::{
    CreateSession, HeldScope, KeepOptions, OpenWorkspace, Refusal, Store, StoreError,
};
use lastword_types::id::{ClientId, RunId, SessionId, WorkspaceId};
use lastword_types::permission::{Grants, Rule};
use std::fmt;
use std::fs::File;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::task::{Context, Poll};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// An open workspace. A cloneable handle; it does not keep the workspace open.
#[derive(Clone)]
pub struct Workspace {
    pub(super) host: Host,
    pub(crate) inner: Arc<WorkspaceInner>,
    pub(super) opened: bool,
}

pub(crate) struct WorkspaceInner {
    pub(crate) id: WorkspaceId,
    pub(crate) key: WorkspaceKey,
    directory: Mutex<Option<Arc<File>>>,
    options: RwLock<Current>,
    /// What the host denies everywhere.
    denied: Arc<[Rule]>,
    /// The limits of runs where the options name none.
    host_limits: Limits,
    barred: AtomicBool,
    released: AtomicBool,
    stage: watch::Sender<WorkspaceStage>,
}

/// The options that hold, and whether they are on disk.
struct Current {
    options: WorkspaceOptions,
    /// Counts the changes: of this one, and of the last that is known to be on disk.
    change: u64,
    durable: u64,
}

/// How far a workspace's end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkspaceStage {
    /// It takes prompts.
    Open,
    /// It takes no more prompts; its runs end.
    Closing,
    /// It is closed; its path may be opened again.
    Closed,
}

/// Tells how far a workspace's end has come. Of this workspace only: unlike
/// [`Host::lifecycle`], it costs nothing while other workspaces have runs.
///
/// It is a [`Stream`](futures_util::Stream), and has [`WorkspaceStages::next`] for those who need no more. Dropping it
/// ends nothing; a new one begins with the stage after the one that is reached then.
pub struct WorkspaceStages {
    stage: Polled<watch::Receiver<WorkspaceStage>>,
}

impl WorkspaceStages {
    /// Waits for the next stage, and returns it; one that came and went is skipped. `None`
    /// once there is none any more. Dropping the future loses no stage.
    pub async fn next(&mut self) -> Option<WorkspaceStage> {
        self.stage.source().next().await
    }
}

impl futures_util::Stream for WorkspaceStages {
    type Item = WorkspaceStage;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<WorkspaceStage>> {
        self.get_mut().stage.poll_next(cx)
    }
}

impl fmt::Debug for WorkspaceStages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkspaceStages").finish_non_exhaustive()
    }
}

impl Source for watch::Receiver<WorkspaceStage> {
    type Item = WorkspaceStage;

    async fn next(&mut self) -> Option<WorkspaceStage> {
        self.changed().await.ok()?;
        Some(*self.borrow_and_update())
    }
}

impl WorkspaceInner {
    fn current(&self) -> RwLockReadGuard<'_, Current> {
        self.options.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> RwLockWriteGuard<'_, Current> {
        self.options.write().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn stored_options(&self) -> StoredOptions {
        self.current().options.stored()
    }

    /// Has options hold from now on; the future waits until they are on disk. Those that are
    /// there already are not written again.
    pub(super) fn set_options(
        self: &Arc<Self>,
        store: &Store,
        options: WorkspaceOptions,
    ) -> impl Future<Output = Result<(), StoreError>> + Send + use<> {
        let stored = options.stored();
        let mut current = self.change();
        let same = current.options.stored() == stored && current.change == current.durable;
        let kept = (!same).then(|| {
            current.options = options;
            current.change += 1;
            // Handed over under the lock: what holds last is what is kept last.
            let keep = KeepOptions {
                workspace: self.id,
                options: stored,
            };
            (current.change, store.send(keep))
        });
        drop(current);
        let this = Arc::clone(self);
        async move {
            let Some((change, kept)) = kept else {
                return Ok(());
            };
            kept.await?;
            let mut current = this.change();
            current.durable = current.durable.max(change);
            Ok(())
        }
    }

    /// What agents may do here: as it was opened, but for what the host denies. The only place
    /// where the two come together.
    pub(crate) fn grants(&self) -> Grants {
        let opened = self.current().options.grants.clone();
        self.denied.iter().cloned().fold(opened, Grants::deny)
    }

    /// Whether somebody is there to be asked.
    pub(crate) fn asks(&self) -> bool {
        self.current().options.asks
    }

    /// The limits of a run that starts now.
    pub(crate) fn limits(&self) -> Limits {
        self.current().options.limits.unwrap_or(self.host_limits)
    }

    /// Runs at the same time.
    pub(crate) fn concurrent_runs(&self) -> u32 {
        self.current().options.concurrent_runs.unwrap_or(u32::MAX)
    }

    pub(crate) fn directory(&self) -> Option<Arc<File>> {
        self.directory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn reach(&self, stage: WorkspaceStage) {
        self.stage.send_replace(stage);
    }

    /// Whether somebody is releasing it; only the first who asks is told `false`.
    pub(super) fn is_released(&self) -> bool {
        self.released.swap(true, Ordering::Relaxed)
    }

    /// Closes what it had open.
    pub(super) fn release(&self) {
        self.directory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }

    /// Takes no more prompts, for good. Only the dispatcher says so, under its lock.
    pub(crate) fn bar(&self) {
        self.barred.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_barred(&self) -> bool {
        self.barred.load(Ordering::Relaxed)
    }
}

/// Opens a workspace's directory, and finds or makes it in the store; without options, as it
/// was opened last. Slow; holds no lock.
pub(super) async fn open(
    host: &super::HostInner,
    key: &WorkspaceKey,
    options: Option<WorkspaceOptions>,
) -> Result<Arc<WorkspaceInner>, HostError> {
    let directory = match key {
        WorkspaceKey::Name(_) => None,
        WorkspaceKey::Directory(path) => {
            let (path, kept) = (path.clone(), Arc::clone(&host.kept));
            let opened = host.dispatcher.embedder.spawn_blocking(move || {
                // Reading it once tells a file from a directory, and says now what would
                // otherwise fail inside every run.
                let opened = std::fs::read_dir(&path).and_then(|_| File::open(&path));
                let opened = opened.map_err(|source| HostError::Io {
                    what: "open the workspace",
                    path: path.clone(),
                    source,
                })?;
                kept.check(&path, &opened).map(|()| opened)
            });
            Some(Arc::new(opened.await.map_err(|error| {
                HostError::of_task(error, "open the workspace")
            })??))
        }
    };

    let open = OpenWorkspace {
        id: WorkspaceId::generate(),
        key: key.stored(),
        options: options.as_ref().map(WorkspaceOptions::stored),
    };

    let opened = host.store.execute(open).await;
    let opened = opened.map_err(|error| match error {
        StoreError::Refused(Refusal::UnreadableOptions) => {
            HostError::UnreadableOptions(key.clone())
        }
        other => other.into(),
    })?;
    let options = options.or_else(|| WorkspaceOptions::from_stored(&opened.options, host.limits));
    let options = options.ok_or_else(|| HostError::UnreadableOptions(key.clone()))?;
    Ok(Arc::new(WorkspaceInner {
        id: opened.id,
        key: key.clone(),
        directory: Mutex::new(directory),
        options: RwLock::new(Current {
            options,
            change: 0,
            durable: 0,
        }),
        denied: Arc::clone(&host.denied),
        host_limits: host.limits,
        barred: AtomicBool::new(false),
        released: AtomicBool::new(false),
        stage: watch::Sender::new(WorkspaceStage::Open),
    }))
}

impl Workspace {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> WorkspaceId {
        self.inner.id
    }

    /// Whether the call that answered this handle opened it; `false` if it was open already.
    #[must_use]
    pub fn was_opened(&self) -> bool {
        self.opened
    }

    /// What it is known by.
    #[must_use]
    pub fn key(&self) -> &WorkspaceKey {
        &self.inner.key
    }

    /// What agents may do here if they want it, and what they may not, the host's own denials
    /// included.
    #[must_use]
    pub fn grants(&self) -> Grants {
        self.inner.grants()
    }

    /// The options that hold for runs that start now, as they were said last.
    #[must_use]
    pub fn options(&self) -> WorkspaceOptions {
        self.inner.current().options.clone()
    }

    /// Tells how far the workspace's end has come, from now on.
    #[must_use]
    pub fn stages(&self) -> WorkspaceStages {
        WorkspaceStages {
            stage: Polled::new(self.inner.stage.subscribe()),
        }
    }

    /// Replaces what agents may do here, for the runs that start from now on, those that wait
    /// already and those of a later host included. It is on disk once this returns.
    ///
    /// It holds from the first poll on, whether or not the future is dropped, unless the workspace
    /// is being opened again at that moment, which is waited for; where it cannot be written, until
    /// this host ends: say it again.
    ///
    /// # Errors
    /// [`HostError::Invalid`] for more rules than may be kept; [`HostError::StoreUnavailable`]
    /// or [`HostError::HostClosing`] when it cannot be written.
    pub async fn set_options(&self, options: WorkspaceOptions) -> Result<(), HostError> {
        bounds::check_options(&options)?;
        self.host.inner.set_options(&self.inner, options).await
    }

    /// Begins a session with an agent.
    ///
    /// # Errors
    /// [`HostError::UnknownWorkspace`] once it is purged; when the store cannot be written.
    pub async fn new_session(&self, agent: &Agent) -> Result<Session, HostError> {
        self.begin_session(agent, None).await
    }

    pub(super) async fn begin_session(
        &self,
        agent: &Agent,
        parent: Option<SessionId>,
    ) -> Result<Session, HostError> {
        let create = CreateSession {
            id: SessionId::generate(),
            workspace: self.inner.id,
            agent: agent.id().clone(),
            parent,
        };

        let session = Session {
            host: self.host.clone(),
            workspace: create.workspace,
            agent: create.agent.clone(),
            id: create.id,
        };

        self.host.inner.store.execute(create).await?;
        Ok(session)
    }

    /// Goes on with a session of this workspace and agent.
    ///
    /// # Errors
    /// [`HostError::UnknownSession`], [`HostError::OtherAgent`] or
    /// [`HostError::OtherWorkspace`].
    pub async fn session(&self, id: SessionId, agent: &Agent) -> Result<Session, HostError> {
        let session = self.host.session(id).await?;
        if session.workspace != self.inner.id {
            return Err(HostError::OtherWorkspace(id));
        }
        if session.agent != *agent.id() {
            return Err(HostError::OtherAgent {
                session: id,
                agent: session.agent.to_string(),
            });
        }

        Ok(session)
    }

    /// A client opens a stream: its claim on the workspace stands for as long as what this returns
    /// lives, and for the grace after that, unless the client is released or retired.
    ///
    /// # Errors
    /// [`HostError::WorkspaceClosing`], [`HostError::UnknownWorkspace`],
    /// [`HostError::ClientRetired`] or [`HostError::HostClosing`].
    pub fn attach(&self, client: ClientId) -> Result<ClientLease, HostError> {
        let (stream, over) = self.host.inner.attach(self.inner.id, client)?;
        Ok(ClientLease {
            host: self.host.clone(),
            workspace: self.inner.id,
            stream,
            over,
        })
    }

    /// A client is done with the workspace: neither its hold nor its streams nor a grace keep it
    /// open any more, and [`ClientLease::released`] says so to each of its streams.
    ///
    /// # Errors
    /// [`HostError::ClientNotAttached`], or as [`Workspace::attach`].
    pub fn release(&self, client: ClientId) -> Result<(), HostError> {
        self.host.inner.release(self.inner.id, client)
    }

    /// Closes the workspace: it takes no more prompts, what runs is stopped with the cause
    /// `shutdown` and its end written, queued prompts are held. Only then may its path be
    /// opened again. No other workspace notices.
    ///
    /// No time wakes a session of it any more, until another run waits for one: each wait is
    /// taken back, with the end of the run that it would have begun. What its sessions asked
    /// can still be answered, which opens it again. [`Host::close_workspace`] returns those
    /// ends. A workspace that closes for want of a claim, or with its host, is opened
    /// again when a time comes.
    ///
    /// Waits as [`Host::shutdown`] does. Answers the runs whose end is not on disk by then;
    /// until it is, the workspace stays closing.
    pub async fn close(&self) -> Vec<RunId> {
        self.host.inner.close(self.inner.id).await.left
    }

    /// Puts the prompts that were held back into the queue, for those sessions whose agent is
    /// loaded. Answers their runs.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub async fn resume_held(&self) -> Result<Vec<Run>, HostError> {
        self.host
            .resume_all(HeldScope::Workspace(self.inner.id), None)
            .await
    }
}

impl fmt::Debug for Workspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workspace")
            .field("key", &self.inner.key)
            .finish_non_exhaustive()
    }
}

/// A client's stream, as far as claims are concerned. Dropping it detaches.
pub struct ClientLease {
    host: Host,
    workspace: WorkspaceId,
    stream: Stream,
    over: CancellationToken,
}

impl ClientLease {
    /// Waits until its claim is over, because the client was released or retired: the stream
    /// counts for nothing any more. That the workspace closes is told by [`Workspace::stages`].
    /// May be dropped while it waits.
    pub async fn released(&self) {
        self.over.cancelled().await;
    }
}

impl Drop for ClientLease {
    fn drop(&mut self) {
        self.host.inner.detach(self.workspace, self.stream);
    }
}

impl fmt::Debug for ClientLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attachment")
            .field("workspace", &self.workspace)
            .field("client", &self.stream.client())
            .finish_non_exhaustive()
    }
}
