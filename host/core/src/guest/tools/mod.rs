//! Tools for guests. The `Toolbox` lists, permits, calls and records them all: the built-in tools,
//! the embedder's, and those of MCP servers.

mod builtin;
mod host;
mod listed;
mod result;
mod toolbox;

pub use builtin::BUILTIN_TOOLS;
pub(crate) use builtin::{Builtins, RunBuiltins};
pub(crate) use toolbox::{Source, Toolbox};

use super::control::Control;
use lastword_sandbox::bindings::lastword::agent::types::Failure;
use std::sync::Arc;

/// One guest's access to tools, or the refusal if it has none.
pub(crate) struct Tools {
    pub(crate) control: Arc<Control>,
    pub(crate) granted: Result<Arc<Toolbox>, Failure>,
}
