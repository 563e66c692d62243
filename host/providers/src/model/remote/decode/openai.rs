//! `OpenAI`'s chat completions, as `OpenAI` and the many servers that imitate it stream them:
//! <https://platform.openai.com/docs/api-reference/chat-streaming>. Pure.

use super::assembly::{Assembly, Finish};
use super::calls::Fragment;
use super::json::{count, text};
use super::{Fault, Flow};
use crate::model::provider::ModelEvent;
use crate::model::remote::thoughts::Thought;
use lastword_types::session::Usage;
use serde_json::Value;

/// Members of a delta that have no event of their own and are passed on.
const OTHERS: [&str; 3] = ["annotations", "audio", "citations"];

/// The state between two chunks.
#[derive(Default)]
pub(super) struct OpenAi {
    /// The index of the choice that is used: one is asked for, and this is the first received.
    choice: Option<Value>,
    /// `OpenRouter`'s reasoning details, which it wants back, item by item.
    details: Vec<Value>,
}

impl OpenAi {
    pub(super) fn document(
        &mut self,
        document: &Value,
        answer: &mut Assembly,
        events: &mut Vec<ModelEvent>,
    ) -> Result<Flow, Fault> {
        self.usage(document, answer);
        let Some(choices) = document.get("choices").filter(|choices| !choices.is_null()) else {
            return without_choices(document, events);
        };
        let Some(choices) = choices.as_array() else {
            return Err(Fault::Unreadable("`choices` is no array".to_owned()));
        };

        for choice in choices {
            let index = choice.get("index").cloned().unwrap_or(Value::Null);
            match &self.choice {
                Some(first) if *first != index => Assembly::other("choice", choice, events),
                _ => {
                    self.choice = Some(index);
                    self.choice(choice, answer, events)?;
                }
            }
        }

        Ok(Flow::Open)
    }

    fn choice(
        &mut self,
        choice: &Value,
        answer: &mut Assembly,
        events: &mut Vec<ModelEvent>,
    ) -> Result<(), Fault> {
        // A server that does not stream sends a message instead of a delta.
        let delta = choice.get("delta").filter(|delta| delta.is_object());
        if let Some(delta) = delta.or_else(|| choice.get("message")) {
            self.delta(delta, answer, events)?;
        }

        if let Some(reason) = text(choice, "finish_reason") {
            self.close(answer)?;
            if reason == "error" {
                return Err(Fault::Reported(choice.clone()));
            }
            answer.end(finish(reason));
        }

        Ok(())
    }

    fn delta(
        &mut self,
        delta: &Value,
        answer: &mut Assembly,
        events: &mut Vec<ModelEvent>,
    ) -> Result<(), Fault> {
        // Some servers send both in the same delta.
        let reasoning = text(delta, "reasoning_content").or_else(|| text(delta, "reasoning"));
        if let Some(piece) = reasoning {
            answer.reasoning(piece, events);
        }

        if let Some(Value::Array(details)) = delta.get("reasoning_details") {
            self.details(details, answer)?;
        }

        match delta.get("content") {
            Some(Value::String(piece)) => answer.text(piece, events),
            Some(Value::Array(parts)) => {
                for part in parts {
                    content(part, answer, events);
                }
            }
            _ => {}
        }

        if let Some(refusal) = text(delta, "refusal") {
            answer.text(refusal, events);
            answer.refuse();
        }

        for image in delta
            .get("images")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            content(image, answer, events);
        }

        for kind in OTHERS {
            if let Some(piece) = delta.get(kind).filter(|piece| says_something(piece)) {
                Assembly::other(kind, piece, events);
            }
        }

        match delta.get("tool_calls") {
            Some(Value::Array(calls)) => {
                for call in calls {
                    self.call(call, answer)?;
                }
            }
            Some(call @ Value::Object(_)) => self.call(call, answer)?,
            _ => {}
        }

        // The older form, with one call.
        if let Some(function) = delta.get("function_call").filter(|call| call.is_object()) {
            answer.call(&Fragment {
                index: Some("function_call".to_owned()),
                id: None,
                name: text(function, "name"),
                arguments: function.get("arguments"),
            })?;
        }

