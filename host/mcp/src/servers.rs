//! The tools of all configured servers, as the host asks for them. Each workspace has
//! connections of its own. Knows neither protocol nor process.

use super::config::{McpConfig, McpConfigError, Server};
use super::handler::Elicit;
use super::launch::Fill;
use super::oauth::{Consent, TokenFiles, TokenStore};
use super::shared::{Brought, Known, Shared};
use super::slot::{Doing, Slot};
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
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The servers of an operator's configuration, and every workspace's connections to them.
///
/// A connection is made when a workspace first needs it and belongs to that workspace alone.
/// Its tools are called `server.tool`. A server that cannot be reached is an error value; it
/// is tried again at most once per back-off.
#[derive(Clone)]
pub struct McpServers {
    pub(super) servers: Arc<Vec<Arc<Known>>>,
    pub(super) shared: Arc<Shared>,
    slots: Arc<Mutex<HashMap<WorkspaceId, Vec<Arc<Slot>>>>>,
}

/// How a workspace stands with one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct McpStatus {
    /// The server's name.
    pub server: String,
    /// What is with it.
    pub state: McpState,
    /// How many tools were last seen.
    pub tools: usize,
    /// What it offered beside them and could not be used, and why; without secrets. At most a
    /// few dozen.
    pub left_out: Vec<String>,
}

/// What is with a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum McpState {
    /// It was not needed yet.
    Idle,
    /// It is being started or asked.
    Starting,
    /// There is a connection.
    Serving {
        /// The protocol that was agreed on, such as `2025-11-25`.
        protocol: Option<String>,
    },
    /// It failed.
    Failed {
        /// What happened, without secrets.
        failure: String,
        /// How long it is still left alone.
        retry: Duration,
    },
}

impl McpServers {
    /// The servers of these tables, by their names. Starts nothing yet.
    ///
    /// # Errors
    /// [`McpConfigError`] for a table that cannot be used.
    pub fn new(tables: BTreeMap<String, McpConfig>) -> Result<Self, McpConfigError> {
        let mut servers = Vec::new();

        for (name, table) in tables {
            let (server, reach) = Server::new(&name, table)?;
            servers.push(Arc::new(Known::new(server, reach)));
        }

        let shared = Shared::new(Brought::default(), &servers);
        Ok(Self {
            servers: Arc::new(servers),
            shared: Arc::new(shared),
            slots: Arc::default(),
        })
    }

    /// Takes secrets from here, and keeps them out of everything that servers say.
    #[must_use]
    pub fn secrets(self, fill: Arc<dyn Fill>) -> Self {
        self.with(|brought| brought.fill = fill)
    }

