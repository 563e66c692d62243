//! What is asked, as it goes over the wire: texts, and bytes in base64. Knows how they are read,
//! not what becomes of them.

use super::App;
use crate::problem::Problem;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use lastword::session::Part;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// A piece of a prompt.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum NewPart {
    /// Said to the agent.
    Text {
        /// The text.
        text: String,
    },
}

/// Bytes that go with a prompt.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewAttachment {
    /// What they are, such as `image/png`.
    #[schema(
        max_length = 255,
        pattern = "^[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+ *(;[ -~]*)?$"
    )]
    media_type: String,
    /// A file name, for people and models.
    #[schema(max_length = 255)]
    name: Option<String>,
    /// The bytes, in base64 with its padding; at most 8 MiB of them.
    #[schema(
        content_encoding = "base64",
        pattern = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$"
    )]
    data: String,
}

/// Bytes that go with a prompt, as they are.
pub(super) struct Decoded {
    pub(super) media_type: String,
    pub(super) name: Option<String>,
    pub(super) bytes: Vec<u8>,
}

/// What is said, as a text or as parts, if anything is.
pub(super) fn said(
    prompt: Option<String>,
    parts: Option<Vec<NewPart>>,
) -> Result<Option<Vec<Part>>, Problem> {
    match (prompt, parts) {
        (Some(text), None) => Ok(Some(vec![Part::text(text)])),
        (None, Some(parts)) => {
            let texts = parts.into_iter();
            let texts = texts.map(|NewPart::Text { text }| Part::text(text));
            Ok(Some(texts.collect()))
        }
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(one_of_two()),
    }
}

/// There is nothing to ask, or it is asked twice.
pub(super) fn one_of_two() -> Problem {
    Problem::new(
        "invalid-body",
        "a prompt is a text `prompt` or a list `parts`, or has `attachments`; send one of the two",
    )
}

/// The bytes of what is attached.
pub(super) fn decoded(attachments: Vec<NewAttachment>) -> Result<Vec<Decoded>, Problem> {
    let read = |(at, sent): (usize, NewAttachment)| {
        let bytes = BASE64_STANDARD.decode(&sent.data).map_err(|error| {
            let detail = format!("`data` of attachment {at} is not base64: {error}");
            Problem::new("invalid-body", detail)
        })?;
        Ok(Decoded {
            media_type: sent.media_type,
            name: sent.name,
            bytes,
        })
    };
    attachments.into_iter().enumerate().map(read).collect()
}

impl App {
    /// Refuses words that would be too many without attachments: the larger body is for these.
    pub(super) fn bound(
        &self,
        said: &[Part],
        config: Option<&Map<String, Value>>,
    ) -> Result<(), Problem> {
        let max = self.options.body_bytes_max;
        let texts = said.iter().filter_map(Part::as_text);
        let texts: usize = texts.map(str::len).sum();
        // A map with text keys has a JSON, always.
        let config = config.map(|config| serde_json::to_string(config).unwrap_or_default());
        let config = config.map_or(0, |config| config.len());
        match texts + config > max {
            true => Err(Problem::new(
                "body-too-large",
                format!("what is asked may hold {max} bytes beside its attachments; send less"),
            )),
            false => Ok(()),
        }
    }
}
