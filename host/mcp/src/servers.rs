//! The tools of all configured servers, as a [`ToolProvider`] of the host. Each workspace has
//! connections of its own.

use super::config::{McpConfig, McpConfigError, Server};
use super::handler::Elicit;
use super::launch::SecretSource;
use super::oauth::{Consent, TokenFiles, TokenStore};
use super::session::{ServerSession, SessionStatus};
use super::shared::{EmbedderSettings, KnownServer, Shared};
use futures_util::future::{BoxFuture, join_all};
use lastword_providers::model::CallContext;
use lastword_providers::tools::{
    HostContext, Invocation, Tool, ToolError, ToolErrorKind, ToolOutput, ToolProvider,
};
use lastword_types::clock::Clock;
use lastword_types::id::WorkspaceId;
use rmcp::model::JsonObject;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The servers of an operator's configuration, and every workspace's connections to them.
///
/// A connection is opened when a workspace first needs it, and belongs to that workspace alone. Its
/// tools are named `server.tool`. An unreachable server is an error; it is tried again at most once
/// per back-off.
#[derive(Clone)]
pub struct McpServers {
    pub(super) servers: Arc<Vec<Arc<KnownServer>>>,
    pub(super) shared: Arc<Shared>,
    /// The connections of these servers and of those attached to a host.
    connections: Arc<Mutex<HashMap<WorkspaceId, Connections>>>,
}

/// One workspace's sessions, in the servers' order, with the settings that they were created with.
#[derive(Clone)]
struct Connections {
    shared: Arc<Shared>,
    sessions: Vec<Arc<ServerSession>>,
}

/// A workspace's state of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct McpStatus {
    /// The server's name.
    pub server: String,
    /// The state of the connection.
    pub state: McpState,
    /// The number of its tools when they were last read.
    pub tools: usize,
    /// The tools that cannot be used, with the reasons, and without secrets. At most a few dozen.
    pub left_out: Vec<String>,
}

/// The state of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum McpState {
    /// It was not needed yet.
    Idle,
    /// It is being opened, or a request decides on its state.
    Starting,
    /// The server is connected.
    Serving {
        /// The negotiated version of the protocol, such as `2025-11-25`.
        protocol: Option<String>,
    },
    /// The server failed.
    Failed {
        /// What happened, without secrets.
        failure: String,
        /// The time until it may be tried again.
        retry: Duration,
    },
}

impl McpServers {
    /// Creates the servers from tables by name. Starts nothing yet.
    ///
    /// # Errors
    ///
    /// [`McpConfigError`] for a table that cannot be used.
    pub fn new(tables: BTreeMap<String, McpConfig>) -> Result<Self, McpConfigError> {
        let mut servers = Vec::new();

        for (name, table) in tables {
            let (server, endpoint) = Server::new(&name, table)?;
            servers.push(Arc::new(KnownServer::new(server, endpoint)));
        }

        let shared = Shared::new(EmbedderSettings::default(), &servers);
        Ok(Self {
            servers: Arc::new(servers),
            shared: Arc::new(shared),
            connections: Arc::default(),
        })
    }

    /// Sets the source of secrets, which are also redacted from everything that servers say.
    #[must_use]
    pub fn secrets(self, fill: Arc<dyn SecretSource>) -> Self {
        self.with(|brought| brought.fill = Some(fill))
    }

