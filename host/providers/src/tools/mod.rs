//! Tools: what a guest may have done by others. The host's own, those that the embedder
//! brings, and those of MCP servers all go through the same door.

mod command;
pub mod fetch;
mod files;
mod provider;

#[cfg(feature = "commands")]
pub use command::{CommandTools, Commands};
pub use command::{Group, Start, Starter};
pub use fetch::FetchUrl;
pub use files::{FileLocks, FileTools, Turn};
pub use provider::{
    Effects, HostContext, Invocation, LISTING_TIMEOUT, Tool, ToolContent, ToolError, ToolErrorKind,
    ToolOutput, ToolProvider, WorkspaceDirectories,
};
