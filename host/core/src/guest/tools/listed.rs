//! A tool in the list of a run, with the provider that serves it.

use lastword_providers::tools::{Tool, ToolError, ToolProvider, check_arguments};
use serde_json::Value;
use std::sync::Arc;

/// A tool, and the provider that serves it.
pub(crate) struct ToolEntry {
    pub(crate) tool: Tool,
    /// `None` for a built-in tool.
    pub(crate) provider: Option<Arc<dyn ToolProvider>>,
    /// Whether the tool is listed for the agent. A call of a tool that is not listed is refused
    /// with a message that names what would allow it.
    pub(crate) shown: bool,
}

impl ToolEntry {
    /// Creates the entry of a built-in tool.
    pub(crate) fn own(tool: Tool) -> Self {
        Self {
            tool,
            provider: None,
            shown: true,
        }
    }

    /// Creates the entry of a tool of an embedder's provider, or of an MCP server.
    pub(crate) fn of(tool: Tool, provider: Arc<dyn ToolProvider>, shown: bool) -> Self {
        Self {
            provider: Some(provider),
            shown,
            ..Self::own(tool)
        }
    }

    /// Checks that the arguments are an object and, for a built-in tool, that they fit its schema.
    pub(crate) fn check(&self, arguments: &Value) -> Result<(), ToolError> {
        if !arguments.is_object() {
            return Err(ToolError::invalid(format!(
                "the arguments of `{}` are an object, such as {{}}",
                self.tool.name
            )));
        }

        match self.provider {
            None => check_arguments(&self.tool, arguments),
            Some(_) => Ok(()),
        }
    }
}
