//! The embedder's handle to a workspace.

use super::registry::ClaimGuard;
use super::workspace_providers::OpenProviders;
use super::{Agent, Host, HostError, Session, WorkspaceOptions, bounds};
use crate::run::Run;
use crate::run::polled::{Polled, Source};
use crate::workspace::WorkspaceKey;
use crate::workspace::claims::Stream;
use lastword_sandbox::{Limits, Share};
#[cfg(test)]
use lastword_store::StoredOptions;
use lastword_store::{
    CreateSession, HeldScope, KeepOptions, Key, OpenWorkspace, Refusal, Store, StoreError,
};
use lastword_types::id::{ClientId, RunId, SessionId, WorkspaceId};
use lastword_types::permission::{Grants, Rule};
use std::fmt;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::task::{Context, Poll};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// A workspace that was open when this handle was made. A cloneable handle.
///
/// A handle from [`Host::open_workspace`] has a claim, which it shares with its clones and with no
/// other handle. A claim keeps the workspace open; it ends when the last of these clones is dropped
/// or [`Workspace::close`] is called on one of them. A handle from [`Host::workspace`] or
/// [`Host::claim_workspace`] has none; [`Workspace::has_claim`] tells.
///
/// Once the workspace has no claim left, of an opener or of a client, it closes when its last run
/// has ended. Dropping a handle never stops a run, never waits, and may happen on any
/// thread. A [`Session`] does not keep its workspace open: if all handles are dropped, the session
/// can still be read, and its prompts are accepted only while runs or other claims keep the
/// workspace open; then they are refused with [`HostError::UnknownWorkspace`].
#[derive(Clone)]
pub struct Workspace {
    /// Dropped before the host, whose last handle closes it.
    pub(super) claim: Option<Arc<ClaimGuard>>,
    pub(super) host: Host,
    pub(crate) inner: Arc<WorkspaceInner>,
    pub(super) opened: bool,
}

pub(crate) struct WorkspaceInner {
    pub(crate) id: WorkspaceId,
    pub(crate) key: Arc<WorkspaceKey>,
    directory: Mutex<Option<Arc<File>>>,
    /// Taken out when the workspace has closed.
    providers: Mutex<OpenProviders>,
    options: RwLock<Current>,
    /// What its guests had of the processors.
    pub(crate) share: Share,
    /// Rules by which the host denies accesses in every workspace.
    denied: Arc<[Rule]>,
    /// The limits of runs if the options set none.
    host_limits: Limits,
    barred: AtomicBool,
    released: AtomicBool,
    stage: watch::Sender<WorkspaceStage>,
}

/// The current options, and whether they are on disk.
struct Current {
    options: WorkspaceOptions,
    /// The number of this change, and that of the last change known to be on disk.
    change: u64,
    durable: u64,
}

/// The stage of a workspace between opening and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkspaceStage {
    /// It accepts prompts.
    Open,
    /// It accepts no more prompts, and its runs are being ended.
    Closing,
    /// It is closed, and its path can be opened again.
    Closed,
}

/// Reports the stages of one workspace. Unlike [`Host::lifecycle`], it costs nothing while other
/// workspaces have runs.
///
/// It is a [`Stream`](futures_util::Stream); [`WorkspaceStages::next`] works without that trait.
/// Dropping it has no effect on the workspace; a new one begins with the next stage.
pub struct WorkspaceStages {
    stage: Polled<watch::Receiver<WorkspaceStage>>,
}

impl WorkspaceStages {
    /// Waits for the next stage, and returns it; a stage that has already passed is skipped.
    /// `None` after the last one. Dropping the future loses no stage.
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

    /// Applies options from now on. The future waits until they are on disk; unchanged options
    /// are not written again.
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
            // Submitted under the lock, so that the options applied last are also stored last.
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

    /// Returns what agents may do here: the workspace's rules combined with the host's denials.
    /// Only this function combines the two.
    pub(crate) fn grants(&self) -> Grants {
        let opened = self.current().options.grants.clone();
        self.denied.iter().cloned().fold(opened, Grants::deny)
    }

    /// Whether a person can be asked.
    pub(crate) fn asks(&self) -> bool {
        self.current().options.asks
    }

