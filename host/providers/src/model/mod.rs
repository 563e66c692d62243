//! Asking a model: what an embedder brings, the providers that come along, and the guest's
//! side of it.

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
    Blobs, CallContext, ModelError, ModelErrorKind, ModelEvent, ModelFinish, ModelInfo,
    ModelMessage, ModelProvider, ModelRequest, ModelStream, REQUEST_BYTES_MAX, Retrying,
    ToolChoice, ToolSpec,
};
pub use scripted::{Reply, Scripted, Step};
