//! The trait that an embedder implements to let agents use a model, and its plain data.

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use lastword_types::id::{AgentId, RunId, SessionId, WorkspaceId};
use lastword_types::session::{BlobId, Extra, Part, Role, Usage};
use lastword_types::workspace::WorkspaceKey;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The run on whose behalf a provider is called.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CallContext {
    /// The workspace of the run.
    pub workspace: WorkspaceId,
    /// The directory or name by which the embedder opened that workspace.
    pub key: Arc<WorkspaceKey>,
    /// The session of the run.
    pub session: SessionId,
    /// The run.
    pub run: RunId,
    /// The agent that calls.
    pub agent: AgentId,
    /// The labels of the prompt that began the run, or of the run that this one continues or was
    /// started by. Only the embedder sets them: no agent can read or change them, so that a
    /// provider can choose an account or a budget by them.
    pub labels: Arc<BTreeMap<String, String>>,
}

impl CallContext {
    /// Returns the context of a run whose prompt carried no labels; for tests of providers.
    #[must_use]
    pub fn new(
        workspace: WorkspaceId,
        key: impl Into<Arc<WorkspaceKey>>,
        session: SessionId,
        run: RunId,
        agent: AgentId,
    ) -> Self {
        Self {
            workspace,
            key: key.into(),
            session,
            run,
            agent,
            labels: Arc::default(),
        }
    }
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

    /// Returns the models that a request may name, the default first. Called on a thread of its
    /// own, once for each request, with a limit of 5 seconds.
    fn models(&self) -> Vec<ModelInfo>;

    /// Returns the context window of a model in tokens, if it is known or the service reports it.
    /// May use the network, with a limit of 10 seconds. Default: the size in
    /// [`ModelProvider::models`].
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

/// The largest number of bytes of all data parts in one request.
pub const REQUEST_BYTES_MAX: usize = 20 << 20;

/// Bytes by the [`BlobId`] of their part.
pub type Blobs = BTreeMap<BlobId, Arc<[u8]>>;

/// Returns a media type without its parameters, in lower case.
pub(in crate::model) fn bare(media_type: &str) -> String {
    let bare = media_type.split(';').next().unwrap_or_default();
    bare.trim().to_ascii_lowercase()
}

/// The events of one completion. It has to end with [`ModelEvent::Finish`]; a stream that ends
/// without one counts as a broken connection. An empty text or reasoning means that the service is
/// still working.
pub type ModelStream = BoxStream<'static, Result<ModelEvent, ModelError>>;

/// A model that a provider offers.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelInfo {
    /// The name that a request carries.
    pub name: String,
    /// The provider, such as `openai`.
    pub provider: String,
    /// The size of its context window in tokens, if known.
    pub context_tokens: Option<u32>,
}

/// One request for a completion, with the whole history for the model.
///
/// In its JSON, `blobs` has the bytes in base64. A missing field has its default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelRequest {
    /// The name of the model.
    pub model: Option<String>,
    /// Instructions before the messages.
    pub system: Option<String>,
    /// The messages, in time order.
    pub messages: Vec<ModelMessage>,
    /// The bytes of the data parts of users and of tools' results, if the provider
    /// [takes](ModelProvider::takes) them; at most [`REQUEST_BYTES_MAX`].
    #[serde(with = "in_base64")]
    pub blobs: Blobs,
    /// Tools that the model may call.
    pub tools: Vec<ToolSpec>,
    /// Whether the model should call a tool, and which one. Default: the service decides.
    pub tool_choice: Option<ToolChoice>,
    /// A JSON Schema for the response, as JSON text.
    pub output_schema: Option<String>,
    /// Texts at which the response ends.
    pub stop: Vec<String>,
    /// The largest number of tokens that the model writes.
    pub max_output_tokens: Option<u32>,
    /// The temperature. 0 gives the most predictable response.
    pub temperature: Option<f32>,
    /// Options that only this provider knows.
    pub extra: Extra,
}

