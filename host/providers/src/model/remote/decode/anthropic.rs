//! Anthropic's messages: <https://docs.anthropic.com/en/docs/build-with-claude/streaming>. Blocks
//! start, grow and stop by index, and may do so concurrently. Pure.

use super::assembly::{Assembly, Finish};
use super::json::{self, Halves, count, text};
use super::{Fault, Flow};
use crate::model::provider::ModelEvent;
use crate::model::remote::thoughts::Thought;
use lastword_types::session::Usage;
use serde_json::{Value, json};

/// How many blocks may be open at the same time.
const OPEN_BLOCKS_MAX: usize = 64;

/// The open blocks, in the order in which they started.
#[derive(Default)]
pub(super) struct Anthropic {
    open: Vec<Block>,
}

struct Block {
    /// Its number. Some proxies leave it out, and then send one block after the other.
    index: Option<u64>,
    kind: String,
    /// The document that started it.
    start: Value,
    /// The pieces of its input, joined.
    input: String,
    halves: Halves,
    thinking: String,
    signature: String,
    citations: Vec<Value>,
    /// Deltas of unknown kinds.
    others: Vec<Value>,
}

impl Anthropic {
    pub(super) fn document(
        &mut self,
        document: &Value,
        event: &str,
        answer: &mut Assembly,
        events: &mut Vec<ModelEvent>,
    ) -> Result<Flow, Fault> {
        // Some proxies name the kind of an event in the document, some in the event's name.
        let kind = text(document, "type").unwrap_or(event);
        match kind {
            "message_start" => {
                let message = document.get("message").unwrap_or(&Value::Null);
                self.whole(message, answer, events)?;
            }
            // The whole response of a server that does not stream.
            "message" => {
                self.whole(document, answer, events)?;
                return Ok(Flow::Over);
            }
            "content_block_start" => {
                let block = document.get("content_block").unwrap_or(&Value::Null);
                self.begin(index(document), block, answer, events)?;
            }
            "content_block_delta" => {
                let delta = document.get("delta").unwrap_or(&Value::Null);
                self.delta(index(document), delta, answer, events)?;
            }
            "content_block_stop" => {
                if let Some(place) = self.place(index(document)) {
                    self.open.remove(place).stop(answer, events)?;
                }
            }
            "message_delta" => {
                let delta = document.get("delta").unwrap_or(&Value::Null);
                usage(document, answer);
                reason(delta, answer);
            }
            "message_stop" => {
                self.close(answer, events)?;
                return Ok(Flow::Over);
            }
            "ping" => {}
            other => Assembly::other(other, document, events),
        }

        if answer.has_finish() {
            self.close(answer, events)?;
        }

        Ok(Flow::Open)
    }

    /// Decodes a complete message.
    fn whole(
        &mut self,
        message: &Value,
        answer: &mut Assembly,
        events: &mut Vec<ModelEvent>,
    ) -> Result<(), Fault> {
        usage(message, answer);

        for block in message
            .get("content")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            self.begin(None, block, answer, events)?;
            if let Some(block) = self.open.pop() {
                block.stop(answer, events)?;
            }
        }

