//! Language models: the trait that an embedder implements, the registry, and the built-in services.

mod config;
#[cfg(feature = "models")]
mod endpoint;
mod guard;
mod models;
mod prices;
mod provider;
#[cfg(feature = "models")]
mod remote;
mod script_file;
mod scripted;

#[cfg(test)]
pub(crate) mod testing;

pub use config::{ContextTokens, ModelConfigError, ModelsConfig, ServiceConfig};
pub use guard::{ATTEMPTS_MAX, BACKOFF_FIRST, Guard, GuardLimits, WAIT_MAX};
pub use models::Models;
pub use prices::ModelPrice;
pub use provider::{
    Blobs, CallContext, ModelError, ModelErrorKind, ModelEvent, ModelFinish, ModelInfo,
    ModelMessage, ModelProvider, ModelRequest, ModelStream, REQUEST_BYTES_MAX, Retrying,
    ToolChoice, ToolSpec,
};
pub use scripted::{Reply, Scripted, Step};
