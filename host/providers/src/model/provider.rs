//! The trait that an embedder implements to let agents use a model, and its plain data.

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use lastword_types::id::{AgentId, RunId, SessionId, WorkspaceId};
use lastword_types::session::{BlobId, Extra, Part, Role, Usage};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// On whose behalf a host call is made.
#[derive(Clone, Debug)]
pub struct CallContext {
    /// The workspace of the run.
    pub workspace: WorkspaceId,
    /// The session of the run.
    pub session: SessionId,
    /// The run.
    pub run: RunId,
    /// The agent that calls.
    pub agent: AgentId,
}

/// A source of model completions.
///
/// Its futures run on the embedder's runtime, never on a guest's stack. Dropping a stream must end
/// the request: that is how a cancel reaches the model's server. A panic is an error of that one
/// call. A completion may take as long as its run; [`Guard`](super::Guard) bounds silence.
pub trait ModelProvider: Send + Sync + 'static {
    /// Starts a completion. `request.model` is always set, to one of [`ModelProvider::models`] or
    /// to the model that the guest asked for.
    fn complete(
        &self,
        context: CallContext,
        request: ModelRequest,
    ) -> BoxFuture<'static, Result<ModelStream, ModelError>>;

    /// Returns the models that may be named, the default first. Called on a thread of its own, once
    /// for each request, and given 5 seconds.
    fn models(&self) -> Vec<ModelInfo>;

    /// Returns the context window of a model in tokens, if it is known or the service reports it.
    /// May ask over the network, within 10 seconds. Default: as [`ModelProvider::models`] says.
    fn context_tokens(&self, model: &str) -> BoxFuture<'static, Option<u32>> {
        let found = self.models().into_iter().find(|info| info.name == model);
        let size = found.and_then(|info| info.context_tokens);
        Box::pin(std::future::ready(size))
    }

    /// Whether `model` can use the bytes of a part of this type. Bytes that it cannot use are not
    /// loaded, and do not count against [`REQUEST_BYTES_MAX`]; the part itself is in the request
    /// all the same. Called like [`ModelProvider::models`]. Default: images and PDFs.
    fn takes(&self, model: &str, media_type: &str) -> bool {
        let _ = model;
        let media_type = bare(media_type);
        media_type.starts_with("image/") || media_type == "application/pdf"
    }
}

/// Bytes of all data parts in one request.
pub const REQUEST_BYTES_MAX: usize = 20 << 20;

/// Bytes by the [`BlobId`] of their part.
pub type Blobs = BTreeMap<BlobId, Arc<[u8]>>;

/// Returns a media type without its parameters, in lower case.
pub(in crate::model) fn bare(media_type: &str) -> String {
    let bare = media_type.split(';').next().unwrap_or_default();
    bare.trim().to_ascii_lowercase()
}

/// The events of one completion. It has to end with [`ModelEvent::Finish`]; a stream that ends
/// without one counts as a broken connection. An empty text or reasoning says that the service is
/// still working.
pub type ModelStream = BoxStream<'static, Result<ModelEvent, ModelError>>;

/// A model that a provider offers.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelInfo {
    /// The name that a request carries.
    pub name: String,
    /// The provider, such as `openai`.
    pub provider: String,
    /// Its context window in tokens, if known.
    pub context_tokens: Option<u32>,
}

/// One request for a completion, with the whole history that the model is to see.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelRequest {
    /// The model.
    pub model: Option<String>,
    /// Instructions before the messages.
    pub system: Option<String>,
    /// In time order.
    pub messages: Vec<ModelMessage>,
    /// The bytes of the data parts of users and of tools' results, if the provider
    /// [takes](ModelProvider::takes) them; at most [`REQUEST_BYTES_MAX`].
    pub blobs: Blobs,
    /// Tools that the model may call.
    pub tools: Vec<ToolSpec>,
    /// `auto`, `none`, `required` or a tool's name.
    pub tool_choice: Option<String>,
    /// A JSON schema for the response, as JSON text.
    pub output_schema: Option<String>,
    /// Texts at which to stop.
    pub stop: Vec<String>,
    /// The highest number of tokens to write.
    pub max_output_tokens: Option<u32>,
    /// 0 is the most predictable.
    pub temperature: Option<f32>,
    /// Options that only this provider knows.
    pub extra: Extra,
}

/// A message as a model sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelMessage {
    /// The author.
    pub role: Role,
    /// The contents. Parts that are for people only (`finish`) are left out.
    pub parts: Vec<Part>,
}

/// A tool that a model may call.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolSpec {
    /// Its name.
    pub name: String,
    /// What it does, for the model.
    pub description: String,
    /// A JSON schema for the arguments, as JSON text.
    pub parameters: String,
}

/// A piece of a model's response.
#[derive(Clone, Debug, PartialEq)]
pub enum ModelEvent {
    /// A piece of text.
    Text(String),
    /// A piece of reasoning.
    Reasoning(String),
    /// A whole part: a tool call, or data that only the provider understands.
    Part(Part),
    /// Bytes, such as an image. The host stores them and gives the agent a data part.
    Data {
        /// Such as `image/png`.
        media_type: String,
        /// A file name, if there is one.
        name: Option<String>,
        /// At most 8 MiB.
        bytes: Arc<[u8]>,
    },
    /// The token counts; at most once per completion.
    Usage(Usage),
    /// The request failed before anything was delivered, and will be sent again.
    Retrying(Retrying),
    /// The end of the response and its reason: `end_turn`, `max_tokens`, `tool_use`,
    /// `content_filter` or another word.
    Finish(String),
}

/// A failed request that is sent again.
#[derive(Clone, Debug, PartialEq)]
pub struct Retrying {
    /// The number of the failed attempt, from 1.
    pub attempt: u32,
    /// Why, for people.
    pub cause: String,
    /// How long until it is sent again.
    pub wait: Duration,
}

/// Why a completion failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct ModelError {
    /// The kind of failure.
    pub kind: ModelErrorKind,
    /// What happened and what to do, for people. Never contains a key.
    pub message: String,
    /// How long the server asks to wait, if it does.
    pub retry_after: Option<Duration>,
    /// The model's context window in tokens, if [`ModelErrorKind::ContextOverflow`] reports it.
    pub context_tokens: Option<u32>,
}

/// The kinds of model failures; each has one code that a guest sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelErrorKind {
    /// No such model, or no provider is configured: `not-found`.
    UnknownModel,
    /// The key is missing or refused: `denied`.
    Unauthorized,
    /// The server refuses for now (429): `limit`, retryable.
    RateLimited,
    /// The server cannot be reached, or responds with 5xx: `unavailable`, retryable.
    Unavailable,
    /// The request is invalid: `invalid`.
    Rejected,
    /// The conversation does not fit the model's window: `limit`, with the reason
    /// `context-overflow`.
    ContextOverflow,
    /// The response cannot be read: `internal`.
    Garbled,
    /// The stream ended before its end marker: `unavailable`.
    Truncated,
    /// Nothing was received for too long: `timeout`.
    Idle,
}

impl ModelError {
    /// Creates an error of this kind.
    #[must_use]
    pub fn new(kind: ModelErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            retry_after: None,
            context_tokens: None,
        }
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.kind,
            ModelErrorKind::RateLimited | ModelErrorKind::Unavailable | ModelErrorKind::Idle
        )
    }
}