        reason(message, answer);
        Ok(())
    }

    fn place(&self, index: Option<u64>) -> Option<usize> {
        match index {
            Some(_) => self.open.iter().rposition(|block| block.index == index),
            None => self.open.len().checked_sub(1),
        }
    }

    fn begin(
        &mut self,
        index: Option<u64>,
        start: &Value,
        answer: &mut Assembly,
        events: &mut Vec<ModelEvent>,
    ) -> Result<(), Fault> {
        if self.open.len() == OPEN_BLOCKS_MAX {
            return Err(Fault::TooMuch(format!(
                "more than {OPEN_BLOCKS_MAX} blocks of the answer are open at once"
            )));
        }

        answer.hold(start.to_string().len())?;
        let kind = text(start, "type").unwrap_or("text").to_owned();

        let mut block = Block {
            index,
            start: start.clone(),
            input: String::new(),
            halves: Halves::default(),
            thinking: String::new(),
            signature: text(start, "signature").unwrap_or_default().to_owned(),
            citations: Vec::new(),
            others: Vec::new(),
            kind,
        };

        match block.kind.as_str() {
            "text" => {
                answer.text(text(start, "text").unwrap_or_default(), events);
                let cited = start.get("citations").and_then(Value::as_array);
                block.citations.extend(cited.into_iter().flatten().cloned());
            }
            "thinking" => block.think(text(start, "thinking").unwrap_or_default(), answer, events),
            _ => {}
        }

        self.open.push(block);
        Ok(())
    }

    fn delta(
        &mut self,
        index: Option<u64>,
        delta: &Value,
        answer: &mut Assembly,
        events: &mut Vec<ModelEvent>,
    ) -> Result<(), Fault> {
        let Some(place) = self.place(index) else {
            // A delta of a block that never started: its text counts all the same.
            let kind = if delta.get("thinking").is_some() {
                "thinking"
            } else {
                "text"
            };
            self.begin(index, &json!({ "type": kind }), answer, events)?;
            return match self.open.last_mut() {
                Some(block) => block.grow(delta, answer, events),
                None => Ok(()),
            };
        };

        self.open[place].grow(delta, answer, events)
    }

    /// Closes the blocks that never stopped, because the response was cut off within them.
    fn close(&mut self, answer: &mut Assembly, events: &mut Vec<ModelEvent>) -> Result<(), Fault> {
        for block in std::mem::take(&mut self.open) {
            block.cut_off(answer, events)?;
        }
        Ok(())
    }
}

impl Block {
    fn think(&mut self, piece: &str, answer: &mut Assembly, events: &mut Vec<ModelEvent>) {
        self.thinking.push_str(piece);
        answer.reasoning(piece, events);
    }

    fn grow(
        &mut self,
        delta: &Value,
        answer: &mut Assembly,
        events: &mut Vec<ModelEvent>,
    ) -> Result<(), Fault> {
        if let (Some(piece), true) = (text(delta, "text"), self.kind == "text") {
            answer.text(piece, events);
        } else if let (Some(piece), true) = (text(delta, "thinking"), self.kind == "thinking") {
            answer.hold(piece.len())?;
            self.think(piece, answer, events);
        } else if let (Some(piece), true) = (text(delta, "signature"), self.kind == "thinking") {
            answer.hold(piece.len())?;
            self.signature.push_str(piece);
        } else if let Some(Value::String(piece)) = delta.get("partial_json") {
            answer.hold(piece.len())?;
            let piece = self.halves.join(piece);
            self.input.push_str(&piece);
        } else if let Some(citation) = delta.get("citation") {
            answer.hold(citation.to_string().len())?;
            self.citations.push(citation.clone());
        } else if !is_empty_delta(delta) {
            answer.hold(delta.to_string().len())?;
            self.others.push(delta.clone());
        }

        Ok(())
    }

    /// Finishes a complete block.
    fn stop(self, answer: &mut Assembly, events: &mut Vec<ModelEvent>) -> Result<(), Fault> {
        self.deliver(true, answer, events)
    }

    /// Finishes a block that was cut off.
    fn cut_off(self, answer: &mut Assembly, events: &mut Vec<ModelEvent>) -> Result<(), Fault> {
        self.deliver(false, answer, events)
    }