    /// Returns the limits of a run that starts now.
    pub(crate) fn limits(&self) -> Limits {
        self.current().options.limits.unwrap_or(self.host_limits)
    }

    /// Returns how many runs may execute at the same time.
    pub(crate) fn concurrent_runs(&self) -> u32 {
        self.current().options.concurrent_runs.unwrap_or(u32::MAX)
    }

    pub(crate) fn directory(&self) -> Option<Arc<File>> {
        self.lock_directory().clone()
    }

    /// Whether the directory was removed since it was opened. Costs one system call.
    pub(super) fn is_directory_removed(&self) -> bool {
        let directory = self.directory();
        directory.is_some_and(|open| open.metadata().is_ok_and(|found| found.nlink() == 0))
    }

    fn lock_directory(&self) -> MutexGuard<'_, Option<Arc<File>>> {
        self.directory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the workspace's own providers; none once it has closed.
    pub(crate) fn providers(&self) -> OpenProviders {
        self.own_providers().clone()
    }

    /// Takes the workspace's own providers out. They are foreign code, and may block when they are
    /// dropped.
    pub(super) fn take_providers(&self) -> OpenProviders {
        std::mem::take(&mut *self.own_providers())
    }

    fn own_providers(&self) -> MutexGuard<'_, OpenProviders> {
        self.providers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn reach(&self, stage: WorkspaceStage) {
        self.stage.send_replace(stage);
    }

    /// Marks the workspace as being released. Returns whether it was marked before, so that only
    /// the first caller gets `false`.
    pub(super) fn is_released(&self) -> bool {
        self.released.swap(true, Ordering::Relaxed)
    }

    /// Closes the workspace's directory.
    pub(super) fn release(&self) {
        self.lock_directory().take();
    }

    /// Refuses prompts from now on. Only the dispatcher calls this, under its lock.
    pub(crate) fn bar(&self) {
        self.barred.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_barred(&self) -> bool {
        self.barred.load(Ordering::Relaxed)
    }
}

/// Opens a workspace's directory, and finds or creates the workspace in the store. Without
/// options, it gets those it had last. This is slow, and holds no lock.
pub(super) async fn open(
    host: &super::HostInner,
    key: &WorkspaceKey,
    options: Option<WorkspaceOptions>,
) -> Result<Arc<WorkspaceInner>, HostError> {
    let directory = match key {
        WorkspaceKey::Name(_) => None,
        WorkspaceKey::Directory(path) => Some(Arc::new(open_directory(host, path).await?)),
    };

    // Before the workspace is stored, so that one without providers is not opened at all.
    let providers = match host.dispatcher.brought().supply {
        Some(supply) => supply.of(&host.dispatcher.foreign, key).await?,
        None => OpenProviders::default(),
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
        key: Arc::new(key.clone()),
        directory: Mutex::new(directory),
        providers: Mutex::new(providers),
        options: RwLock::new(Current {
            options,
            change: 0,
            durable: 0,
        }),
        denied: Arc::clone(&host.denied),
        host_limits: host.limits,
        share: Share::default(),
        barred: AtomicBool::new(false),
        released: AtomicBool::new(false),
        stage: watch::Sender::new(WorkspaceStage::Open),
    }))
}

/// Opens the directory of a workspace.
async fn open_directory(host: &super::HostInner, path: &Path) -> Result<File, HostError> {
    let (path, kept) = (path.to_owned(), Arc::clone(&host.kept));
    let opened = host.dispatcher.embedder.spawn_blocking(move || {
        // Reading the directory once rejects a file, and reports problems now that would otherwise
        // fail inside every run.
        let opened = std::fs::read_dir(&path).and_then(|_| File::open(&path));
        let opened = opened.map_err(|source| unopened(&path, source))?;
        kept.check(&path, &opened).map(|()| opened)
    });
    let opened = opened.await;
    opened.map_err(|error| HostError::of_task(error, "open the workspace"))?
}

fn unopened(path: &Path, source: std::io::Error) -> HostError {
    HostError::Io {
        what: "open the workspace",
        path: path.to_owned(),
        source,
    }
}

