//! The guest's side of tools: the host's own, those that the embedder brings, and those of MCP
//! servers are listed, allowed, called and recorded by one `Toolbox`.

mod builtin;
mod host;
mod listed;
mod result;
mod toolbox;

pub use builtin::BUILTIN_TOOLS;
pub(crate) use builtin::{Builtins, RunBuiltins};
pub(crate) use toolbox::{Source, Toolbox};

use super::control::Control;
use std::sync::Arc;

/// One guest's access to tools; none if its manifest does not ask for any.
pub(crate) struct Tools {
    pub(crate) control: Arc<Control>,
    pub(crate) granted: Option<Arc<Toolbox>>,
}
