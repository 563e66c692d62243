//! Model and tool providers of single workspaces, which the embedder supplies as each one opens.

use super::HostError;
use crate::guest::tools::Source;
use crate::workspace::WorkspaceKey;
use futures_util::future::BoxFuture;
use lastword_providers::foreign::Foreign;
use lastword_providers::model::ModelProvider;
use lastword_providers::tools::{HostContext, ToolProvider};
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How long the embedder may take to supply a workspace's providers.
const SUPPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// The model and the tools of one workspace, as
/// [`HostBuilder::workspace_providers`](super::HostBuilder::workspace_providers) supplies them.
/// Empty by default, which leaves the workspace those of the host.
#[derive(Clone, Default)]
pub struct WorkspaceProviders {
    model: Option<Arc<dyn ModelProvider>>,
    tools: Vec<Arc<dyn ToolProvider>>,
}

impl WorkspaceProviders {
    /// No model and no tools besides those of the host.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The models that agents use in this workspace, instead of the host's.
    #[must_use]
    pub fn model(mut self, provider: impl ModelProvider) -> Self {
        self.model = Some(Arc::new(provider));
        self
    }

    /// Tools for agents in this workspace, in addition to the host's. They are listed before the
    /// host's, so that a tool of the same name as one of the host's takes its place. May be called
    /// more than once. [`ToolProvider::attach`] is called each time the workspace opens, and
    /// [`ToolProvider::close`] when it closes.
    #[must_use]
    pub fn tools(mut self, provider: impl ToolProvider) -> Self {
        self.tools.push(Arc::new(provider));
        self
    }
}

impl fmt::Debug for WorkspaceProviders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkspaceProviders")
            .field("has_model", &self.model.is_some())
            .field("tool_providers", &self.tools.len())
            .finish()
    }
}

/// The embedder's function that supplies a workspace's providers.
pub(super) type Supply = Arc<
    dyn Fn(
            WorkspaceKey,
        ) -> BoxFuture<'static, Result<WorkspaceProviders, Box<dyn Error + Send + Sync>>>
        + Send
        + Sync,
>;

/// Supplies the providers of each workspace that this host opens.
pub(crate) struct ProviderSupply {
    pub(super) supply: Supply,
    /// What the tool providers are attached to.
    pub(super) context: HostContext,
}

impl ProviderSupply {
    /// Returns the providers of a workspace that is about to open.
    pub(super) async fn of(
        self: Arc<Self>,
        foreign: &Foreign,
        key: &WorkspaceKey,
    ) -> Result<OpenProviders, HostError> {
        let asked = key.clone();
        let supplied = foreign.call(Some(SUPPLY_TIMEOUT), move || async move {
            let supplied = (self.supply)(asked).await?;
            let attach = |provider| Source::attached(provider, &self.context);
            let tools = supplied.tools.into_iter().map(attach).collect();
            let model = supplied.model;
            Ok::<_, Box<dyn Error + Send + Sync>>(OpenProviders { model, tools })
        });

        let why = match supplied.await {
            Ok(Ok(providers)) => return Ok(providers),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        Err(HostError::ProvidersUnavailable {
            workspace: key.clone(),
            why,
        })
    }
}

/// The providers of an open workspace, besides the host's.
#[derive(Clone, Default)]
pub(crate) struct OpenProviders {
    pub(crate) model: Option<Arc<dyn ModelProvider>>,
    pub(crate) tools: Vec<Source>,
}

impl OpenProviders {
    pub(super) fn is_empty(&self) -> bool {
        self.model.is_none() && self.tools.is_empty()
    }
}
