//! The interface through which a live run starts a run of another agent. The host implements it
//! in `host/children.rs`.

use super::budget::Budget;
use crate::run::{Cause, RunState};
use futures_util::future::BoxFuture;
use lastword_providers::model::CallContext;
use lastword_providers::tools::ToolError;
use lastword_types::id::{AgentId, RunId, SessionId, WorkspaceId};
use lastword_types::permission::Authority;
use std::sync::Arc;

/// Starts runs on behalf of other runs.
pub(crate) trait RunSpawner: Send + Sync + 'static {
    /// Starts a run in a session of its own and waits for its end. Dropping the future stops
    /// the run, with the cause `parent`.
    fn start(&self, child: Child) -> BoxFuture<'static, Result<ChildEnd, ToolError>>;

    /// Returns the loaded agents with their descriptions.
    fn agents(&self) -> Vec<(AgentId, String)>;
}

/// A run to be started.
pub(crate) struct Child {
    /// The run that starts it.
    pub(crate) parent: CallContext,
    pub(crate) agent: String,
    pub(crate) prompt: String,
    pub(crate) title: Option<String>,
    /// The configuration, as JSON text.
    pub(crate) config: Option<String>,
    pub(crate) lineage: Lineage,
}

/// What a child run inherits from its parent run.
#[derive(Clone)]
pub(crate) struct Lineage {
    /// The parent run.
    pub(crate) parent: RunId,
    /// What the parent run may do.
    pub(crate) authority: Authority,
    /// What the parent run may use.
    pub(crate) budget: Arc<Budget>,
    /// The principal whose remembered grants count: the agent and session that a user prompted.
    pub(crate) holder: GrantPrincipal,
}

/// The agent that a user prompted, and the session of that prompt.
#[derive(Clone, Debug)]
pub(crate) struct GrantPrincipal {
    pub(crate) agent: AgentId,
    pub(crate) session: SessionId,
    pub(crate) workspace: WorkspaceId,
}

/// How a started run ended.
#[derive(Clone, Debug)]
pub(crate) struct ChildEnd {
    pub(crate) session: SessionId,
    pub(crate) run: RunId,
    pub(crate) state: RunState,
    pub(crate) cause: Cause,
    pub(crate) detail: Option<String>,
    /// The text of its last message.
    pub(crate) text: String,
    /// Its structured output, as JSON.
    pub(crate) output: Option<String>,
}
