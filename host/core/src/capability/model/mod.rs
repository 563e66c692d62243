//! Asking a model: what an embedder brings, the providers that come along, and the guest's
//! side of it.

mod context;
mod host;
mod provider;

pub(crate) use context::{Granted, Model};
pub use provider::{
    CallContext, ModelError, ModelErrorKind, ModelEvent, ModelInfo, ModelMessage, ModelProvider,
    ModelRequest, ModelStream, ToolSpec,
};
