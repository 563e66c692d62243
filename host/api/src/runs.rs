//! Runs: what is asked, how a run stands, and prompts that wait.

use crate::forms::objects;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use lastword_types::id::{ClientId, RunId, SessionId};
use lastword_types::run::{Receipt, RunState};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What to ask, and under which conditions.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewRun {
    /// A text; an empty one stands for the agent's default prompt. Either this or parts, or
    /// attachments alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// Several texts.
    #[serde(
        default,
        deserialize_with = "objects",
        skip_serializing_if = "Option::is_none"
    )]
    pub parts: Option<Vec<NewPart>>,
    /// Bytes that go with it, such as images. All together they may hold 20 MiB.
    #[serde(
        default,
        deserialize_with = "objects",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "openapi", schema(max_items = 64))]
    pub attachments: Option<Vec<NewAttachment>>,
    /// How long the run may take once it is running.
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
    /// Stop the run once this client's claim on the workspace ends. Without it the run goes
    /// on when clients disconnect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound_to: Option<ClientId>,
}

impl NewRun {
    /// A prompt of one text.
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
    /// Said to the agent.
    Text {
        /// The text.
        text: String,
    },
}

/// Bytes that go with a prompt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewAttachment {
    /// What they are, such as `image/png`.
    #[cfg_attr(
        feature = "openapi",
        schema(
            max_length = 255,
            pattern = "^[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+ *(;[ -~]*)?$"
        )
    )]
    pub media_type: String,
    /// A file name, for people and models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(max_length = 255))]
    pub name: Option<String>,
    /// The bytes, in base64 with its padding; at most 8 MiB of them.
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
    /// These bytes.
    #[must_use]
    pub fn new(media_type: impl Into<String>, name: Option<String>, bytes: &[u8]) -> Self {
        Self {
            media_type: media_type.into(),
            name,
            data: BASE64_STANDARD.encode(bytes),
        }
    }

    /// The bytes.
    ///
    /// # Errors
    /// When `data` is not base64: why, for people.
    pub fn bytes(&self) -> Result<Vec<u8>, String> {
        let bytes = BASE64_STANDARD.decode(&self.data);
        bytes.map_err(|error| error.to_string())
    }
}

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Run))]
pub struct RunView {
    /// Its id.
    pub run: RunId,
    /// The session that it belongs to.
    pub session: SessionId,
    /// Where it stands.
    pub state: RunState,
    /// How it ended, once it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
}

/// What to ask instead. What is not named stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct EditedRun {
    /// A text. Either this or parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// Several texts.
    #[serde(
        default,
        deserialize_with = "objects",
        skip_serializing_if = "Option::is_none"
    )]
    pub parts: Option<Vec<NewPart>>,
    /// In place of all that is attached now; an empty list takes it away. All together they may
    /// hold 20 MiB.
    #[serde(
        default,
        deserialize_with = "objects",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "openapi", schema(max_items = 64))]
    pub attachments: Option<Vec<NewAttachment>>,
}

impl EditedRun {
    /// Another text; what is attached stays.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            prompt: Some(text.into()),
            ..Self::default()
        }
    }
}
