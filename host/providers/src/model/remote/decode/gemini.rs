//! Gemini's generated content: <https://ai.google.dev/api/generate-content>. Each document is a
//! piece of the response; similar services repeat the finish reason. Pure.

use super::assembly::{Assembly, Finish};
use super::json::{count, text};
use super::{Fault, Flow};
use crate::model::provider::ModelEvent;
use crate::model::remote::thoughts::Thought;
use lastword_types::session::Usage;
use serde_json::{Value, json};

/// Members of a candidate that are passed on unchanged.
const OTHERS: [&str; 3] = [
    "citationMetadata",
    "groundingMetadata",
    "urlContextMetadata",
];

/// The state between two documents.
#[derive(Default)]
pub(super) struct Gemini {
    /// The index of the candidate that is used.
    candidate: Option<Value>,
}

impl Gemini {
    pub(super) fn document(
        &mut self,
        document: &Value,
        answer: &mut Assembly,
        events: &mut Vec<ModelEvent>,
    ) -> Result<Flow, Fault> {
        usage(document, answer);

        if document
            .pointer("/promptFeedback/blockReason")
            .is_some_and(|why| !why.is_null())
        {
            return Err(Fault::Reported(document.clone()));
        }

        let candidates = document.get("candidates").and_then(Value::as_array);
        for candidate in candidates.into_iter().flatten() {
            let index = candidate.get("index").cloned().unwrap_or(json!(0));
            match &self.candidate {
                Some(first) if *first != index => {
                    Assembly::other("candidate", candidate, events);
                }
                _ => {
                    self.candidate = Some(index);
                    piece(candidate, answer, events)?;
                }
            }
        }

        let known = [
            "candidates",
            "usageMetadata",
            "promptFeedback",
            "modelVersion",
        ];

        if !known.iter().any(|key| document.get(key).is_some()) {
            Assembly::other("chunk", document, events);
        }

        Ok(Flow::Open)
    }
}

fn piece(
    candidate: &Value,
    answer: &mut Assembly,
    events: &mut Vec<ModelEvent>,
) -> Result<(), Fault> {
    let parts = candidate
        .pointer("/content/parts")
        .and_then(Value::as_array);
    for part in parts.into_iter().flatten() {
        self::part(part, answer, events)?;
    }

    for kind in OTHERS {
        if let Some(found) = candidate.get(kind).filter(|found| !found.is_null()) {
            Assembly::other(kind, found, events);
        }
    }

    match text(candidate, "finishReason") {
        Some(reason) => end(reason, candidate, answer),
        None => Ok(()),
    }
}

fn part(part: &Value, answer: &mut Assembly, events: &mut Vec<ModelEvent>) -> Result<(), Fault> {
    let field = |camel: &str, snake: &str| part.get(camel).or_else(|| part.get(snake)).cloned();
    let thinks = part.get("thought").and_then(Value::as_bool) == Some(true);

    if let Some(piece) = part.get("text").and_then(Value::as_str) {
        if thinks {
            answer.reasoning(piece, events);
        } else {
            answer.text(piece, events);
        }
    } else if let Some(call) = field("functionCall", "function_call") {
        let id = text(&call, "id");
        let signature = field("thoughtSignature", "thought_signature");
        let signature = signature.as_ref().and_then(Value::as_str);
        let mut thoughts: Vec<Thought> = Vec::new();

        thoughts.extend(signature.map(|text| Thought::Signature(text.to_owned())));
        // The service only knows ids of its own.
        thoughts.extend(id.map(|id| Thought::Custom(json!({ "id": id }))));
        answer.hold(part.to_string().len())?;

        let name = text(&call, "name").unwrap_or_default();
        answer
            .calls
            .add_whole(id, name, call.get("args"), thoughts)?;
    } else if let Some(data) = field("inlineData", "inline_data") {
        let media_type = text(&data, "mimeType").or_else(|| text(&data, "mime_type"));
        let media_type = media_type.unwrap_or("application/octet-stream");
        let base64 = text(&data, "data").unwrap_or_default();
        Assembly::data(media_type, base64, ("inlineData", part), events);
    } else if let Some((kind, _)) = part.as_object().and_then(|fields| {
        let marks = ["thought", "thoughtSignature", "thought_signature"];
        fields
            .iter()
            .find(|(key, _)| !marks.contains(&key.as_str()))
    }) {
        Assembly::other(kind, part, events);
    }

    Ok(())
}

fn end(reason: &str, candidate: &Value, answer: &mut Assembly) -> Result<(), Fault> {
    // Finish reasons that mean that the service failed to make a response.
    let failed = [
        "MALFORMED",
        "UNEXPECTED",
        "TOO_MANY",
        "MISSING",
        "NO_IMAGE",
        "ERROR",
    ];

    if failed.iter().any(|word| reason.contains(word)) {
        let message = match text(candidate, "finishMessage") {
            Some(words) => format!("{words} ({reason})"),
            None => reason.to_owned(),
        };
        let error = json!({"status": reason, "message": message});
        return Err(Fault::Reported(json!({ "error": error })));
    }

    let filters = [
        "SAFETY",
        "RECITATION",
        "BLOCKLIST",
        "PROHIBITED",
        "SPII",
        "LANGUAGE",
    ];

    answer.end(match reason {
        "FINISH_REASON_UNSPECIFIED" => return Ok(()),
        "STOP" => Finish::Done,
        "MAX_TOKENS" => Finish::MaxTokens,
        _ if filters.iter().any(|word| reason.contains(word)) => Finish::ContentFilter,
        other => Finish::Other(other.to_lowercase()),
    });

    Ok(())
}

fn usage(document: &Value, answer: &mut Assembly) {
    let Some(usage) = document.get("usageMetadata") else {
        return;
    };
    let before = answer.counted();
    let sum = |one: &str, other: &str| count(usage, one).saturating_add(count(usage, other));

    // The first count includes neither the tools' own prompts nor the thoughts.
    let input = sum("promptTokenCount", "toolUsePromptTokenCount");
    let output = sum("candidatesTokenCount", "thoughtsTokenCount");

    answer.usage(Usage {
        input_tokens: input.max(before.input_tokens),
        output_tokens: output.max(before.output_tokens),
        cost_micros: 0,
        cache_read_tokens: count(usage, "cachedContentTokenCount").max(before.cache_read_tokens),
        cache_write_tokens: 0,
    });
}
