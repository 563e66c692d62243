//! The host's own tools: which there are, what each needs, and who carries a call of each out.

mod agent;
mod ask;
mod todo;

use super::listed::Listed;
use super::toolbox::Toolbox;
use super::{Invocation, ToolError, ToolErrorKind, ToolOutput};
use crate::capability::agents::StartRun;
use crate::permission::Capability;
use std::sync::{Arc, LazyLock};

/// What the host's own tools need of the host, for one run.
pub(crate) struct Own {
    pub(crate) starts: Arc<dyn StartRun>,
    /// Above which agents may not start further ones.
    pub(crate) child_depth: u32,
}

/// Every tool of the host's own, in the order in which a model sees them. Constant, so that
/// each schema is made ready once.
static ALL: LazyLock<Vec<Arc<Listed>>> = LazyLock::new(|| {
    let all = [todo::tool(), ask::tool(), agent::tool(&[])];
    all.into_iter()
        .map(|tool| Arc::new(Listed::own(tool)))
        .collect()
});

impl Own {
    /// Every tool, as a model is told of it in this run.
    pub(super) fn tools(&self) -> Vec<Arc<Listed>> {
        let told = |listed: &Arc<Listed>| match listed.tool.name.as_str() {
            agent::NAME => Arc::new(Listed::own(agent::tool(&self.starts.agents()))),
            _ => Arc::clone(listed),
        };
        ALL.iter().map(told).collect()
    }

    /// One tool.
    pub(super) fn tool(name: &str) -> Option<&'static Arc<Listed>> {
        ALL.iter().find(|listed| listed.tool.name == name)
    }

    /// The capability without which a tool is of no use.
    pub(super) fn needs(name: &str) -> Option<Capability> {
        match name {
            agent::NAME => Some(Capability::RunAgents),
            _ => None,
        }
    }

    /// Carries a call out.
    pub(super) async fn call(
        &self,
        toolbox: &Toolbox,
        call: Invocation,
    ) -> Result<ToolOutput, ToolError> {
        match call.tool.as_str() {
            todo::NAME => todo::call(toolbox, call).await,
            ask::NAME => ask::call(toolbox, call).await,
            agent::NAME => agent::call(self, toolbox, call).await,
            _ => Err(ToolError::new(
                ToolErrorKind::UnknownTool,
                "there is no such tool",
            )),
        }
    }
}

/// A string among arguments that fit a schema which has it.
fn text<'a>(call: &'a Invocation, name: &str) -> Option<&'a str> {
    call.arguments.get(name).and_then(serde_json::Value::as_str)
}
