//! The host as an embedder sees it. This module wires together the engine, the store, the
//! dispatcher of runs and the registry of workspaces.

mod agent;
mod answers;
mod attachments;
mod bounds;
mod builder;
mod children;
mod closing;
mod error;
mod health;
mod held_prompts;
mod life;
#[doc(hidden)]
pub mod measure;
mod options;
mod persisted_agents;
mod prompt;
mod queue;
mod registry;
mod reserved_dirs;
mod resume;
mod session;
mod status;
mod wakeups;
mod workspace;
mod workspace_providers;

pub use agent::{Agent, AgentSource};
pub use answers::Answered;
pub use attachments::{ATTACHED_BYTES_MAX, ATTACHMENT_BYTES_MAX, ATTACHMENTS_MAX};
pub use bounds::{
    CONFIG_BYTES_MAX, KEY_BYTES_MAX, LABEL_NAME_BYTES_MAX, LABEL_VALUE_BYTES_MAX, LABELS_MAX,
    PROMPT_BYTES_MAX, RULE_BYTES_MAX, RULES_MAX,
};
pub use builder::HostBuilder;
pub use closing::ClosedWorkspace;
pub use error::{ERROR_NAMES, ErrorKind, HostError};
pub use health::Health;
pub use life::{Page, SessionFilter};
pub use options::WorkspaceOptions;
pub use prompt::Prompt;
pub use queue::Edit;
pub use resume::Resume;
pub use session::Session;
pub use status::{LifecycleEvents, WorkspaceStatus};
pub use workspace::{ClientLease, Workspace, WorkspaceStage, WorkspaceStages};
pub(crate) use workspace_providers::ProviderSupply;
pub use workspace_providers::WorkspaceProviders;

pub(crate) use agent::AgentInner;
pub(crate) use workspace::WorkspaceInner;

use crate::guest::Capabilities;
use crate::run::dispatcher::{Dispatcher, RunJob};
use crate::run::live::{LiveRun, LiveRunParams, Times};
use crate::run::{Origin, Run};
use crate::workspace::WorkspaceKey;
use crate::workspace::claims::Owner;
use crate::workspace::registry::{Claimant, Refused};
use lastword_sandbox::{Compilers, Engine, GuestState, Limits, Linker};
use lastword_store::{Damage, PromptRecord, Recovered, Store};
use lastword_types::id::{AgentId, ClientId, RunId, SessionId, WorkspaceId};
use lastword_types::permission::Rule;
use lastword_types::session::SessionRecord;
use registry::{ClaimedWorkspace, Workspaces, refusal};
use std::collections::HashMap;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::watch;
use tracing::Span;

/// A host: one engine, one store, and the runs that use them. A cloneable handle.
///
/// The host stays open as long as a handle to it exists: a [`Host`], [`Workspace`],
/// [`ClientLease`], [`Session`], [`Run`] or [`Events`](crate::Events). An [`Agent`] or a
/// [`WeakHost`] does not keep it open. Dropping the last handle does in the background what
/// [`Host::shutdown`] does: it stops the unfinished runs, writes their ends, and closes the store.
/// If the process ends before that, the next host's recovery ends those runs.
#[derive(Clone)]
pub struct Host {
    pub(crate) inner: Arc<Lease>,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host")
            .field("data_dir", &self.inner.store.directory())
            .field("stage", &*self.inner.stage.borrow())
            .finish_non_exhaustive()
    }
}

/// A handle that does not keep its host open. It is for objects that the host owns and that call
/// the host, such as a provider of tools.
#[derive(Clone, Default)]
pub struct WeakHost(Weak<Lease>);

impl WeakHost {
    /// Returns the host, unless its last handle has been dropped.
    #[must_use]
    pub fn upgrade(&self) -> Option<Host> {
        self.0.upgrade().map(|inner| Host { inner })
    }
}

impl std::fmt::Debug for WeakHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WeakHost")
    }
}

/// Shared by all handles. Dropping it shuts the host down.
pub(crate) struct Lease(Arc<HostInner>);

