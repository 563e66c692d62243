//! Starting a run of another agent on behalf of one that goes on: what that takes and what
//! comes of it. Who starts runs implements it.

use super::budget::Budget;
use crate::run::{Cause, RunState};
use futures_util::future::BoxFuture;
use lastword_providers::model::CallContext;
use lastword_providers::tools::ToolError;
use lastword_types::id::{AgentId, RunId, SessionId, WorkspaceId};
use lastword_types::permission::Authority;
use std::sync::Arc;

/// Somebody who starts runs.
pub(crate) trait RunSpawner: Send + Sync + 'static {
    /// Starts a run in a session of its own and waits for its end. Dropping the future stops
    /// the run, with the cause `parent`.
    fn start(&self, child: Child) -> BoxFuture<'static, Result<ChildEnd, ToolError>>;

    /// The agents that there are, with what they say of themselves.
    fn agents(&self) -> Vec<(AgentId, String)>;
}

/// A run that is to be started.
pub(crate) struct Child {
    /// Who starts it.
    pub(crate) parent: CallContext,
    pub(crate) agent: String,
    pub(crate) prompt: String,
    pub(crate) title: Option<String>,
    /// JSON.
    pub(crate) config: Option<String>,
    pub(crate) lineage: Lineage,
}

/// What a run has from those above it.
#[derive(Clone)]
pub(crate) struct Lineage {
    /// The one above.
    pub(crate) parent: RunId,
    /// What the one above may do.
    pub(crate) authority: Authority,
    /// What the one above may use.
    pub(crate) budget: Arc<Budget>,
    /// Whose remembered grants count: the agent that a user asked, where.
    pub(crate) holder: GrantPrincipal,
}

/// The agent that a user asked, and the session in which they did.
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
    /// What it said last.
    pub(crate) text: String,
    /// What it returned for programs, as JSON.
    pub(crate) output: Option<String>,
}