/// Opens the directory of an open workspace again if its path leads to another one by now: it was
/// removed and made again, or replaced. Runs that have begun keep theirs.
pub(super) async fn follow_path(
    host: &super::HostInner,
    workspace: &WorkspaceInner,
) -> Result<(), HostError> {
    let (WorkspaceKey::Directory(path), Some(open)) = (&*workspace.key, workspace.directory())
    else {
        return Ok(());
    };

    let looked_at = path.clone();
    let is_there = host.dispatcher.embedder.spawn_blocking(move || {
        let (there, open) = (std::fs::metadata(&looked_at)?, open.metadata()?);
        Ok((there.dev(), there.ino()) == (open.dev(), open.ino()))
    });
    let is_there = is_there
        .await
        .map_err(|error| HostError::of_task(error, "open the workspace"))?;
    if is_there.map_err(|source| unopened(path, source))? {
        return Ok(());
    }

    let opened = Arc::new(open_directory(host, path).await?);
    // It may have closed in the meantime.
    if let Some(open) = &mut *workspace.lock_directory() {
        *open = opened;
    }

    tracing::info!(
        workspace = %workspace.id,
        "its directory is another one by now, which runs see from now on"
    );
    Ok(())
}

impl Workspace {
    /// Returns the workspace's id.
    #[must_use]
    pub fn id(&self) -> WorkspaceId {
        self.inner.id
    }

    /// Whether this handle came from [`Host::open_workspace`], so that it had a claim of its own,
    /// shared with its clones. The claim may have ended since, with [`Workspace::close`] or because
    /// the workspace was closed for everyone.
    #[must_use]
    pub fn has_claim(&self) -> bool {
        self.claim.is_some()
    }

    /// Whether the call that returned this handle opened the workspace; `false` if it was open
    /// already.
    #[must_use]
    pub fn was_opened(&self) -> bool {
        self.opened
    }

    /// Returns the workspace's key.
    #[must_use]
    pub fn key(&self) -> &WorkspaceKey {
        &self.inner.key
    }

    /// Returns what agents may do here if their manifests ask for it, and what is denied,
    /// including the host's own denials.
    #[must_use]
    pub fn grants(&self) -> Grants {
        self.inner.grants()
    }

    /// Returns the current options, which apply to runs that start now.
    #[must_use]
    pub fn options(&self) -> WorkspaceOptions {
        self.inner.current().options.clone()
    }

    /// Reports the workspace's stages, from now on.
    #[must_use]
    pub fn stages(&self) -> WorkspaceStages {
        WorkspaceStages {
            stage: Polled::new(self.inner.stage.subscribe()),
        }
    }

    /// Replaces the options for the runs that start from now on, including runs that already wait
    /// and those of a later host. The options are on disk once this returns.
    ///
    /// They apply from the first poll on, even if the future is dropped; if the workspace is being
    /// opened again at that moment, this first waits for that. If they cannot be written, they
    /// apply only until this host ends: call this again.
    ///
    /// # Errors
    /// [`HostError::Invalid`] for more rules than may be kept; [`HostError::StoreUnavailable`]
    /// or [`HostError::HostClosing`] when it cannot be written.
    pub async fn set_options(&self, options: WorkspaceOptions) -> Result<(), HostError> {
        bounds::check_options(&options)?;
        self.host.inner.set_options(&self.inner, options).await
    }

    /// Creates a session with an agent. The session does not keep the workspace open.
    ///
    /// Dropping the future after its first poll does not undo the creation: to repeat a call that
    /// was dropped or failed, use [`Workspace::new_session_with_key`].
    ///
    /// # Errors
    /// [`HostError::UnknownWorkspace`] if the workspace was purged; also if the store cannot be
    /// written.
    pub async fn new_session(&self, agent: &Agent) -> Result<Session, HostError> {
        self.begin_session(agent, None, None).await
    }