impl Deref for Lease {
    type Target = Arc<HostInner>;

    fn deref(&self) -> &Arc<HostInner> {
        &self.0
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        Arc::clone(&self.0).abandon();
    }
}

pub(crate) struct HostInner {
    pub(crate) dispatcher: Arc<Dispatcher>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) linker: Linker<GuestState<Capabilities>>,
    pub(crate) store: Store,
    pub(crate) limits: Limits,
    pub(crate) cache: Option<PathBuf>,
    pub(crate) compilers: Compilers,
    /// The data directory and the cache, which must lie outside every workspace.
    kept: Arc<reserved_dirs::ReservedDirs>,
    /// Lets one component at a time describe itself: the engine's pool has room for one guest
    /// in addition to the runs.
    pub(crate) describing: tokio::sync::Semaphore,
    agents: Mutex<HashMap<AgentId, Agent>>,
    /// Agents are stored and removed one at a time, so that the stored agents match the loaded
    /// ones.
    keeping: tokio::sync::Mutex<()>,
    workspaces: Workspaces,
    /// How long runs may continue once the host closes.
    drain_time: Duration,
    /// The lease that all handles share.
    lease: OnceLock<Weak<Lease>>,
    stage: watch::Sender<closing::Stage>,
    /// The directory of the host's own files, held until the host is dropped.
    _home: builder::Home,
    /// How long the events of ended runs are kept.
    retention: Option<Duration>,
    /// Rules that deny accesses to every agent in every workspace.
    denied: Arc<[Rule]>,
    folding: OnceLock<tokio_util::task::AbortOnDropHandle<()>>,
    waking: OnceLock<tokio_util::task::AbortOnDropHandle<()>>,
    /// The guests' threads, which stop when the host is dropped.
    _guests: builder::Guests,
}

impl Host {
    /// Returns a builder for a host.
    #[must_use]
    pub fn builder() -> HostBuilder {
        HostBuilder::new()
    }

    /// Loads an agent under a name of the embedder's choice: inspects it, compiles it (or takes
    /// the compiled component from the cache), links it, and reads its manifest by calling it
    /// with everything denied.
    ///
    /// Loading the same name again replaces the component that later runs use. Dropping the future
    /// ends a compiler process ([`HostBuilder::compiler`]); a compilation in this process runs to
    /// its end, and its result is discarded.
    ///
    /// # Errors
    /// [`HostError::Component`] with the problem and its remedy; [`HostError::Io`] when a
    /// file cannot be read; [`HostError::HostClosing`].
    pub async fn load_agent(
        &self,
        name: impl Into<String>,
        source: impl Into<AgentSource>,
    ) -> Result<Agent, HostError> {
        let id = AgentId::new(name)?;
        let agent = agent::load(&self.inner, id.clone(), source.into()).await?;
        self.inner.agents().insert(id, agent.clone());
        // A session may have waited for this agent.
        self.inner.dispatcher.waits.notify_one();
        Ok(agent)
    }

    /// Returns a handle that does not keep the host open.
    #[must_use]
    pub fn downgrade(&self) -> WeakHost {
        WeakHost(Arc::downgrade(&self.inner))
    }

    /// Returns the agent that is loaded under this name.
    #[must_use]
    pub fn agent(&self, id: &AgentId) -> Option<Agent> {
        self.inner.agents().get(id).cloned()
    }

    /// Returns the loaded agents, sorted by name.
    #[must_use]
    pub fn agents(&self) -> Vec<Agent> {
        let mut agents: Vec<Agent> = self.inner.agents().values().cloned().collect();
        agents.sort_by(|a, b| a.id().cmp(b.id()));
        agents
    }

    /// Unloads an agent; runs that have begun or are queued continue. Returns whether the agent
    /// was loaded.
    #[must_use]
    pub fn unload_agent(&self, id: &AgentId) -> bool {
        self.inner.agents().remove(id).is_some()
    }