    /// Sets the clock.
    #[must_use]
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        self.with(|brought| brought.clock = Some(clock))
    }

    /// Sets the function that returns a workspace's directory, for `{{workspace}}` and for servers
    /// that ask for it.
    #[must_use]
    pub fn directories(
        self,
        directories: impl Fn(WorkspaceId) -> Option<PathBuf> + Send + Sync + 'static,
    ) -> Self {
        self.with(|brought| brought.directories = Some(Arc::new(directories)))
    }

    /// Lets servers ask a person.
    #[must_use]
    pub fn elicit(self, elicit: Arc<dyn Elicit>) -> Self {
        self.with(|brought| brought.elicit = Some(elicit))
    }

    /// Lets a person consent when a server asks for it during a call. Otherwise such a call is an
    /// error that says how to log in.
    #[must_use]
    pub fn consent(self, consent: Arc<dyn Consent>) -> Self {
        self.with(|brought| brought.consent = Some(consent))
    }

    /// Sets the store of tokens. By default it is in the host's data directory, or in memory if
    /// there is no host.
    #[must_use]
    pub fn tokens(self, tokens: Arc<dyn TokenStore>) -> Self {
        self.with(|brought| brought.tokens = Some(tokens))
    }

    /// Returns the same servers with a changed setting, and without connections.
    fn with(self, change: impl FnOnce(&mut EmbedderSettings)) -> Self {
        let mut brought = self.shared.brought.clone();
        change(&mut brought);
        Self {
            shared: Arc::new(Shared::new(brought, &self.servers)),
            connections: Arc::default(),
            ..self
        }
    }

    /// Returns the workspace's state of each server.
    #[must_use]
    pub fn status(&self, workspace: WorkspaceId) -> Vec<McpStatus> {
        let connections = self.lock().get(&workspace).cloned();
        let now = connections.as_ref().map(|of| of.shared.clock.elapsed());
        let now = now.unwrap_or_default();
        let servers = self.servers.iter().enumerate();

        let statuses = servers.map(|(at, known)| {
            let session = connections.as_ref().map(|of| &of.sessions[at]);
            let state = match session.map_or(SessionStatus::Idle, |session| session.status(now)) {
                SessionStatus::Idle => McpState::Idle,
                SessionStatus::Starting => McpState::Starting,
                SessionStatus::Serving { protocol } => McpState::Serving { protocol },
                SessionStatus::Waiting { failure, retry } => McpState::Failed { failure, retry },
            };

            let seen = session.and_then(|session| session.cached_tools());
            McpStatus {
                server: known.server.name.clone(),
                state,
                tools: seen.as_ref().map_or(0, |seen| seen.tools.len()),
                left_out: seen.map_or_else(Vec::new, |seen| seen.left_out.clone()),
            }
        });
        statuses.collect()
    }

    /// Carries out a call for a workspace without asking for permission, since the host has done
    /// that.
    pub fn call_tool(
        &self,
        workspace: WorkspaceId,
        tool: &str,
        arguments: Value,
    ) -> BoxFuture<'static, Result<ToolOutput, ToolError>> {
        let found = self.session_of(workspace, tool);
        let tool = tool.to_owned();
        Box::pin(async move {
            let (shared, session) = found?;
            session.call(&shared, &tool, object(arguments)?).await
        })
    }

    /// Returns the session of the server that a tool belongs to, and what it was created with.
    fn session_of(
        &self,
        workspace: WorkspaceId,
        tool: &str,
    ) -> Result<(Arc<Shared>, Arc<ServerSession>), ToolError> {
        let server = tool.split_once('.').map(|(server, _)| server);
        let at = self
            .servers
            .iter()
            .position(|known| Some(known.server.name.as_str()) == server);
        let at = at.ok_or_else(|| {
            let why = format!("no MCP server has a tool `{tool}`");
            ToolError::new(ToolErrorKind::UnknownTool, why)
        })?;

        let Connections { shared, sessions } = self.connections_of(workspace);
        Ok((shared, Arc::clone(&sessions[at])))
    }

    fn connections_of(&self, workspace: WorkspaceId) -> Connections {
        let mut connections = self.lock();
        let connections = connections.entry(workspace).or_insert_with(|| {
            let servers = self.servers.iter();
            let session = |known| {
                Arc::new(ServerSession::new(
                    Arc::clone(known),
                    workspace,
                    &self.shared,
                ))
            };
            Connections {
                shared: Arc::clone(&self.shared),
                sessions: servers.map(session).collect(),
            }
        });
        connections.clone()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<WorkspaceId, Connections>> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn object(arguments: Value) -> Result<JsonObject, ToolError> {
    match arguments {
        Value::Object(arguments) => Ok(arguments),
        Value::Null => Ok(JsonObject::new()),
        _ => Err(ToolError::invalid("the arguments of a tool are an object")),
    }
}

impl fmt::Debug for McpServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.servers.iter().map(|known| &known.server.name);
        f.debug_list().entries(names).finish()
    }
}

impl ToolProvider for McpServers {
    /// Returns these servers with the host's secrets, clock and directories, and a folder for
    /// tokens in its data directory, each unless it is set. [`McpServers::status`] of these servers
    /// also reports the connections of the attached ones.
    fn attach(&self, host: &HostContext) -> Option<Arc<dyn ToolProvider>> {
        let connections = Arc::clone(&self.connections);
        let attached = self.clone().with(|brought| {
            let fill = || Arc::new(host.secrets.clone()) as _;
            brought.fill.get_or_insert_with(fill);
            brought.clock.get_or_insert_with(|| Arc::clone(&host.clock));
            let directories = || Arc::clone(&host.directories);
            brought.directories.get_or_insert_with(directories);
            brought.descriptors = host.descriptors;
            if let (None, Some(directory)) = (&brought.tokens, &host.data_dir) {
                brought.tokens = Some(Arc::new(TokenFiles::of_data_dir(directory)));
            }
        });
        Some(Arc::new(Self {
            connections,
            ..attached
        }))
    }

    /// Returns no common timeout, since each server has its own.
    fn listing_timeout(&self) -> Option<Duration> {
        None
    }

    /// Returns the tools of every server. For an unreachable one, those that were last read, so
    /// that a call reports the failure.
    fn tools(&self, context: &CallContext) -> BoxFuture<'static, Result<Vec<Tool>, ToolError>> {
        let Connections { shared, sessions } = self.connections_of(context.workspace);

        Box::pin(async move {
            let listed = join_all(sessions.iter().map(|session| session.tools(&shared))).await;
            let mut tools = Vec::new();

            for (session, listed) in sessions.iter().zip(listed) {
                let listed = listed.map_or_else(
                    |error| {
                        tracing::warn!(target: "lastword::mcp", "no tools: {error}");
                        session.cached_tools()
                    },
                    Some,
                );
                tools.extend(listed.iter().flat_map(|listed| listed.tools.clone()));
            }

            Ok(tools)
        })
    }

    fn call(&self, call: Invocation) -> BoxFuture<'static, Result<ToolOutput, ToolError>> {
        self.call_tool(call.context.workspace, &call.tool, call.arguments)
    }

    fn close(&self, workspace: WorkspaceId) -> BoxFuture<'static, ()> {
        let closed = self.lock().remove(&workspace);
        Box::pin(async move {
            let sessions = closed.iter().flat_map(|of| &of.sessions);
            join_all(sessions.map(|session| session.close())).await;
        })
    }
}
