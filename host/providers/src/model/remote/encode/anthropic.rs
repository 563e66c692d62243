//! Encodes a request for Anthropic's messages: <https://docs.anthropic.com/en/api/messages>. Pure.

use super::{Data, Effort, Encoded, Source, arguments, overlay};
use crate::model::provider::{ModelError, ModelMessage, ToolChoice};
use crate::model::remote::media::{base64, is_image};
use crate::model::remote::thoughts::{self, Thought};
use lastword_types::session::{Part, PartBody, Role};
use serde_json::{Map, Value, json};

/// The smallest thinking budget, in tokens.
const BUDGET_MIN: u32 = 1024;

pub(super) fn encode(source: &Source<'_>) -> Result<Encoded, ModelError> {
    let request = source.request;
    let mut messages: Vec<Value> = Vec::new();
    let mut system: Vec<&str> = source.system().into_iter().collect();

    for message in &request.messages {
        if message.role == Role::System {
            system.extend(message.parts.iter().filter_map(Part::as_text));
            continue;
        }

        let content = content(source, message);
        let role = match message.role {
            Role::Assistant => "assistant",
            Role::User | Role::Tool | Role::System => "user",
        };

        match messages.last_mut() {
            _ if content.is_empty() => {}
            // All results of a step belong into one message.
            Some(last) if last["role"] == role => {
                if let Some(before) = last["content"].as_array_mut() {
                    before.extend(content);
                }
            }
            _ => messages.push(json!({"role": role, "content": content})),
        }
    }

    let mut body = Map::new();
    body.insert("model".to_owned(), json!(source.target.model));
    body.insert("messages".to_owned(), Value::Array(messages));
    body.insert("stream".to_owned(), json!(true));

    let most = request.max_output_tokens;
    let most = most.unwrap_or_else(|| most_tokens(source.target.model));
    body.insert("max_tokens".to_owned(), json!(most));

    if !system.is_empty() {
        body.insert("system".to_owned(), json!(system.join("\n\n")));
    }

    if !request.tools.is_empty() {
        body.insert("tools".to_owned(), tools(source)?);
    }

    if let Some(choice) = &request.tool_choice {
        let choice = match choice {
            ToolChoice::Auto | ToolChoice::None => json!({"type": choice}),
            ToolChoice::Required => json!({"type": "any"}),
            ToolChoice::Tool(name) => {
                json!({"type": "tool", "name": source.names.wire(name.to_owned())})
            }
        };
        body.insert("tool_choice".to_owned(), choice);
    }

    if let Some(schema) = source.output_schema()? {
        let format = json!({"format": {"type": "json_schema", "schema": schema}});
        body.insert("output_config".to_owned(), format);
    }

    if !request.stop.is_empty() {
        body.insert("stop_sequences".to_owned(), json!(request.stop));
    }

    if let Some(temperature) = source.temperature() {
        body.insert("temperature".to_owned(), json!(temperature));
    }

    set_effort(source, &mut body);
    overlay(&mut body, &source.extra);
    Ok(Encoded::new("messages", body))
}

/// Sets the thinking effort: a word if the model accepts it, and tokens otherwise.
fn set_effort(source: &Source<'_>, body: &mut Map<String, Value>) {
    let budget = |tokens: u32| json!({"type": "enabled", "budget_tokens": tokens.max(BUDGET_MIN)});
    let thinking = match &source.effort {
        None => return,
        Some(Effort::Word(word)) if word == "none" => json!({"type": "disabled"}),
        Some(Effort::Tokens(tokens)) => budget(*tokens),
        Some(Effort::Word(word)) if takes_effort(source.target.model) => {
            let word = if word == "minimal" { "low" } else { word };
            let config = body.entry("output_config").or_insert_with(|| json!({}));
            config["effort"] = json!(word);
            json!({"type": "adaptive", "display": "summarized"})
        }
        Some(Effort::Word(word)) => budget(match word.as_str() {
            "minimal" | "low" => BUDGET_MIN,
            "medium" => 8_000,
            _ => 24_000,
        }),
    };
    body.insert("thinking".to_owned(), thinking);
}

/// The version of a Claude model, such as (4, 6): `claude-opus-4-6`, `claude-3-7-sonnet-20250219`.
fn version(model: &str) -> Option<(u32, u32)> {
    let name = model.rsplit('/').next()?.strip_prefix("claude-")?;
    // Longer numbers are dates.
    let mut numbers = name
        .split(['-', '.', '@'])
        .skip_while(|word| word.parse::<u32>().is_err())
        .map_while(|word| word.parse::<u32>().ok().filter(|_| word.len() <= 2));
    Some((numbers.next()?, numbers.next().unwrap_or(0)))
}

