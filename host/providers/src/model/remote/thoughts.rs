//! Data that a service wants back with the next request and only it can read: signatures of its
//! reasoning. They are stored in [`Part::extra`](lastword_types::session::Part) of the tool calls
//! that they belong to, marked with their service, so that no other service gets them.

use crate::model::endpoint::Service;
use lastword_types::session::Extra;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The key in `extra`.
const KEY: &str = "thoughts";

/// Thoughts in their stored form.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Thoughts {
    provider: String,
    parts: Vec<Thought>,
}

/// One thought.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Thought {
    /// The signature of one call.
    Signature(String),
    /// Readable reasoning.
    Reasoning(String),
    /// A document of the service's own.
    Custom(Value),
}

impl Thought {
    /// Its stored size in bytes.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Signature(text) | Self::Reasoning(text) => text.len(),
            Self::Custom(document) => document.to_string().len(),
        }
    }
}

/// Stores `parts` with a tool call, if there are any.
pub(super) fn store(service: Service, parts: Vec<Thought>, extra: &mut Extra) {
    if parts.is_empty() {
        return;
    }
    let provider = service.word().to_owned();
    if let Ok(json) = serde_json::to_string(&Thoughts { provider, parts }) {
        extra.insert(KEY.to_owned(), json);
    }
}

/// Returns the thoughts that are stored with a tool call, if they are of this service.
pub(super) fn load(service: Service, extra: &Extra) -> Vec<Thought> {
    let stored = extra
        .get(KEY)
        .map(|json| serde_json::from_str::<Thoughts>(json));
    match stored {
        Some(Ok(stored)) if stored.provider == service.word() => stored.parts,
        _ => Vec::new(),
    }
}
