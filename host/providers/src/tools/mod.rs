//! Tools: the host's own for files, commands and the web, and the trait for those of embedders and
//! MCP servers.

mod arguments;
mod command;
pub mod fetch;
mod files;
mod provider;

pub use arguments::{assert_is_read_whole, check as check_arguments};
#[cfg(feature = "commands")]
pub use command::{CommandTools, Commands};
pub use command::{ProcessGroup, SpawnRequest, Spawner};
pub use fetch::FetchUrl;
pub use files::{FileLocks, FileTools, Turn};
pub use provider::{
    Effects, HostContext, Invocation, LISTING_TIMEOUT, Tool, ToolContent, ToolError, ToolErrorKind,
    ToolOutput, ToolProvider, WorkspaceDirectories,
};
