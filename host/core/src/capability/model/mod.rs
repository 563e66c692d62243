//! Asking a model: what an embedder brings, the providers that come along, and the guest's
//! side of it.

mod provider;

pub use provider::{
    CallContext, ModelError, ModelErrorKind, ModelEvent, ModelInfo, ModelMessage, ModelProvider,
    ModelRequest, ModelStream, ToolSpec,
};
