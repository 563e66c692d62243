//! What a service's bytes say: the four wire formats, from bytes to [`ModelEvent`]s. Pure:
//! `super::answer` reads the connection and hands the bytes in as they come, in any pieces.
//!
//! The rules of all four: what was sent is delivered once, or the answer fails with the
//! service's own words; a kind that is not known is delivered as [`PartBody::Other`]; what is
//! held back until the end of an answer is bounded. `framing` cuts bytes into JSON documents,
//! a file for each wire format says what these mean, and `assembly` makes events of that.

mod anthropic;
mod assembly;
mod calls;
mod framing;
mod gemini;
mod json;
mod nesting;
mod ollama;
mod openai;

#[cfg(test)]
mod cases;
#[cfg(test)]
mod hostile;

use crate::model::endpoint::Service;
use crate::model::provider::ModelEvent;
use assembly::Assembly;
use framing::{Frame, Framing};
use serde_json::Value;
use std::collections::HashSet;

/// Bytes of one event, line or document of a service at the most: an image of
/// 8 MiB as base64, and what stands around it.
const DOCUMENT_BYTES_MAX: usize = 16 << 20;

/// Why an answer cannot be delivered whole.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fault {
    /// The service reports a failure, in this document.
    Reported(Value),
    /// What was sent is not of the wire format; the reason, which may quote it.
    Unreadable(String),
    /// More than the bounds of this folder allow; which bound.
    TooMuch(String),
    /// The bytes ended before the answer did.
    BrokenOff,
}

/// The decoder of one answer.
pub(super) struct Decoder {
    framing: Framing,
    wire: Wire,
    answer: Assembly,
    over: bool,
}

enum Wire {
    OpenAi(openai::OpenAi),
    Anthropic(anthropic::Anthropic),
    Gemini(gemini::Gemini),
    Ollama(ollama::Ollama),
}

/// Whether an answer goes on after a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    /// More may follow.
    Open,
    /// The wire format's own end was sent.
    Over,
}

impl Decoder {
    /// A decoder for an answer of this service. Calls get ids other than those in `taken`,
    /// which the conversation has already.
    pub(super) fn new(service: Service, taken: HashSet<String>) -> Self {
        let wire = match service {
            Service::OpenAi => Wire::OpenAi(openai::OpenAi::default()),
            Service::Anthropic => Wire::Anthropic(anthropic::Anthropic::default()),
            Service::Gemini => Wire::Gemini(gemini::Gemini::default()),
            Service::Ollama => Wire::Ollama(ollama::Ollama::default()),
        };

        Self {
            framing: Framing::default(),
            wire,
            answer: Assembly::new(service, taken),
            over: false,
        }
    }

    /// Takes the next bytes and adds the events that they complete.
    ///
    /// # Errors
    /// A [`Fault`], after which nothing more is taken. The events before it stand.
    pub(super) fn feed(&mut self, bytes: &[u8], events: &mut Vec<ModelEvent>) -> Result<(), Fault> {
        if self.over {
            return Ok(());
        }

        let mut frames = Vec::new();
        let framed = self.framing.feed(bytes, &mut frames);

        for frame in frames {
            self.take(&frame, events)?;
        }

        framed
    }

    /// Ends the answer where the bytes end. A last event without the blank line behind it
    /// counts; an answer that named its finish reason is whole.
    ///
    /// # Errors
    /// [`Fault::BrokenOff`] if it is not whole, or the failure that the service's last line
    /// reports.
    pub(super) fn end(&mut self, events: &mut Vec<ModelEvent>) -> Result<(), Fault> {
        if self.over {
            return Ok(());
        }

        let mut frames = Vec::new();
        self.framing.end(&mut frames);

        for frame in frames {
            match self.take(&frame, events) {
                // Cut in the middle.
                Err(Fault::Unreadable(_)) => break,
                taken => taken?,
            }
        }

        if self.over {
            return Ok(());
        }

        if self.answer.has_finish() {
            self.over = true;
            self.answer.finish(events);
            return Ok(());
        }

        Err(self
            .framing
            .stray_error()
            .map_or(Fault::BrokenOff, Fault::Reported))
    }

    /// Whether the service said why the answer ends: only a count may follow.
    pub(super) fn has_finish(&self) -> bool {
        self.answer.has_finish()
    }

    /// Whether the answer is whole: nothing more need be read.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// The first bytes of an answer in which no document was found.
    pub(super) fn strange_head(&self) -> Option<String> {
        self.framing.strange_head()
    }

    fn take(&mut self, frame: &Frame, events: &mut Vec<ModelEvent>) -> Result<(), Fault> {
        if self.over {
            return Ok(());
        }

        let data = frame.data.trim();
        let flow = match data {
            "" => Flow::Open,
            // The marker stands for a whole answer only behind a reason: gateways send it when
            // the service behind them broke off.
            "[DONE]" => Flow::Over,
            _ => self.read(data, frame, events)?,
        };

        if flow == Flow::Over {
            if !self.answer.has_finish() {
                return Err(Fault::BrokenOff);
            }
            self.over = true;
            self.answer.finish(events);
        }

        Ok(())
    }

    fn read(
        &mut self,
        data: &str,
        frame: &Frame,
        events: &mut Vec<ModelEvent>,
    ) -> Result<Flow, Fault> {
        let document = json::parse(data).map_err(|error| {
            let quote: String = data.chars().take(200).collect();
            Fault::Unreadable(format!("`{quote}` is not JSON ({error})"))
        })?;

        // Gemini's whole answers, and its errors, are arrays of documents.
        let documents = match document {
            Value::Array(documents) => documents,
            one => vec![one],
        };

        let mut flow = Flow::Open;

        for document in documents {
            if flow == Flow::Over {
                break;
            }
            flow = self.document(&document, &frame.event, events)?;
        }

        Ok(flow)
    }

    fn document(
        &mut self,
        document: &Value,
        event: &str,
        events: &mut Vec<ModelEvent>,
    ) -> Result<Flow, Fault> {
        if document.is_null() {
            return Ok(Flow::Open);
        }

        if !document.is_object() {
            let quote: String = document.to_string().chars().take(200).collect();
            return Err(Fault::Unreadable(format!("`{quote}` is no object")));
        }

        if is_error(document, event) {
            return Err(Fault::Reported(json::without_halves(document)));
        }

        let answer = &mut self.answer;

        match &mut self.wire {
            Wire::OpenAi(wire) => wire.document(document, answer, events),
            Wire::Anthropic(wire) => wire.document(document, event, answer, events),
            Wire::Gemini(wire) => wire.document(document, answer, events),
            Wire::Ollama(wire) => wire.document(document, answer, events),
        }
    }
}

/// Whether a document reports a failure: an `error` that says something, or a document that
/// is one. `"error": null` in every chunk is some gateways' way to say that there is none.
fn is_error(document: &Value, event: &str) -> bool {
    let says_something = match document.get("error") {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Object(fields)) => !fields.is_empty(),
        Some(_) => true,
    };
    let is = |key: &str| document.get(key).and_then(Value::as_str) == Some("error");
    says_something || is("type") || is("object") || event == "error"
}