/// Bytes by their ids, as base64.
mod in_base64 {
    use super::{BTreeMap, BlobId, Blobs, Deserialize, Serialize};
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde::de::Error;
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        blobs: &Blobs,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let written = blobs.iter().map(|(id, bytes)| (id, STANDARD.encode(bytes)));
        written.collect::<BTreeMap<_, _>>().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Blobs, D::Error> {
        let written = BTreeMap::<BlobId, String>::deserialize(deserializer)?;
        let read = written.into_iter().map(|(id, text)| {
            let bytes = STANDARD.decode(text).map_err(D::Error::custom)?;
            Ok((id, bytes.into()))
        });
        read.collect()
    }
}

lastword_types::open_words! {
    /// Whether a model should call tools.
    pub enum ToolChoice {
        /// The model decides.
        Auto = "auto",
        /// The model may call no tool.
        None = "none",
        /// The model has to call at least one tool, of its choice.
        Required = "required",
        ..
        /// The model has to call the tool of this name.
        Tool,
    }
}

lastword_types::open_words! {
    /// Why a model's response ends.
    pub enum ModelFinish {
        /// The response is complete.
        EndTurn = "end_turn",
        /// The limit on output tokens was reached.
        MaxTokens = "max_tokens",
        /// Tool calls have to be carried out.
        ToolUse = "tool_use",
        /// The service withheld the rest.
        ContentFilter = "content_filter",
        ..
        /// Another reason, in the service's own word.
        Other,
    }
}

/// A message as a model sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelMessage {
    /// The role of the author.
    pub role: Role,
    /// The parts, without those that are only for people (`finish`).
    pub parts: Vec<Part>,
}

/// A tool that a model may call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolSpec {
    /// Its name.
    pub name: String,
    /// A description of the tool for the model.
    pub description: String,
    /// A JSON Schema for the arguments, as JSON text.
    pub parameters: String,
}

/// A piece of a model's response.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ModelEvent {
    /// A piece of text.
    Text(String),
    /// A piece of reasoning.
    Reasoning(String),
    /// A whole part: a tool call, or data that only the provider understands.
    Part(Part),
    /// Bytes, such as an image. The host stores them and gives the agent a data part.
    Data {
        /// The media type, such as `image/png`.
        media_type: String,
        /// The file name, if there is one.
        name: Option<String>,
        /// The bytes, at most 8 MiB.
        bytes: Arc<[u8]>,
    },
    /// The token counts; at most once per completion.
    Usage(Usage),
    /// The request failed before anything was delivered, and will be sent again.
    Retrying(Retrying),
    /// The end of the response and its reason.
    Finish(ModelFinish),
}

/// A failed request that is sent again.
#[derive(Clone, Debug, PartialEq)]
pub struct Retrying {
    /// The number of the failed attempt, from 1.
    pub attempt: u32,
    /// The reason, for people.
    pub cause: String,
    /// The time until the request is sent again.
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

/// The kinds of model failures. Each has one code that a guest sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelErrorKind {
    /// The model does not exist, or no provider is configured: `not-found`.
    UnknownModel,
    /// The key is missing or refused: `denied`.
    Unauthorized,
    /// The server refuses temporarily (429): `limit`, retryable.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_survives_a_round_trip_through_json() {
        let request = ModelRequest {
            model: Some("m".to_owned()),
            system: Some("Be brief".to_owned()),
            messages: vec![ModelMessage {
                role: Role::User,
                parts: vec![Part::text("Why?")],
            }],
            blobs: [(BlobId("ab".to_owned()), Arc::from(*b"\0\xff"))].into(),
            tools: vec![ToolSpec {
                name: "look".to_owned(),
                description: "Looks.".to_owned(),
                parameters: "{}".to_owned(),
            }],
            tool_choice: Some(ToolChoice::Tool("look".to_owned())),
            output_schema: Some("{}".to_owned()),
            stop: vec!["END".to_owned()],
            max_output_tokens: Some(7),
            temperature: Some(0.7),
            extra: [("seed".to_owned(), "7".to_owned())].into(),
        };

        let json = serde_json::to_value(&request).expect("a request is JSON");
        assert_eq!(json["tool_choice"], "look");
        assert_eq!(json["blobs"]["ab"], "AP8=");
        assert_eq!(serde_json::from_value(json).ok(), Some(request));
        assert_eq!(
            serde_json::from_str("{}").ok(),
            Some(ModelRequest::default())
        );

        let odd = r#"{"blobs":{"ab":"not base64"}}"#;
        assert!(serde_json::from_str::<ModelRequest>(odd).is_err());
    }
}
