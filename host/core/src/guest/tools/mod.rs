//! The guest's side of tools: the host's own, those that the embedder brings, and those of MCP
//! servers are listed, allowed, called and recorded by one `Toolbox`.

mod host;
mod listed;
mod own;
mod result;
mod toolbox;

pub use own::OWN_TOOLS;
pub(crate) use own::{Own, OwnTools};
pub(crate) use toolbox::{Source, Toolbox};

use super::control::Control;
use std::sync::Arc;

/// One guest's access to tools; none if its manifest does not ask for any.
pub(crate) struct Tools {
    pub(crate) control: Arc<Control>,
    pub(crate) granted: Option<Arc<Toolbox>>,
}
