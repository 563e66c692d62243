//! Prompts, runs, and the queue.

use crate::forms::objects;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use lastword_types::id::ClientId;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A prompt, and the options of its run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewRun {
    /// The text of the prompt. An empty one becomes the agent's default prompt. Give either this or
    /// `parts`, or only attachments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// Several texts.
    #[serde(
        default,
        deserialize_with = "objects",
        skip_serializing_if = "Option::is_none"
    )]
    pub parts: Option<Vec<NewPart>>,
    /// Attached bytes, such as images. At most 20 MiB together.
    #[serde(
        default,
        deserialize_with = "objects",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "openapi", schema(max_items = 64))]
    pub attachments: Option<Vec<NewAttachment>>,
    /// The longest time that the run may take after its start, in milliseconds. Default: the
    /// deadline of the limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 31622400000_u64))]
    pub deadline_ms: Option<u64>,
    /// The agent's configuration for this run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "openapi",
        schema(value_type = Option<serde_json::Map<String, serde_json::Value>>)
    )]
    pub config: Option<Box<RawValue>>,
    /// The client on whose claim on the workspace the run depends: the run is stopped once that
    /// claim ends. Without it, the run continues when clients disconnect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound_to: Option<ClientId>,
}

impl NewRun {
    /// Creates a prompt with one text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            prompt: Some(text.into()),
            ..Self::default()
        }
    }
}

/// A piece of a prompt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum NewPart {
    /// A text for the agent.
    Text {
        /// The text.
        text: String,
    },
}

/// Bytes that are attached to a prompt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewAttachment {
    /// The media type, such as `image/png`.
    #[cfg_attr(
        feature = "openapi",
        schema(
            max_length = 255,
            pattern = "^[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+ *(;[ -~]*)?$"
        )
    )]
    pub media_type: String,
    /// The file name, for people and models, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(max_length = 255))]
    pub name: Option<String>,
    /// The bytes in base64 with padding. At most 8 MiB before encoding.
    #[cfg_attr(
        feature = "openapi",
        schema(
            content_encoding = "base64",
            pattern = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$"
        )
    )]
    pub data: String,
}

impl NewAttachment {
    /// Creates an attachment from bytes.
    #[must_use]
    pub fn new(media_type: impl Into<String>, name: Option<String>, bytes: &[u8]) -> Self {
        Self {
            media_type: media_type.into(),
            name,
            data: BASE64_STANDARD.encode(bytes),
        }
    }

    /// Decodes the bytes.
    ///
    /// # Errors
    /// If `data` is not base64: the reason, for people.
    pub fn bytes(&self) -> Result<Vec<u8>, String> {
        let bytes = BASE64_STANDARD.decode(&self.data);
        bytes.map_err(|error| error.to_string())
    }
}

/// Changes to a waiting prompt. Members that are absent stay as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct EditedRun {
    /// The new text. Give either this or `parts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// Several texts.
    #[serde(
        default,
        deserialize_with = "objects",
        skip_serializing_if = "Option::is_none"
    )]
    pub parts: Option<Vec<NewPart>>,
    /// The attachments that replace all present ones; an empty list removes them. At most 20 MiB
    /// together.
    #[serde(
        default,
        deserialize_with = "objects",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "openapi", schema(max_items = 64))]
    pub attachments: Option<Vec<NewAttachment>>,
}

impl EditedRun {
    /// Creates an edit that replaces the text. The attachments stay.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            prompt: Some(text.into()),
            ..Self::default()
        }
    }
}