    /// Takes its time from here.
    #[must_use]
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        self.with(|brought| brought.clock = clock)
    }

    /// Knows from here where a workspace is, for `{{workspace}}` and for servers that ask.
    #[must_use]
    pub fn directories(
        self,
        directories: impl Fn(WorkspaceId) -> Option<PathBuf> + Send + Sync + 'static,
    ) -> Self {
        self.with(|brought| brought.directories = Arc::new(directories))
    }

    /// Lets servers ask a person.
    #[must_use]
    pub fn elicit(self, elicit: Arc<dyn Elicit>) -> Self {
        self.with(|brought| brought.elicit = Some(elicit))
    }

    /// Lets a person consent where a server asks for it in the middle of a call. Otherwise
    /// such a call is an error that says how to log in.
    #[must_use]
    pub fn consent(self, consent: Arc<dyn Consent>) -> Self {
        self.with(|brought| brought.consent = Some(consent))
    }

    /// Keeps tokens here. Otherwise they are in the host's data directory, or end with this
    /// value if there is no host.
    #[must_use]
    pub fn tokens(self, tokens: Arc<dyn TokenStore>) -> Self {
        self.with(|brought| brought.tokens = Some(tokens))
    }

    /// The same servers with another setting, and no connections yet.
    fn with(self, change: impl FnOnce(&mut Brought)) -> Self {
        let mut brought = self.shared.brought.clone();
        change(&mut brought);
        Self {
            shared: Arc::new(Shared::new(brought, &self.servers)),
            slots: Arc::default(),
            ..self
        }
    }

    /// How a workspace stands with each server.
    #[must_use]
    pub fn status(&self, workspace: WorkspaceId) -> Vec<McpStatus> {
        let slots = self.lock().get(&workspace).cloned();
        let now = self.shared.clock.elapsed();
        let servers = self.servers.iter().enumerate();

        let statuses = servers.map(|(at, known)| {
            let slot = slots.as_ref().map(|slots| &slots[at]);
            let state = match slot.map_or(Doing::Nothing, |slot| slot.doing(now)) {
                Doing::Nothing => McpState::Idle,
                Doing::Starting => McpState::Starting,
                Doing::Serving { protocol } => McpState::Serving { protocol },
                Doing::Waiting { failure, retry } => McpState::Failed { failure, retry },
            };

            let seen = slot.and_then(|slot| slot.seen());
            McpStatus {
                server: known.server.name.clone(),
                state,
                tools: seen.as_ref().map_or(0, |seen| seen.tools.len()),
                left_out: seen.map_or_else(Vec::new, |seen| seen.left_out.clone()),
            }
        });
        statuses.collect()
    }

    /// Carries a call out for a workspace, without asking anybody: that is the host's part.
    pub fn call_tool(
        &self,
        workspace: WorkspaceId,
        tool: &str,
        arguments: Value,
    ) -> BoxFuture<'static, Result<ToolOutput, ToolError>> {
        let slot = self.slot_of(workspace, tool);
        let shared = Arc::clone(&self.shared);
        let tool = tool.to_owned();
        Box::pin(async move { slot?.call(&shared, &tool, object(arguments)?).await })
    }

    /// What a tool's name belongs to.
    fn slot_of(&self, workspace: WorkspaceId, tool: &str) -> Result<Arc<Slot>, ToolError> {
        let server = tool.split_once('.').map(|(server, _)| server);
        let at = self
            .servers
            .iter()
            .position(|known| Some(known.server.name.as_str()) == server);

        match at {
            Some(at) => Ok(Arc::clone(&self.slots_of(workspace)[at])),
            None => Err(ToolError::new(
                ToolErrorKind::UnknownTool,
                format!("no MCP server has a tool `{tool}`"),
            )),
        }
    }

    fn slots_of(&self, workspace: WorkspaceId) -> Vec<Arc<Slot>> {
        let mut slots = self.lock();
        let slots = slots.entry(workspace).or_insert_with(|| {
            let servers = self.servers.iter();
            let slot = |known| Arc::new(Slot::new(Arc::clone(known), workspace, &self.shared));
            servers.map(slot).collect()
        });
        slots.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<WorkspaceId, Vec<Arc<Slot>>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
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
    /// These servers with the host's secrets, clock and directories, and a folder for tokens in its
    /// data directory unless they have another place.
    fn attach(&self, host: &HostContext) -> Option<Arc<dyn ToolProvider>> {
        let attached = self.clone().with(|brought| {
            brought.fill = Arc::new(host.secrets.clone());
            brought.clock = Arc::clone(&host.clock);
            brought.directories = Arc::clone(&host.directories);
            brought.descriptors = host.descriptors;
            if let (None, Some(directory)) = (&brought.tokens, &host.data_dir) {
                brought.tokens = Some(Arc::new(TokenFiles::of_data_dir(directory)));
            }
        });
        Some(Arc::new(attached))
    }

    /// Each server has a time of its own to answer in.
    fn listing_timeout(&self) -> Option<Duration> {
        None
    }

    /// The tools of every server that is there. Of one that is not, those that were last seen:
    /// whoever calls them learns what is wrong.
    fn tools(&self, context: &CallContext) -> BoxFuture<'static, Result<Vec<Tool>, ToolError>> {
        let slots = self.slots_of(context.workspace);
        let shared = Arc::clone(&self.shared);

        Box::pin(async move {
            let listed = join_all(slots.iter().map(|slot| slot.tools(&shared))).await;
            let mut tools = Vec::new();

            for (slot, listed) in slots.iter().zip(listed) {
                let listed = listed.map_or_else(
                    |error| {
                        tracing::warn!(target: "lastword::mcp", "no tools: {error}");
                        slot.seen()
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
        let slots = self.lock().remove(&workspace);
        Box::pin(async move {
            join_all(slots.iter().flatten().map(|slot| slot.close())).await;
        })
    }
}
