//! Assembles a response: emits events as its pieces arrive, and holds back tool calls, usage and
//! the finish reason until its end. Pure, and independent of the wire format.

use super::Fault;
use super::calls::Calls;
use super::json::{self, Halves};
use crate::model::endpoint::Service;
use crate::model::provider::{ModelEvent, ModelFinish};
use crate::model::remote::thoughts::Thought;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lastword_types::session::{PartBody, Usage};
use serde_json::Value;
use std::collections::HashSet;

/// Bytes that one response may make the host hold back: arguments of calls, signatures, documents
/// of unknown kinds.
pub(super) const HELD_BYTES_MAX: usize = 32 << 20;

/// Why a response ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Finish {
    /// The model was done, or waits for its tools.
    Done,
    /// The limit on output tokens was reached.
    MaxTokens,
    /// The service or the model refused to continue.
    ContentFilter,
    /// A reason in the service's own word.
    Other(String),
}

/// A response that is being assembled.
pub(super) struct Assembly {
    pub(super) calls: Calls,
    text: Halves,
    reasoning: Halves,
    usage: Option<Usage>,
    finish: Option<Finish>,
    refused: bool,
    held: usize,
}

impl Assembly {
    pub(super) fn new(service: Service, taken: HashSet<String>) -> Self {
        Self {
            calls: Calls::new(service, taken),
            text: Halves::default(),
            reasoning: Halves::default(),
            usage: None,
            finish: None,
            refused: false,
            held: 0,
        }
    }

    /// Adds a piece of text.
    pub(super) fn text(&mut self, piece: &str, events: &mut Vec<ModelEvent>) {
        let text = self.text.join(piece);
        if !text.is_empty() {
            events.push(ModelEvent::Text(text));
        }
    }

    /// Adds a piece of reasoning.
    pub(super) fn reasoning(&mut self, piece: &str, events: &mut Vec<ModelEvent>) {
        let text = self.reasoning.join(piece);
        if !text.is_empty() {
            events.push(ModelEvent::Reasoning(text));
        }
    }

    /// Adds a whole document of a kind that has no event of its own.
    pub(super) fn other(kind: &str, document: &Value, events: &mut Vec<ModelEvent>) {
        let body = PartBody::Other {
            kind: json::whole(kind),
            json: json::without_halves(document).to_string(),
        };
        events.push(ModelEvent::Part(body.into()));
    }

    /// Adds bytes in base64. Invalid base64 is delivered as a document of this kind.
    pub(super) fn data(
        media_type: &str,
        base64: &str,
        (kind, document): (&str, &Value),
        events: &mut Vec<ModelEvent>,
    ) {
        match STANDARD.decode(base64) {
            Ok(bytes) => events.push(ModelEvent::Data {
                media_type: json::whole(media_type),
                name: None,
                bytes: bytes.into(),
            }),
            Err(_) => Self::other(kind, document, events),
        }
    }

    /// Adds a thought that the service wants back with the next request.
    ///
    /// # Errors
    ///
    /// As [`Assembly::hold`].
    pub(super) fn thought(&mut self, thought: Thought) -> Result<(), Fault> {
        self.hold(thought.bytes())?;
        self.calls.lead(thought);
        Ok(())
    }

    /// Counts bytes that are held back.
    ///
    /// # Errors
    ///
    /// [`Fault::TooMuch`] beyond [`HELD_BYTES_MAX`].
    pub(super) fn hold(&mut self, bytes: usize) -> Result<(), Fault> {
        self.held = self.held.saturating_add(bytes);
        if self.held > HELD_BYTES_MAX {
            return Err(Fault::TooMuch(format!(
                "the calls of the answer have more than {HELD_BYTES_MAX} bytes"
            )));
        }
        Ok(())
    }

    /// Sets the service's token count, replacing an earlier one. Zeros mean that it did not count.
    pub(super) fn usage(&mut self, usage: Usage) {
        if usage != Usage::default() {
            self.usage = Some(usage);
        }
    }

    /// The token count so far.
    pub(super) fn counted(&self) -> Usage {
        self.usage.unwrap_or_default()
    }

    /// Sets why the response ends. `Done` does not replace an earlier, more specific reason.
    pub(super) fn end(&mut self, finish: Finish) {
        if finish != Finish::Done || self.finish.is_none() {
            self.finish = Some(finish);
        }
    }

    /// Marks the text as a refusal, whatever reason the response ends with.
    pub(super) fn refuse(&mut self) {
        self.refused = true;
    }

    /// Whether the service sent a finish reason.
    pub(super) fn has_finish(&self) -> bool {
        self.finish.is_some()
    }

    /// Emits what was held back, and the end.
    pub(super) fn finish(&mut self, events: &mut Vec<ModelEvent>) {
        let rest = |halves: &mut Halves| halves.flush().map(String::from);
        events.extend(rest(&mut self.reasoning).map(ModelEvent::Reasoning));
        events.extend(rest(&mut self.text).map(ModelEvent::Text));

        let finish = if self.refused {
            Finish::ContentFilter
        } else {
            self.finish.take().unwrap_or(Finish::Done)
        };
        let calls = self.calls.take(finish == Finish::Done);

        let finish = match finish {
            // Some services report a turn that ends in calls as complete.
            Finish::Done if !calls.is_empty() => ModelFinish::ToolUse,
            Finish::Done => ModelFinish::EndTurn,
            Finish::MaxTokens => ModelFinish::MaxTokens,
            Finish::ContentFilter => ModelFinish::ContentFilter,
            Finish::Other(word) => word.into(),
        };

        events.extend(calls.into_iter().map(ModelEvent::Part));
        events.extend(self.usage.take().map(ModelEvent::Usage));
        events.push(ModelEvent::Finish(finish));
    }
}