        Ok(())
    }

    fn call(&mut self, call: &Value, answer: &mut Assembly) -> Result<(), Fault> {
        self.close(answer)?;
        let nothing = Value::Null;

        // One server puts the function's fields beside the call's.
        let function = call.get("function").or_else(|| call.get("custom"));
        let function = function.unwrap_or(call);
        let index = call.get("index").unwrap_or(&nothing);
        let arguments = function.get("arguments").or_else(|| function.get("input"));

        answer.call(&Fragment {
            // A number, a string, or a number as a string: it is only compared.
            index: match index {
                Value::Null => None,
                Value::String(text) => Some(text.clone()),
                other => Some(other.to_string()),
            },
            id: text(call, "id"),
            name: text(function, "name"),
            arguments,
        })
    }

    fn details(&mut self, details: &[Value], answer: &mut Assembly) -> Result<(), Fault> {
        for detail in details {
            answer.hold(detail.to_string().len())?;

            let same = |last: &&mut Value| {
                ["type", "index", "id"].iter().all(|key| {
                    let (one, other) = (last.get(key), detail.get(key));
                    one == other || other.is_none_or(Value::is_null)
                })
            };

            match self.details.last_mut().filter(same) {
                Some(last) => append(last, detail),
                None => self.details.push(detail.clone()),
            }
        }

        Ok(())
    }

    /// Attaches the reasoning so far to the next call.
    fn close(&mut self, answer: &mut Assembly) -> Result<(), Fault> {
        if !self.details.is_empty() {
            let details = std::mem::take(&mut self.details);
            answer.thought(Thought::Custom(Value::Array(details)))?;
        }
        Ok(())
    }

    fn usage(&self, document: &Value, answer: &mut Assembly) {
        let groq = || document.pointer("/x_groq/usage");
        let Some(usage) = document.get("usage").or_else(groq) else {
            return;
        };
        let cost = usage.get("cost").and_then(Value::as_f64).unwrap_or(0.0);
        let cached = usage.get("prompt_tokens_details");

        answer.usage(Usage {
            input_tokens: count(usage, "prompt_tokens"),
            output_tokens: count(usage, "completion_tokens"),
            // `OpenRouter` counts in US dollars; the cast saturates.
            cost_micros: (cost * 1e6).ceil() as u64,
            cache_read_tokens: cached.map_or(0, |details| count(details, "cached_tokens")),
            cache_write_tokens: cached.map_or(0, |details| count(details, "cache_write_tokens")),
        });
    }
}

/// Decodes a document without choices: a token count, a failure in the server's own form, or an
/// unknown kind.
fn without_choices(document: &Value, events: &mut Vec<ModelEvent>) -> Result<Flow, Fault> {
    if document.get("detail").is_some() || document.get("message").is_some() {
        return Err(Fault::Reported(document.clone()));
    }
    if document.get("usage").is_none() && document.get("choices").is_none() {
        let kind = text(document, "type").or_else(|| text(document, "object"));
        Assembly::other(kind.unwrap_or("chunk"), document, events);
    }
    Ok(Flow::Open)
}

/// Decodes a part of an array content, which Mistral uses for thoughts and others for images.
fn content(part: &Value, answer: &mut Assembly, events: &mut Vec<ModelEvent>) {
    let kind = text(part, "type").unwrap_or("text");
    match (kind, part.get("text").and_then(Value::as_str)) {
        ("text" | "output_text", Some(piece)) => answer.text(piece, events),
        ("thinking" | "reasoning", Some(piece)) => answer.reasoning(piece, events),
        ("thinking", None) => match part.get("thinking") {
            Some(Value::String(piece)) => answer.reasoning(piece, events),
            Some(Value::Array(pieces)) => {
                for piece in pieces.iter().filter_map(|piece| text(piece, "text")) {
                    answer.reasoning(piece, events);
                }
            }
            _ => Assembly::other(kind, part, events),
        },
        ("image_url", _) => {
            let url = part.pointer("/image_url/url").and_then(Value::as_str);
            let data = url.and_then(|url| url.strip_prefix("data:")?.split_once(";base64,"));
            match data {
                Some((media_type, base64)) => {
                    Assembly::data(media_type, base64, (kind, part), events);
                }
                None => Assembly::other(kind, part, events),
            }
        }
        _ => Assembly::other(kind, part, events),
    }
}

fn says_something(piece: &Value) -> bool {
    match piece {
        Value::Null => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        _ => true,
    }
}

/// Appends the text of a reasoning fragment, and adds members that were missing.
fn append(last: &mut Value, detail: &Value) {
    let (Some(last), Some(detail)) = (last.as_object_mut(), detail.as_object()) else {
        return;
    };

    for (key, value) in detail {
        match (last.get_mut(key), value) {
            (Some(Value::String(text)), Value::String(piece))
                if ["text", "summary", "data"].contains(&key.as_str()) =>
            {
                text.push_str(piece);
            }
            (Some(known), _) if !known.is_null() => {}
            _ => {
                last.insert(key.clone(), value.clone());
            }
        }
    }
}

fn finish(reason: &str) -> Finish {
    match reason {
        "stop" | "eos" | "tool_calls" | "function_call" => Finish::Done,
        "length" | "max_tokens" => Finish::MaxTokens,
        "content_filter" => Finish::ContentFilter,
        other => Finish::Other(other.to_owned()),
    }
}