    /// Like [`Workspace::new_session`], with a key that identifies the request within this
    /// workspace: the same key with the same agent returns the same session, also after a restart
    /// of the host, until that session is deleted. Concurrent calls create one session.
    ///
    /// Dropping the future after its first poll does not undo the creation; another call with the
    /// same key returns that session.
    ///
    /// # Errors
    /// As [`Workspace::new_session`]; [`HostError::KeyConflict`] if the key was used with another
    /// agent or for a child session; [`HostError::Invalid`] for a key that is empty, longer than
    /// [`KEY_BYTES_MAX`](crate::KEY_BYTES_MAX), or has control characters.
    pub async fn new_session_with_key(
        &self,
        agent: &Agent,
        key: impl Into<String>,
    ) -> Result<Session, HostError> {
        self.begin_session(agent, None, Some(key.into())).await
    }

    pub(super) async fn begin_session(
        &self,
        agent: &Agent,
        parent: Option<SessionId>,
        key: Option<String>,
    ) -> Result<Session, HostError> {
        key.as_deref().map_or(Ok(()), bounds::check_key)?;
        let key = key.map(|word| Key::of_session(word, agent.id(), parent));
        let create = CreateSession {
            id: SessionId::generate(),
            workspace: self.inner.id,
            agent: agent.id().clone(),
            parent,
            key: key.transpose()?,
        };

        let id = self.host.inner.store.execute(create).await?;
        Ok(Session {
            host: self.host.clone(),
            workspace: self.inner.id,
            agent: agent.id().clone(),
            id,
        })
    }

    /// Returns an existing session of this workspace and agent.
    ///
    /// Dropping the future has no effect.
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

    /// Attaches a stream of a client: the client's claim on the workspace lasts until the returned
    /// lease is dropped, and for the grace period after that, unless the client is released or
    /// retired.
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

    /// Releases a client's claim: its hold, its streams and its grace period no longer keep the
    /// workspace open, and [`ClientLease::released`] completes for each of its streams.
    ///
    /// # Errors
    /// [`HostError::ClientNotAttached`], or as [`Workspace::attach`].
    pub fn release(&self, client: ClientId) -> Result<(), HostError> {
        self.host.inner.release(self.inner.id, client)
    }

    /// Ends the claim of this handle and its clones. If another opener or a client still claims the
    /// workspace, that is all: it stays open, its runs go on, and the returned list is empty
    /// ([`Workspace::status`] then returns its status). [`Host::close_workspace`] closes a workspace
    /// whatever claims it has.
    ///
    /// Otherwise closes the workspace: it takes no more prompts, its runs are stopped with the cause
    /// `shutdown` and their ends written, and queued prompts are held. Only then may its path be
    /// opened again. Other workspaces are not affected.
    ///
    /// Its sessions are no longer woken by a time, until another run waits for one: each such wait
    /// is cancelled, and counts as the end of the run that it would have started.
    /// [`Host::close_workspace`] returns those ends. Questions of its sessions can still be
    /// answered, which opens the workspace again. A workspace that closes because it has no claim
    /// left, or with its host, is opened again when a session's time comes.
    ///
    /// Waits as [`Host::shutdown`] does. Returns the runs whose ends are not on disk by then;
    /// until they are, the workspace stays closing.
    ///
    /// Dropping the future after its first poll undoes neither the end of the claim nor the
    /// closing: the workspace closes once its runs have ended. Sessions that wait for a time may
    /// still be woken then; [`Host::close_workspace`] prevents that.
    pub async fn close(&self) -> Vec<RunId> {
        let owned = self.claim.as_ref().map(|claim| claim.owned());
        let host = &self.host.inner;
        host.close_claim(self.inner.id, owned).await.left
    }

    /// Puts the held prompts of sessions whose agent is loaded back into the queue, and returns
    /// their runs.
    ///
    /// Dropping the future leaves every prompt held or queued; call this again for the rest.
    ///
    /// # Errors
    /// If the store cannot be read or written.
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

/// A client's stream, which keeps the client's claim alive. Dropping it detaches the stream.
pub struct ClientLease {
    host: Host,
    workspace: WorkspaceId,
    stream: Stream,
    over: CancellationToken,
}

impl ClientLease {
    /// Waits until the claim is over because the client was released or retired; the stream then
    /// has no more effect. The closing of the workspace is reported by [`Workspace::stages`]
    /// instead. Dropping the future has no effect.
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
