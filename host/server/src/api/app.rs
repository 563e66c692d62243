//! What the routes share: the host, the settings, and looking up what a request names while
//! hiding what its sender may not see.

use super::stream_places::StreamPlaces;
use crate::ServerOptions;
use crate::access::{Action, Authorizer, Principal};
use crate::metrics::Metrics;
use crate::problem::Problem;
use crate::serve::connections_that_fit;
use lastword::id::{AgentId, QuestionId, RunId, SessionId, WorkspaceId};
use lastword::session::{Question, QuestionState};
use lastword::similar::did_you_mean;
use lastword::{Host, HostError, Run, Session, WorkspaceKey};
use lastword_api::Damage;
use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use utoipa::openapi::OpenApi;

/// The state of one server.
pub(crate) struct App {
    pub(crate) host: Host,
    pub(crate) authorizer: Arc<dyn Authorizer>,
    pub(crate) options: ServerOptions,
    pub(crate) metrics: Metrics,
    pub(crate) streams: StreamPlaces,
    /// The API according to its routes, and the document, which is built from it at the first
    /// request.
    api: OpenApi,
    document: OnceLock<String>,
    /// The keys of known workspaces. A workspace never changes its key.
    keys: Mutex<HashMap<WorkspaceId, WorkspaceKey>>,
}

impl App {
    pub(crate) fn new(
        host: Host,
        authorizer: Arc<dyn Authorizer>,
        options: ServerOptions,
        api: OpenApi,
    ) -> Self {
        let half = || (connections_that_fit(options.connections_max) / 2).max(1);
        let streams_max = options.streams_max.unwrap_or_else(half);
        Self {
            metrics: Metrics::new(host.clone(), options.connections.clone()),
            streams: StreamPlaces::new(streams_max),
            host,
            authorizer,
            options,
            api,
            document: OnceLock::new(),
            keys: Mutex::new(HashMap::new()),
        }
    }

    /// The OpenAPI document.
    pub(crate) fn document(&self) -> &str {
        self.document.get_or_init(|| {
            let document = super::document::with_problems(self.api.clone());
            // Cannot fail: it consists of texts and of maps with text keys.
            document.to_json().unwrap_or_default()
        })
    }

