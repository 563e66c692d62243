//! Tools: what a guest may have done by others. The host's own, those that the embedder
//! brings, and those of MCP servers all go through the same door.

mod command;
mod extent;
mod fetch;
mod files;
mod host;
mod listed;
mod own;
mod provider;
mod result;
mod toolbox;

pub use command::Commands;
pub(crate) use command::{CommandTools, Group, Start, Starter};
pub(crate) use files::FileTools;
pub use own::OWN_TOOLS;
pub(crate) use own::{Own, OwnTools};
pub use provider::{
    Effects, Invocation, Tool, ToolContent, ToolError, ToolErrorKind, ToolOutput, ToolProvider,
};
pub(crate) use toolbox::{Source, Toolbox};

pub(crate) use fetch::FetchUrl;

use super::control::Control;
use std::sync::Arc;

/// One guest's access to tools; none if its manifest does not ask for any.
pub(crate) struct Tools {
    pub(crate) control: Arc<Control>,
    pub(crate) granted: Option<Arc<Toolbox>>,
}