/// Whether a model accepts an effort as a word and decides by itself how much to think:
/// <https://docs.anthropic.com/en/docs/build-with-claude/adaptive-thinking>.
fn takes_effort(model: &str) -> bool {
    version(model).is_some_and(|version| version >= (4, 6))
}

/// The longest response of a model, which this service requires in a request:
/// <https://docs.anthropic.com/en/docs/about-claude/models/overview>, November 2026. An unknown
/// model is treated like one of the newer ones.
fn most_tokens(model: &str) -> u32 {
    match version(model) {
        Some((..3, _)) | Some((3, 0)) => 4_096,
        Some((3, ..=5)) => 8_192,
        Some((4, 0 | 1)) if model.contains("opus") => 32_000,
        _ => 64_000,
    }
}

fn tools(source: &Source<'_>) -> Result<Value, ModelError> {
    let tools = source.request.tools.iter().map(|spec| {
        let mut tool = json!({
            "name": source.names.wire(spec.name.clone()),
            "input_schema": Source::parameters(spec)?,
        });
        if !spec.description.is_empty() {
            tool["description"] = json!(spec.description);
        }
        Ok(tool)
    });
    tools.collect()
}

/// The blocks of a message. Thoughts come first, unchanged, while a call waits for its result.
fn content<'a>(source: &Source<'a>, message: &'a ModelMessage) -> Vec<Value> {
    let mut blocks = Vec::new();

    for part in &message.parts {
        match (&part.body, source.data(message.role, &part.body)) {
            (PartBody::Text { text }, _) if !text.trim().is_empty() => {
                blocks.push(json!({"type": "text", "text": text}));
            }
            (PartBody::ToolCall(call), _) if message.role == Role::Assistant => {
                let thoughts = thoughts::load(source.target.service, &part.extra);
                let thoughts = thoughts.into_iter().filter_map(|thought| match thought {
                    Thought::Custom(block) => Some(block),
                    Thought::Signature(_) | Thought::Reasoning(_) => None,
                });

                // The thoughts of the first call precede the whole message, including text.
                let first = !blocks
                    .iter()
                    .any(|block: &Value| block["type"] == "tool_use");
                let place = if first { 0 } else { blocks.len() };
                blocks.splice(place..place, thoughts);

                blocks.push(json!({
                    "type": "tool_use",
                    "id": call.id,
                    "name": source.names.wire(call.name.clone()),
                    "input": arguments(&call.input),
                }));
            }
            (PartBody::ToolResult(result), _) => {
                let outcome = source.outcome(result, "below");
                let mut content = Vec::new();

                if !outcome.text.trim().is_empty() {
                    content.push(json!({"type": "text", "text": outcome.text}));
                }

                content.extend(outcome.data.iter().map(block));
                let mut encoded = json!({"type": "tool_result", "tool_use_id": result.call_id});

                if !content.is_empty() {
                    encoded["content"] = Value::Array(content);
                }

                if result.is_error {
                    encoded["is_error"] = json!(true);
                }

                blocks.push(encoded);
            }
            (_, Some(Ok(data))) => blocks.push(block(&data)),
            (_, Some(Err(line))) => blocks.push(json!({"type": "text", "text": line})),
            _ => {}
        }
    }

    blocks
}

fn block(data: &Data<'_>) -> Value {
    let kind = if is_image(data.media_type) {
        "image"
    } else {
        "document"
    };

    json!({
        "type": kind,
        "source": {
            "type": "base64",
            "media_type": crate::model::provider::bare(data.media_type),
            "data": base64(data.bytes),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_distinguished_by_version() {
        for (model, expected) in [
            ("claude-opus-4-6", Some((4, 6))),
            ("claude-3-7-sonnet-20250219", Some((3, 7))),
            ("claude-opus-4-20250514", Some((4, 0))),
            ("claude-sonnet-5", Some((5, 0))),
            ("anthropic/claude-haiku-4.5", Some((4, 5))),
            ("claude-instant", None),
            ("m", None),
        ] {
            assert_eq!(version(model), expected, "{model}");
        }

        assert_eq!(most_tokens("claude-3-5-haiku-latest"), 8_192);
        assert_eq!(most_tokens("claude-opus-4-1"), 32_000);
        assert_eq!(most_tokens("m"), 64_000);
        assert!(takes_effort("claude-opus-5") && !takes_effort("claude-sonnet-4-5"));
    }
}