    fn deliver(
        mut self,
        whole: bool,
        answer: &mut Assembly,
        events: &mut Vec<ModelEvent>,
    ) -> Result<(), Fault> {
        self.input.extend(self.halves.flush());

        match self.kind.as_str() {
            "text" => {}
            "thinking" => answer.thought(Thought::Custom(json!({
                "type": "thinking",
                "thinking": json::whole(&self.thinking),
                "signature": json::whole(&self.signature),
            })))?,
            "redacted_thinking" => {
                answer.thought(Thought::Custom(json::without_halves(&self.start)))?;
            }
            "tool_use" => self.call(whole, answer)?,
            kind => Assembly::other(kind, &self.document(), events),
        }

        if !self.citations.is_empty() {
            let citations = Value::Array(std::mem::take(&mut self.citations));
            Assembly::other("citations", &citations, events);
        }

        let known = ["text", "thinking", "redacted_thinking", "tool_use"];
        if !self.others.is_empty() && known.contains(&self.kind.as_str()) {
            let others = Value::Array(std::mem::take(&mut self.others));
            Assembly::other(&format!("{}.deltas", self.kind), &others, events);
        }

        Ok(())
    }

    fn call(&self, whole: bool, answer: &mut Assembly) -> Result<(), Fault> {
        let id = text(&self.start, "id").unwrap_or_default();
        let name = text(&self.start, "name").unwrap_or_default();

        // Anthropic starts with `{}` and sends the input in pieces; some proxies start with the
        // whole input and send no pieces.
        let input = self.start.get("input").filter(|input| match input {
            Value::Object(fields) => !fields.is_empty(),
            Value::String(text) => !text.is_empty(),
            other => !other.is_null(),
        });

        match (input, self.input.is_empty()) {
            (Some(input), true) => answer
                .calls
                .add_whole(Some(id), name, Some(input), Vec::new()),
            _ if whole => {
                let input = Value::String(self.input.clone());
                answer
                    .calls
                    .add_whole(Some(id), name, Some(&input), Vec::new())
            }
            _ => answer.calls.add_cut(id, name, &self.input),
        }
    }

    /// A block of another kind as one document: its start and its deltas.
    fn document(&self) -> Value {
        let mut document = self.start.clone();
        if let Some(fields) = document.as_object_mut() {
            if !self.input.is_empty() {
                let input = serde_json::from_str(&self.input);
                let input = input.unwrap_or_else(|_| Value::String(self.input.clone()));
                fields.insert("input".to_owned(), input);
            }
            if !self.others.is_empty() {
                fields.insert("deltas".to_owned(), Value::Array(self.others.clone()));
            }
        }

        document
    }
}

/// Whether a delta of a known kind adds nothing.
fn is_empty_delta(delta: &Value) -> bool {
    let Some(fields) = delta.as_object() else {
        return delta.is_null();
    };
    let adds = |(key, value): (&String, &Value)| key != "type" && value.as_str() != Some("");
    !fields.iter().any(adds)
}

fn index(document: &Value) -> Option<u64> {
    document.get("index").and_then(Value::as_u64)
}

fn usage(document: &Value, answer: &mut Assembly) {
    let Some(usage) = document.get("usage") else {
        return;
    };
    // Later counts are totals, and may omit what did not change.
    let before = answer.counted();
    let (read, written) = (
        count(usage, "cache_read_input_tokens").max(before.cache_read_tokens),
        count(usage, "cache_creation_input_tokens").max(before.cache_write_tokens),
    );

    // Anthropic's `input_tokens` exclude cached ones.
    let fresh = count(usage, "input_tokens");
    answer.usage(Usage {
        input_tokens: fresh
            .saturating_add(read)
            .saturating_add(written)
            .max(before.input_tokens),
        output_tokens: count(usage, "output_tokens").max(before.output_tokens),
        cost_micros: 0,
        cache_read_tokens: read,
        cache_write_tokens: written,
    });
}

/// Takes over the stop reason, if there is one.
fn reason(message: &Value, answer: &mut Assembly) {
    let Some(reason) = text(message, "stop_reason") else {
        return;
    };

    answer.end(match reason {
        "end_turn" | "stop_sequence" | "tool_use" => Finish::Done,
        "max_tokens" | "model_context_window_exceeded" => Finish::MaxTokens,
        "refusal" => Finish::ContentFilter,
        other => Finish::Other(other.to_owned()),
    });
}
