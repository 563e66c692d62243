//! The parts of a message, and their JSON. Data parts name their bytes by a digest; the store
//! keeps the bytes.

use super::FinishReason;
use crate::clock::UnixMillis;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Named JSON texts beside the typed fields, kept and handed back verbatim: what
/// providers need back (thought signatures), citations.
pub type Extra = BTreeMap<String, String>;

/// One piece of a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Part {
    /// What the part says.
    #[serde(flatten)]
    pub body: PartBody,
    /// What came with it.
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
    /// A text part.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        PartBody::Text { text: text.into() }.into()
    }

    /// The text, when it is a text part.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match &self.body {
            PartBody::Text { text } => Some(text),
            _ => None,
        }
    }

    /// Whether it is a text of nothing but white space.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.as_text().is_some_and(|text| text.trim().is_empty())
    }

    /// Whether it names bytes.
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
    /// Said to the user.
    Text {
        /// UTF-8, as appended.
        text: String,
    },
    /// Thought aloud.
    Reasoning {
        /// UTF-8, as appended.
        text: String,
        /// When the first byte of it was appended.
        started_ms: UnixMillis,
        /// When something else followed it; `None` while it is open.
        ended_ms: Option<UnixMillis>,
    },
    /// A tool call that the model or the agent made.
    ToolCall(ToolCall),
    /// What came of a tool call.
    ToolResult(ToolResult),
    /// Bytes, kept by the store under their digest.
    Data {
        /// As the agent named it, such as `image/png`.
        media_type: String,
        /// A file name, if there is one.
        name: Option<String>,
        /// Where the bytes are.
        blob: BlobId,
        /// How many bytes.
        bytes: u64,
    },
    /// The message's end.
    Finish {
        /// Why.
        reason: FinishReason,
        /// One line for people, when something went wrong.
        title: Option<String>,
        /// What happened and what to do, when something went wrong.
        details: Option<String>,
        /// When.
        at_ms: UnixMillis,
    },
    /// A kind newer than this host.
    Other {
        /// Its name.
        kind: String,
        /// Its JSON, verbatim.
        json: String,
    },
}

/// A tool call inside an assistant message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ToolCall {
    /// Unique within the session; minted by the host if the provider gave none.
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// The arguments, as JSON text; incomplete until `finished`.
    pub input: String,
    /// The arguments are complete.
    pub finished: bool,
    /// The host began to carry it out, so that it may have taken effect.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub started: bool,
}

/// A tool call's result inside a tool message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ToolResult {
    /// The call that it answers.
    pub call_id: String,
    /// The tool's name.
    pub name: String,
    /// For the model.
    pub content: Vec<Content>,
    /// The same for programs, as JSON text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub structured: Option<String>,
    /// For clients only (diffs, durations), as JSON text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
    /// The call failed, or never ran.
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
    /// Bytes, kept by the store under their digest.
    Data {
        /// Such as `image/png`.
        media_type: String,
        /// A file name, if there is one.
        name: Option<String>,
        /// Where the bytes are.
        blob: BlobId,
        /// How many bytes.
        bytes: u64,
    },
    /// A kind newer than this host.
    Other {
        /// Its name.
        kind: String,
        /// Its JSON, verbatim.
        json: String,
    },
}

/// The lower-case hex SHA-256 of stored bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct BlobId(pub String);
