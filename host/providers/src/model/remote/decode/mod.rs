//! Decodes the four wire formats, from bytes to [`ModelEvent`]s. Pure: `super::response` reads the
//! connection and passes the bytes on as they arrive, in any pieces.
//!
//! The rules of all four: everything is delivered once, or the response fails with the service's
//! own words; an unknown kind is delivered as [`PartBody::Other`]; what is held back until the end
//! of a response is bounded. `framing` cuts bytes into JSON documents, one file for each wire
//! format interprets them, and `assembly` turns them into events.

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

/// Bytes of one event, line or document of a service: an image of 8 MiB as base64, and its
/// surroundings.
const DOCUMENT_BYTES_MAX: usize = 16 << 20;

/// Why a response cannot be delivered whole.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fault {
    /// The service reports a failure, in this document.
    Reported(Value),
    /// The bytes are not of the wire format; the reason, which may quote them.
    Unreadable(String),
    /// The response exceeds a bound; which one.
    TooMuch(String),
    /// The bytes ended before the response did.
    BrokenOff,
}

/// The decoder of one response.
pub(super) struct Decoder {
    framing: Framing,
    wire: Wire,
    answer: Assembly,
    ended: bool,
}

enum Wire {
    OpenAi(openai::OpenAi),
    Anthropic(anthropic::Anthropic),
    Gemini(gemini::Gemini),
    Ollama(ollama::Ollama),
}

/// Whether a response continues after a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    /// More may follow.
    Open,
    /// The wire format's end marker was received.
    Over,
}

impl Decoder {
    /// Creates a decoder for a response of this service. Calls get ids other than those in `taken`,
    /// which the conversation already has.
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
            ended: false,
        }
    }

    /// Takes the next bytes and adds the events that they complete.
    ///
    /// # Errors
    ///
    /// A [`Fault`], after which nothing more is accepted. The events before it remain valid.
    pub(super) fn feed(&mut self, bytes: &[u8], events: &mut Vec<ModelEvent>) -> Result<(), Fault> {
        if self.ended {
            return Ok(());
        }

        let mut frames = Vec::new();
        let framed = self.framing.feed(bytes, &mut frames);

        for frame in frames {
            self.take(&frame, events)?;
        }

        framed
    }

    /// Ends the response where the bytes end. A last event counts even without the blank line after
    /// it; a response with a finish reason is whole.
    ///
    /// # Errors
    ///
    /// [`Fault::BrokenOff`] if it is not whole, or the failure that the service's last line
    /// reports.
    pub(super) fn end(&mut self, events: &mut Vec<ModelEvent>) -> Result<(), Fault> {
        if self.ended {
            return Ok(());
        }

        let mut frames = Vec::new();
        self.framing.end(&mut frames);

        for frame in frames {
            match self.take(&frame, events) {
                // The last document was cut off.
                Err(Fault::Unreadable(_)) => break,
                taken => taken?,
            }
        }

        if self.ended {
            return Ok(());
        }

        if self.answer.has_finish() {
            self.ended = true;
            self.answer.finish(events);
            return Ok(());
        }

        Err(self
            .framing
            .stray_error()
            .map_or(Fault::BrokenOff, Fault::Reported))
    }

    /// Whether the service sent a finish reason, so that only a count may follow.
    pub(super) fn has_finish(&self) -> bool {
        self.answer.has_finish()
    }

    /// Whether the response is whole, so that nothing more has to be read.
    pub(super) fn is_over(&self) -> bool {
        self.ended
    }

    /// The beginning of a response in which no document was found.
    pub(super) fn strange_head(&self) -> Option<String> {
        self.framing.strange_head()
    }

    fn take(&mut self, frame: &Frame, events: &mut Vec<ModelEvent>) -> Result<(), Fault> {
        if self.ended {
            return Ok(());
        }

        let data = frame.data.trim();
        let flow = match data {
            "" => Flow::Open,
            // The marker only means a whole response after a finish reason: gateways also send it
            // when the service behind them broke off.
            "[DONE]" => Flow::Over,
            _ => self.read(data, frame, events)?,
        };

        if flow == Flow::Over {
            if !self.answer.has_finish() {
                return Err(Fault::BrokenOff);
            }
            self.ended = true;
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

        // Gemini's unstreamed responses, and its errors, are arrays of documents.
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

/// Whether a document reports a failure: a nonempty `error`, or a document that is one. Some
/// gateways send `"error": null` in every chunk.
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
