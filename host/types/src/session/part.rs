//! The parts of a message, and their JSON. Data parts name their bytes by a digest; the store
//! keeps the bytes.

use super::FinishReason;
use crate::clock::UnixMillis;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Named JSON texts beside the typed fields, which are kept and returned unchanged: values that
/// providers need back (thought signatures), citations.
pub type Extra = BTreeMap<String, String>;

/// One piece of a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Part {
    /// The kind and the content of the part.
    #[serde(flatten)]
    pub body: PartBody,
    /// Named JSON values beside the typed fields.
    #[serde(default, skip_serializing_if = "Extra::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = std::collections::BTreeMap<String, String>))]
    pub extra: Extra,
}

impl From<PartBody> for Part {
    fn from(body: PartBody) -> Self {
        Self {
            body,
            extra: Extra::new(),
        }
    }
}

impl Part {
    /// Creates a text part.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        PartBody::Text { text: text.into() }.into()
    }

    /// Returns the text, if this is a text part.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match &self.body {
            PartBody::Text { text } => Some(text),
            _ => None,
        }
    }

    /// Whether this is a text of white space alone.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.as_text().is_some_and(|text| text.trim().is_empty())
    }

    /// Whether the part refers to stored bytes.
    #[must_use]
    pub fn is_data(&self) -> bool {
        matches!(self.body, PartBody::Data { .. })
    }
}

/// The kinds of parts. Stored as JSON objects tagged by `type`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum PartBody {
    /// Text for the user.
    Text {
        /// UTF-8, as appended.
        text: String,
    },
    /// Reasoning of the model.
    Reasoning {
        /// UTF-8, as appended.
        text: String,
        /// Unix time in milliseconds when the first byte of it was appended.
        started_ms: UnixMillis,
        /// Unix time in milliseconds when the next part began; `None` while it is open.
        ended_ms: Option<UnixMillis>,
    },
    /// A tool call that the model or the agent made.
    ToolCall(ToolCall),
    /// The result of a tool call.
    ToolResult(ToolResult),
    /// Bytes, which the store keeps under their digest.
    Data {
        /// The media type that the agent gave, such as `image/png`.
        media_type: String,
        /// The file name, if there is one.
        name: Option<String>,
        /// The digest of the bytes.
        blob: BlobId,
        /// The number of bytes.
        bytes: u64,
    },
    /// The end of the message.
    Finish {
        /// Why the message ended.
        reason: FinishReason,
        /// One line for people, if something went wrong.
        title: Option<String>,
        /// What happened and what to do, if something went wrong.
        details: Option<String>,
        /// Unix time in milliseconds when the message ended.
        at_ms: UnixMillis,
    },
    /// A kind newer than this host.
    Other {
        /// The name of the kind.
        kind: String,
        /// The part's JSON, unchanged.
        json: String,
    },
}

/// A tool call inside an assistant message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ToolCall {
    /// Unique within the session. The host creates it if the provider gave none.
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// The arguments, as JSON text; incomplete until `finished`.
    pub input: String,
    /// Whether the arguments are complete.
    pub finished: bool,
    /// Whether the host began to carry the call out, so that it may have had effects.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub started: bool,
}

/// A tool call's result inside a tool message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ToolResult {
    /// The id of the tool call.
    pub call_id: String,
    /// The tool's name.
    pub name: String,
    /// The result for the model.
    pub content: Vec<Content>,
    /// The result for programs, as JSON text, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub structured: Option<String>,
    /// Further JSON text for clients only (diffs, durations), if there is any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
    /// Whether the call failed, or was never carried out.
    pub is_error: bool,
}

/// One piece of a tool result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Content {
    /// UTF-8.
    Text {
        /// The text.
        text: String,
    },
    /// Bytes, which the store keeps under their digest.
    Data {
        /// The media type, such as `image/png`.
        media_type: String,
        /// The file name, if there is one.
        name: Option<String>,
        /// The digest of the bytes.
        blob: BlobId,
        /// The number of bytes.
        bytes: u64,
    },
    /// A kind newer than this host.
    Other {
        /// The name of the kind.
        kind: String,
        /// The JSON of this piece, unchanged.
        json: String,
    },
}

/// The lower-case hex SHA-256 of stored bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct BlobId(pub String);
