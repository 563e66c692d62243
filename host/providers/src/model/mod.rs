//! Language models: the trait that an embedder implements, the registry, and the built-in services.

mod config;
mod endpoint;
mod guard;
mod models;
mod prices;
mod provider;
mod remote;
mod script_file;
mod scripted;

pub use remote::{Client, RequestBuilder, Response, exchange, header_wait, within_origin};
#[cfg(test)]
pub(crate) mod testing;

pub use config::{ContextTokens, ModelConfigError, ModelsConfig, ServiceConfig};
pub use guard::{ATTEMPTS_MAX, BACKOFF_FIRST, Guard, GuardLimits, WAIT_MAX};
pub use models::Models;
pub use prices::ModelPrice;
pub use provider::{
    Blobs, CallContext, ModelError, ModelErrorKind, ModelEvent, ModelInfo, ModelMessage,
    ModelProvider, ModelRequest, ModelStream, REQUEST_BYTES_MAX, Retrying, ToolSpec,
};
pub use scripted::{Reply, Scripted, Step};