    /// Opens a workspace, or returns it if it is open. Its directory is opened once and stays open;
    /// if its path leads to another directory by the time of a later call, runs that start from then
    /// on see that one. These options replace the previous ones, for the runs that start from now on.
    ///
    /// Each call adds a claim, which keeps the workspace open until the last clone of the returned
    /// handle is dropped or [`Workspace::close`] is called on one of them. A handle that is dropped
    /// at once leaves the workspace closed: keep it for as long as you send prompts.
    ///
    /// Dropping the future leaves no claim; the options may have been replaced.
    ///
    /// # Errors
    /// [`HostError::Invalid`] for a key or options beyond the bounds; [`HostError::Io`] when the
    /// directory cannot be opened; [`HostError::NotApart`] when the data directory or the cache
    /// lies in it or around it; [`HostError::WorkspaceClosing`] when it is closing and not closed
    /// within the time that its runs and its tools have to end; [`HostError::HostClosing`].
    pub async fn open_workspace(
        &self,
        key: WorkspaceKey,
        options: WorkspaceOptions,
    ) -> Result<Workspace, HostError> {
        check_opened(&key, Some(&options))?;
        let who = Claimant::Owner(Owner::Opener);
        let claimed = self.inner.claim(&key, Some(options), who);
        Ok(self.workspace_of(claimed.await?))
    }

    /// Opens a workspace for a client, or returns it if it is open. The client's claim keeps it
    /// open for [`HostBuilder::hold`], until the client opens a stream with
    /// [`Workspace::attach`]. Another call restarts that time. Concurrent calls with the same key
    /// open the workspace once.
    ///
    /// Options, if given, replace those of the workspace. Without options, the workspace keeps
    /// its own, even if it was closed or the host was restarted in the meantime.
    ///
    /// Dropping the future may leave the claim, which then ends with its hold.
    ///
    /// # Errors
    /// As [`Host::open_workspace`], [`HostError::ClientRetired`], and
    /// [`HostError::UnreadableOptions`] without options.
    pub async fn claim_workspace(
        &self,
        client: ClientId,
        key: WorkspaceKey,
        options: Option<WorkspaceOptions>,
    ) -> Result<Workspace, HostError> {
        check_opened(&key, options.as_ref())?;
        let claimed = self.inner.claim(&key, options, Claimant::Client(client));
        Ok(self.workspace_of(claimed.await?))
    }

    /// Returns an open workspace. The handle has no claim, so it does not keep the workspace open.
    ///
    /// # Errors
    /// [`HostError::UnknownWorkspace`] or [`HostError::WorkspaceClosing`].
    pub fn workspace(&self, id: WorkspaceId) -> Result<Workspace, HostError> {
        let open = self.inner.workspaces.lock().open(id);
        let workspace = open.map_err(|refused| refusal(refused, id, None))?;
        Ok(self.workspace_of(ClaimedWorkspace {
            workspace,
            opened: false,
            guard: None,
        }))
    }

    fn workspace_of(&self, claimed: ClaimedWorkspace) -> Workspace {
        Workspace {
            claim: claimed.guard.map(Arc::new),
            host: self.clone(),
            inner: claimed.workspace,
            opened: claimed.opened,
        }
    }

    /// Retires a client for good: its claims and their streams end, and its later requests are
    /// refused.
    pub fn retire_client(&self, client: ClientId) {
        self.inner.retire(client);
    }

    /// Returns a session, whether or not its workspace is open.
    ///
    /// Dropping the future has no effect.
    ///
    /// # Errors
    /// [`HostError::UnknownSession`].
    pub async fn session(&self, id: SessionId) -> Result<Session, HostError> {
        let at = self.inner.store.locate(id).await?;
        Ok(Session {
            host: self.clone(),
            workspace: at.workspace,
            agent: at.agent,
            id,
        })
    }

