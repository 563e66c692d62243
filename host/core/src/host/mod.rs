//! The host as an embedder sees it, and the only place where its parts are wired together.

mod agent;
mod builder;
mod error;
#[doc(hidden)]
pub mod measure;
mod prompt;
mod session;
mod workspace;

pub use agent::{Agent, AgentSource};
pub use builder::HostBuilder;
pub use error::HostError;
pub use prompt::Prompt;
pub use session::Session;
pub use workspace::{Workspace, WorkspaceOptions};

pub(crate) use agent::AgentInner;
pub(crate) use workspace::WorkspaceInner;

use crate::capability::Capabilities;
use crate::id::{AgentId, RunId, SessionId, WorkspaceId};
use crate::run::Run;
use crate::run::dispatcher::{Dispatcher, RunJob};
use crate::run::live::{Birth, LiveRun};
use crate::sandbox::{Engine, GuestState, Limits, Linker};
use crate::session::SessionRecord;
use crate::store::{HeldRow, HeldScope, Recovered, Store};
use crate::workspace::WorkspaceKey;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Runtime;

/// How much longer than the finishing deadline a shutdown waits for the last run.
const SHUTDOWN_MARGIN: Duration = Duration::from_secs(1);

/// A host: one engine, one store, and the runs between them. A cloneable handle.
///
/// Dropping the last clone without [`Host::shutdown`] leaves the runs that have no end yet to
/// the next host's recovery.
#[derive(Clone)]
pub struct Host {
    pub(crate) inner: Arc<HostInner>,
}

pub(crate) struct HostInner {
    pub(crate) dispatcher: Arc<Dispatcher>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) linker: Linker<GuestState<Capabilities>>,
    pub(crate) store: Store,
    pub(crate) limits: Limits,
    pub(crate) cache: Option<PathBuf>,
    /// One component describes itself at a time: the engine's pool has room for one beside
    /// the runs.
    pub(crate) describing: tokio::sync::Semaphore,
    agents: Mutex<HashMap<AgentId, Agent>>,
    workspaces: Mutex<HashMap<WorkspaceId, Workspace>>,
    guests: Option<Runtime>,
}

impl Host {
    /// Begins to build a host.
    #[must_use]
    pub fn builder() -> HostBuilder {
        HostBuilder::new()
    }

    /// Loads an agent under a name of the embedder's choice: inspects, compiles (or finds it
    /// compiled), links it, and asks it what it wants, with everything denied.
    ///
    /// Loading the same name again replaces what later sessions get. Dropping the future
    /// leaves a compilation to finish in the background, into the cache.
    ///
    /// # Errors
    /// [`HostError::Component`] with what is wrong and what to do; [`HostError::Io`] when a
    /// file cannot be read.
    pub async fn load_agent(
        &self,
        name: impl Into<String>,
        source: impl Into<AgentSource>,
    ) -> Result<Agent, HostError> {
        let id = AgentId::new(name)?;
        let agent = agent::load(&self.inner, id.clone(), source.into()).await?;
        let mut agents = self
            .inner
            .agents
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        agents.insert(id, agent.clone());
        Ok(agent)
    }

    /// Opens a workspace, or finds it open. Its directory is opened once and kept.
    ///
    /// # Errors
    /// [`HostError::Io`] when the directory cannot be opened.
    pub async fn open_workspace(
        &self,
        key: WorkspaceKey,
        options: WorkspaceOptions,
    ) -> Result<Workspace, HostError> {
        let workspace = workspace::open(self, key, options).await?;
        let mut open = self
            .inner
            .workspaces
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        open.insert(workspace.id(), workspace.clone());
        Ok(workspace)
    }