    /// Completes work, even if the client that asked for it disconnects.
    pub(crate) async fn finish_request<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Problem>> + Send + 'static,
    ) -> Result<T, Problem> {
        let task = self
            .options
            .tasks
            .spawn(tracing::Instrument::in_current_span(work));
        task.await
            .unwrap_or_else(|died| Err(Problem::internal(died)))
    }

    /// Fails if the caller may not do this to the server as a whole.
    pub(crate) async fn demand(&self, who: &Principal, action: Action<'_>) -> Result<(), Problem> {
        if self.authorizer.allows(who, action, None).await {
            Ok(())
        } else {
            Err(forbidden())
        }
    }

    /// Fails if the caller may not do this in a workspace: with `unknown`, if they may not even see
    /// the workspace.
    pub(crate) async fn demand_in(
        &self,
        who: &Principal,
        action: Action<'_>,
        key: &WorkspaceKey,
        unknown: impl FnOnce() -> Problem,
    ) -> Result<(), Problem> {
        let authorizer = &self.authorizer;
        if action != Action::Read && authorizer.allows(who, action, Some(key)).await {
            return Ok(());
        }

        if !authorizer.allows(who, Action::Read, Some(key)).await {
            return Err(unknown());
        }

        if action == Action::Read {
            Ok(())
        } else {
            Err(forbidden())
        }
    }

    /// Converts an error into a problem. While the host is closing, the problem is that of the host
    /// and not of a closed workspace.
    pub(crate) fn now(&self, error: HostError) -> Problem {
        let closed = matches!(
            error,
            HostError::UnknownWorkspace(_) | HostError::WorkspaceClosing(_)
        );
        if closed && self.host.is_closing() {
            HostError::HostClosing.into()
        } else {
            error.into()
        }
    }

    /// Returns whether the caller may see a workspace.
    pub(crate) async fn sees(&self, who: &Principal, id: WorkspaceId) -> Result<bool, Problem> {
        match self.key(id).await? {
            Some(key) => Ok(self.authorizer.allows(who, Action::Read, Some(&key)).await),
            None => Ok(false),
        }
    }

    /// Finds the workspace with this id, if the caller may do this with it.
    pub(crate) async fn workspace(
        &self,
        who: &Principal,
        action: Action<'_>,
        id: WorkspaceId,
    ) -> Result<WorkspaceKey, Problem> {
        let key = self.key(id).await?.ok_or_else(|| unknown_workspace(id))?;
        self.demand_in(who, action, &key, || unknown_workspace(id))
            .await?;
        Ok(key)
    }

    /// Finds the session with this id, if the caller may do this with it.
    pub(crate) async fn session(
        &self,
        who: &Principal,
        action: Action<'_>,
        id: SessionId,
    ) -> Result<Session, Problem> {
        let unknown = || Problem::from(HostError::UnknownSession(id));
        let session = self.host.session(id).await?;
        self.demand_of(who, action, &session, unknown).await?;
        Ok(session)
    }

    /// Finds the run with this id, and its session, if the caller may do this with it.
    pub(crate) async fn run(
        &self,
        who: &Principal,
        action: Action<'_>,
        id: RunId,
    ) -> Result<(Run, Session), Problem> {
        let unknown = || Problem::from(HostError::UnknownRun(id));
        let run = self.host.run(id).await?;
        let session = self.host.session(run.session()).await?;
        self.demand_of(who, action, &session, unknown).await?;
        Ok((run, session))
    }

    /// As [`App::demand_in`], in the workspace of a session.
    async fn demand_of(
        &self,
        who: &Principal,
        action: Action<'_>,
        session: &Session,
        unknown: impl Fn() -> Problem,
    ) -> Result<(), Problem> {
        self.demand_at(who, action, session.workspace_id(), unknown)
            .await
    }

    /// As [`App::demand_in`], in a workspace by its id.
    pub(crate) async fn demand_at(
        &self,
        who: &Principal,
        action: Action<'_>,
        workspace: WorkspaceId,
        unknown: impl Fn() -> Problem,
    ) -> Result<(), Problem> {
        let key = self.key(workspace).await?.ok_or_else(&unknown)?;
        self.demand_in(who, action, &key, unknown).await
    }

    /// Returns the problem of an agent that is not loaded. Callers who may see which agents are
    /// loaded are told the one that they may have meant.
    pub(crate) async fn unknown_agent(&self, who: &Principal, agent: AgentId) -> Problem {
        let meant = if self.demand(who, Action::ReadAgents).await.is_ok() {
            let agents = self.host.agents();
            let names = agents.iter().map(|agent| agent.id().as_str());
            did_you_mean(agent.as_str(), names)
        } else {
            String::new()
        };

        Problem::from(HostError::UnknownAgent(agent)).with_detail(&meant)
    }

    /// Returns the damage found in a table so far, as far as the caller may see it.
    pub(crate) async fn damaged(&self, who: &Principal, table: &str) -> Vec<Damage> {
        let mut damaged = self.host.damaged();
        damaged.retain(|damage| damage.table == table);
        self.shown(who, damaged).await
    }

    /// Returns the damage that the caller may see: that of sessions that they may see, or all of
    /// it if they administrate the server.
    pub(crate) async fn shown(&self, who: &Principal, mut damaged: Vec<Damage>) -> Vec<Damage> {
        if damaged.is_empty() || self.demand(who, Action::Administrate).await.is_ok() {
            return damaged;
        }

        let mut shown = Vec::new();
        for damage in damaged.drain(..) {
            if let Some(id) = damage.session
                && self.session(who, Action::Read, id).await.is_ok()
            {
                shown.push(damage);
            }
        }

        shown
    }

    /// Finds the question with this id, its workspace and its state, if the caller may do this
    /// with it.
    pub(crate) async fn question(
        &self,
        who: &Principal,
        action: Action<'_>,
        id: QuestionId,
    ) -> Result<(WorkspaceId, Question, QuestionState), Problem> {
        let found = self.host.question(id).await?;
        let unknown = || Problem::from(HostError::UnknownQuestion(id));
        self.demand_at(who, action, found.0, unknown).await?;
        Ok(found)
    }

    /// Returns the key of a workspace; `None` if there is no such workspace.
    async fn key(&self, id: WorkspaceId) -> Result<Option<WorkspaceKey>, Problem> {
        if let Some(key) = self.keys().get(&id) {
            return Ok(Some(key.clone()));
        }

        match self.host.workspace_record(id).await {
            Ok(record) => {
                let key = super::views::key(&record);
                if let Some(key) = &key {
                    self.remember(id, key.clone());
                }
                Ok(key)
            }
            Err(HostError::UnknownWorkspace(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes the key of a workspace that was deleted.
    pub(crate) fn forget(&self, id: WorkspaceId) {
        self.keys().remove(&id);
    }

    /// Stores the key of a workspace that was opened.
    pub(crate) fn remember(&self, id: WorkspaceId, key: WorkspaceKey) {
        self.keys().insert(id, key);
    }

    fn keys(&self) -> std::sync::MutexGuard<'_, HashMap<WorkspaceId, WorkspaceKey>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn forbidden() -> Problem {
    Problem::new(
        "forbidden",
        "you may see this, but not do it; ask whoever runs this server",
    )
}

fn unknown_workspace(id: WorkspaceId) -> Problem {
    HostError::UnknownWorkspace(id).into()
}
