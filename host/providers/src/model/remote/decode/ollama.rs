//! Ollama's own chat, one document per line:
//! <https://github.com/ollama/ollama/blob/main/docs/api.md#generate-a-chat-completion>. Servers in
//! its place, and its `/v1` API, use `OpenAI`'s format, which shows in every document. Pure.

use super::assembly::{Assembly, Finish};
use super::json::{count, text};
use super::openai::OpenAi;
use super::{Fault, Flow};
use crate::model::provider::ModelEvent;
use lastword_types::session::Usage;
use serde_json::Value;

/// The state between two documents.
#[derive(Default)]
pub(super) struct Ollama {
    openai: OpenAi,
}

impl Ollama {
    pub(super) fn document(
        &mut self,
        document: &Value,
        answer: &mut Assembly,
        events: &mut Vec<ModelEvent>,
    ) -> Result<Flow, Fault> {
        let own = ["message", "done", "response"];
        if document.get("choices").is_some() || !own.iter().any(|key| document.get(key).is_some()) {
            return self.openai.document(document, answer, events);
        }

        if let Some(message) = document.get("message") {
            decode_message(message, answer, events)?;
        }

        if document.get("done").and_then(Value::as_bool) != Some(true) {
            return Ok(Flow::Open);
        }

        answer.usage(Usage {
            input_tokens: count(document, "prompt_eval_count"),
            output_tokens: count(document, "eval_count"),
            ..Usage::default()
        });

        answer.end(match text(document, "done_reason") {
            // Older servers send no reason; `load` ends the response to an empty prompt.
            None | Some("stop" | "load" | "unload") => Finish::Done,
            Some("length") => Finish::MaxTokens,
            Some(other) => Finish::Other(other.to_owned()),
        });

        Ok(Flow::Over)
    }
}

fn decode_message(
    message: &Value,
    answer: &mut Assembly,
    events: &mut Vec<ModelEvent>,
) -> Result<(), Fault> {
    if let Some(piece) = text(message, "thinking") {
        answer.reasoning(piece, events);
    }

    if let Some(piece) = text(message, "content") {
        answer.text(piece, events);
    }

    // Each call is whole, and all of them may have the index 0.
    for call in message
        .get("tool_calls")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let function = call.get("function").unwrap_or(call);
        answer.hold(call.to_string().len())?;
        let name = text(function, "name").unwrap_or_default();
        let arguments = function.get("arguments");
        answer
            .calls
            .add_whole(text(call, "id"), name, arguments, Vec::new())?;
    }

    for image in message
        .get("images")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let base64 = image.as_str().unwrap_or_default();
        Assembly::data("image/png", base64, ("image", image), events);
    }

    Ok(())
}