    /// The sessions that changed last, of one workspace or of all, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn sessions(
        &self,
        workspace: Option<WorkspaceId>,
        limit: u32,
    ) -> Result<Vec<SessionRecord>, HostError> {
        let rows = self.inner.store.sessions(workspace, limit).await?;
        Ok(rows.into_iter().map(|row| row.record).collect())
    }

    /// The runs that have no end yet, of one session or of all.
    #[must_use]
    pub fn live_runs(&self, session: Option<SessionId>) -> Vec<Run> {
        let live = self.inner.dispatcher.live_runs(session);
        live.into_iter()
            .map(|live| self.inner.handle(live))
            .collect()
    }

    /// Runs at the same time: what the builder asked for, or what the machine allows.
    #[must_use]
    pub fn concurrent_runs(&self) -> u32 {
        self.inner.engine.concurrent_runs()
    }

    /// What recovery did when this host started.
    #[must_use]
    pub fn recovered(&self) -> Recovered {
        self.inner.store.recovered()
    }

    /// Puts the prompts that an earlier host left queued back into the queue, for those
    /// sessions whose agent is loaded and whose workspace is open. Answers their runs.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub async fn resume_held(&self) -> Result<Vec<Run>, HostError> {
        let mut resumed = Vec::new();
        for held in self.inner.store.held(HeldScope::All).await? {
            if let Some(run) = self.resume_one(held).await? {
                resumed.push(run);
            }
        }
        Ok(resumed)
    }

    async fn resume_one(&self, held: HeldRow) -> Result<Option<Run>, HostError> {
        let row = self.inner.store.session(held.session).await?;
        let agent = {
            let agents = self
                .inner
                .agents
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            agents.get(&row.record.agent).cloned()
        };
        let workspace = {
            let open = self
                .inner
                .workspaces
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            open.get(&row.record.workspace).cloned()
        };
        let (Some(agent), Some(workspace)) = (agent, workspace) else {
            return Ok(None);
        };
        self.inner.store.resume(held.no).await?;
        let session = Session {
            host: self.clone(),
            workspace,
            agent,
            id: held.session,
            no: row.no(),
        };
        let job = self.inner.job(&session, held.id, held.prompt);
        let run = self.inner.handle(Arc::clone(&job.live));
        self.inner.dispatcher.requeue(job, held.no);
        Ok(Some(run))
    }

    /// Ends the host: no new prompts, every run is stopped with the cause `shutdown` and its
    /// end written, then the store is closed. Queued prompts stay queued for the next host.
    ///
    /// Waits no longer than the finishing deadline and a second. Answers the runs whose end
    /// is not on disk by then; the next host's recovery writes it.
    pub async fn shutdown(&self) -> Vec<RunId> {
        let limits = &self.inner.limits;
        let patience = limits.finish_deadline + limits.grace + SHUTDOWN_MARGIN;
        let left = self.inner.dispatcher.close(patience).await;
        let store = self.inner.store.clone();
        let closed = tokio::task::spawn_blocking(move || store.close());
        if closed.await.is_err() {
            tracing::error!("closing the store panicked");
        }
        left
    }
}

impl HostInner {
    fn handle(&self, live: Arc<LiveRun>) -> Run {
        Run {
            dispatcher: Arc::clone(&self.dispatcher),
            id: live.id,
            session: live.session,
            session_no: live.session_no,
            live: Some(live),
        }
    }

    fn job(&self, session: &Session, id: RunId, prompt: crate::store::PromptRecord) -> RunJob {
        let workspace = &session.workspace.inner;
        let limits = workspace.limits.unwrap_or(self.limits);
        let birth = Birth {
            session: session.id,
            session_no: session.no,
            engine: Arc::clone(&self.engine),
            clock: Arc::clone(&self.dispatcher.clock),
            grace: limits.grace,
            finish_deadline: limits.finish_deadline,
            run_deadline: prompt.deadline.or(limits.deadline),
        };
        RunJob {
            live: LiveRun::new(id, birth),
            agent: Arc::clone(&session.agent.inner),
            workspace: Arc::clone(workspace),
            prompt,
            limits,
        }
    }
}

impl Drop for HostInner {
    fn drop(&mut self) {
        if let Some(guests) = self.guests.take() {
            // Dropping a runtime inside async code panics, and a blocked file read would
            // hold it for ever.
            guests.shutdown_background();
        }
    }
}
