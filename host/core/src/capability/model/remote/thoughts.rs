//! What a provider wants back with the next request and nobody else can read: signatures of
//! its reasoning. They travel in [`Part::extra`](crate::session::Part) of the tool calls that
//! they belong to, marked with whose they are, so that no other provider is sent them.

use crate::session::Extra;
use genai::ModelIden;
use genai::adapter::AdapterKind;
use genai::chat::{ContentPart, CustomPart};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The key in `extra`.
const KEY: &str = "thoughts";

/// Thoughts as they are kept.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Thoughts {
    provider: String,
    parts: Vec<Thought>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Thought {
    Signature(String),
    Reasoning(String),
    Custom(Value),
}

/// Keeps `parts` with a tool call, if there are any.
pub(super) fn keep(kind: AdapterKind, parts: Vec<Thought>, extra: &mut Extra) {
    if parts.is_empty() {
        return;
    }
    let provider = kind.as_lower_str().to_owned();
    if let Ok(json) = serde_json::to_string(&Thoughts { provider, parts }) {
        extra.insert(KEY.to_owned(), json);
    }
}

/// What was kept with a tool call, if it is this provider's.
pub(super) fn recall(kind: AdapterKind, extra: &Extra) -> Vec<Thought> {
    let kept = extra
        .get(KEY)
        .map(|json| serde_json::from_str::<Thoughts>(json));
    match kept {
        Some(Ok(kept)) if kept.provider == kind.as_lower_str() => kept.parts,
        _ => Vec::new(),
    }
}

impl Thought {
    pub(super) fn from_part(part: &ContentPart) -> Option<Self> {
        Some(match part {
            ContentPart::ThoughtSignature(signature) => Self::Signature(signature.clone()),
            ContentPart::ReasoningContent(text) => Self::Reasoning(text.clone()),
            ContentPart::Custom(custom) => Self::Custom(custom.data.clone()),
            _ => return None,
        })
    }

    pub(super) fn into_part(self, kind: AdapterKind) -> ContentPart {
        match self {
            Self::Signature(signature) => ContentPart::ThoughtSignature(signature),
            Self::Reasoning(text) => ContentPart::ReasoningContent(text),
            Self::Custom(data) => ContentPart::Custom(CustomPart {
                model_iden: Some(ModelIden::new(kind, "")),
                data,
            }),
        }
    }

    pub(super) fn into_signature(self) -> Option<String> {
        match self {
            Self::Signature(signature) => Some(signature),
            Self::Reasoning(_) | Self::Custom(_) => None,
        }
    }
}