    /// Returns a run in any state.
    ///
    /// Dropping the future has no effect.
    ///
    /// # Errors
    /// [`HostError::UnknownRun`].
    pub async fn run(&self, id: RunId) -> Result<Run, HostError> {
        if let Some(live) = self.inner.dispatcher.live(id) {
            return Ok(self.handle(live));
        }

        let at = self.inner.store.run(id).await?;
        Ok(Run {
            host: self.clone(),
            id,
            session: at.session,
            live: None,
        })
    }

    /// Returns the most recently changed sessions of one workspace or of all, newest first.
    ///
    /// Dropping the future has no effect.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn sessions(
        &self,
        workspace: Option<WorkspaceId>,
        limit: u32,
    ) -> Result<Vec<SessionRecord>, HostError> {
        let rows = self.inner.store.sessions(workspace, limit).await?;
        Ok(rows.into_iter().map(|row| row.record).collect())
    }

    /// Returns the runs that have not ended, of one session or of all.
    #[must_use]
    pub fn live_runs(&self, session: Option<SessionId>) -> Vec<Run> {
        let live = self.inner.dispatcher.live_runs(session);
        live.into_iter().map(|live| self.handle(live)).collect()
    }

    fn handle(&self, live: Arc<LiveRun>) -> Run {
        Run {
            host: self.clone(),
            id: live.id,
            session: live.session,
            live: Some(live),
        }
    }

    /// Returns how many runs may execute at the same time: the number set in the builder, or what
    /// the machine or its control group allows.
    #[must_use]
    pub fn concurrent_runs(&self) -> u32 {
        self.inner.engine.concurrent_runs()
    }

    /// Returns the limits of runs whose workspace sets none of its own.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.inner.limits
    }

    /// Returns the places in the database that could not be read, at the start or since: at most
    /// 1,000, in the order in which they were found. Lists omit the damaged rows, and everything
    /// else keeps working.
    #[must_use]
    pub fn damaged(&self) -> Vec<Damage> {
        self.inner.store.damaged()
    }

    /// Returns what recovery did when this host started.
    #[must_use]
    pub fn recovered(&self) -> Recovered {
        self.inner.store.recovered()
    }
}

/// Refuses a key or options beyond the bounds.
fn check_opened(key: &WorkspaceKey, options: Option<&WorkspaceOptions>) -> Result<(), HostError> {
    key.check().map_err(HostError::Invalid)?;
    options.map_or(Ok(()), bounds::check_options)
}

impl HostInner {
    /// Returns a handle to the host, unless the last one has been dropped.
    fn host(&self) -> Option<Host> {
        let inner = self.lease.get()?.upgrade()?;
        Some(Host { inner })
    }

    fn agents(&self) -> MutexGuard<'_, HashMap<AgentId, Agent>> {
        self.agents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Prepares a run of a session, whose workspace must be open and whose agent must be loaded.
    fn job(
        &self,
        session: &Session,
        id: RunId,
        prompt: PromptRecord,
        bound_to: Option<ClientId>,
    ) -> Result<RunJob, HostError> {
        let open = self.workspaces.lock().open(session.workspace);
        let workspace = match open {
            Err(Refused::UnknownWorkspace) if *self.stage.borrow() != closing::Stage::Open => {
                return Err(HostError::HostClosing);
            }
            open => open.map_err(|refused| refusal(refused, session.workspace, None))?,
        };

        let agent = self.agents().get(&session.agent).cloned();
        let agent = agent.ok_or_else(|| HostError::UnknownAgent(session.agent.clone()))?;
        let limits = workspace.limits();
        let birth = LiveRunParams {
            session: session.id,
            workspace: session.workspace,
            bound_to,
            engine: Arc::clone(&self.engine),
            clock: Arc::clone(&self.dispatcher.clock),
            woken: prompt.origin == Origin::Wake,
            times: Times::of(&limits, prompt.deadline),
        };

        Ok(RunJob {
            live: LiveRun::new(id, birth),
            agent: agent.inner,
            workspace,
            prompt,
            attached: Vec::new(),
            goes_on: None,
            resumes: None,
            limits,
            lineage: None,
            asked_in: Span::current(),
            entered: self.dispatcher.clock.elapsed(),
        })
    }
}
