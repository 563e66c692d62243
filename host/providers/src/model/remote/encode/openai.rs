//! Encodes a request for `OpenAI`'s chat completions:
//! <https://platform.openai.com/docs/api-reference/chat/create>. Pure.

use super::{Data, Effort, Encoded, Source, arguments, mark_error, overlay, source_line};
use crate::model::provider::{ModelError, ModelMessage, ToolChoice};
use crate::model::remote::media::{base64, is_image};
use crate::model::remote::thoughts::{self, Thought};
use lastword_types::session::{PartBody, Role};
use serde_json::{Map, Value, json};

/// The name of the response's schema on the wire.
const SCHEMA_NAME: &str = "answer";

pub(super) fn encode(source: &Source<'_>) -> Result<Encoded, ModelError> {
    let request = source.request;
    let mut messages = Vec::new();

    messages.extend(
        source
            .system()
            .map(|text| json!({"role": "system", "content": text})),
    );

    source.with_data_after_results(
        &mut messages,
        |message, behind| encode_message(source, message, behind),
        |waiting| {
            let parts = waiting.iter().flat_map(|(tool, data)| {
                let line = source_line(data, tool);
                [json!({"type": "text", "text": line}), part(data)]
            });
            json!({"role": "user", "content": parts.collect::<Vec<_>>()})
        },
    );

    let mut body = Map::new();
    body.insert("model".to_owned(), json!(source.target.model));
    body.insert("messages".to_owned(), Value::Array(messages));
    body.insert("stream".to_owned(), json!(true));
    body.insert("stream_options".to_owned(), json!({"include_usage": true}));

    if !request.tools.is_empty() {
        body.insert("tools".to_owned(), tools(source)?);
    }

    if let Some(choice) = &request.tool_choice {
        let choice = match choice {
            ToolChoice::Auto | ToolChoice::None | ToolChoice::Required => json!(choice),
            ToolChoice::Tool(name) => {
                let name = source.names.wire(name.to_owned());
                json!({"type": "function", "function": {"name": name}})
            }
        };
        body.insert("tool_choice".to_owned(), choice);
    }

    if let Some(schema) = source.output_schema()? {
        let format = json!({
            "type": "json_schema",
            "json_schema": {"name": SCHEMA_NAME, "strict": true, "schema": schema},
        });
        body.insert("response_format".to_owned(), format);
    }

    if !request.stop.is_empty() {
        body.insert("stop".to_owned(), json!(request.stop));
    }

    if let Some(tokens) = request.max_output_tokens {
        body.insert(most_tokens(source.target.model).to_owned(), json!(tokens));
    }

    if let Some(temperature) = source.temperature() {
        body.insert("temperature".to_owned(), json!(temperature));
    }

    // This format has no effort in tokens.
    if let Some(Effort::Word(word)) = &source.effort {
        body.insert("reasoning_effort".to_owned(), json!(word));
    }

    overlay(&mut body, &source.extra);
    Ok(Encoded::new("chat/completions", body))
}

/// The name of the limit on output tokens: `OpenAI`'s newer models refuse the name that every other
/// server knows.
fn most_tokens(model: &str) -> &'static str {
    let name = model.rsplit('/').next().unwrap_or(model);
    let generation = name.strip_prefix("gpt-").or_else(|| name.strip_prefix('o'));

    let newer = generation.is_some_and(|rest| {
        let digits = rest
            .split(|c: char| !c.is_ascii_digit())
            .next()
            .unwrap_or_default();
        let least = if name.starts_with('o') { 1 } else { 5 };
        digits.parse::<u32>().is_ok_and(|number| number >= least)
    });

    if newer {
        "max_completion_tokens"
    } else {
        "max_tokens"
    }
}

/// The tools as this wire format and Ollama's describe them.
pub(super) fn tools(source: &Source<'_>) -> Result<Value, ModelError> {
    let tools = source.request.tools.iter().map(|spec| {
        let mut function = json!({
            "name": source.names.wire(spec.name.clone()),
            "parameters": Source::parameters(spec)?,
        });
        if !spec.description.is_empty() {
            function["description"] = json!(spec.description);
        }
        Ok(json!({"type": "function", "function": function}))
    });
    tools.collect()
}

/// Encodes a message, unless it has nothing for the model; each result of a tool becomes a message.
fn encode_message<'a>(
    source: &Source<'a>,
    message: &'a ModelMessage,
    behind: &mut Vec<(String, Data<'a>)>,
) -> Vec<Value> {
    match message.role {
        Role::Assistant => assistant_message(source, message).into_iter().collect(),
        Role::Tool => results(source, message, behind),
        Role::User | Role::System => {
            let role = if message.role == Role::User {
                "user"
            } else {
                "system"
            };
            let content = content(source, message);
            let encoded = content.map(|content| json!({"role": role, "content": content}));
            encoded.into_iter().collect()
        }
    }
}

fn content<'a>(source: &Source<'a>, message: &'a ModelMessage) -> Option<Value> {
    let mut parts = Vec::new();
    for part in &message.parts {
        match (&part.body, source.data(message.role, &part.body)) {
            (PartBody::Text { text }, _) if !text.is_empty() => {
                parts.push(json!({"type": "text", "text": text}));
            }
            (_, Some(Ok(data))) => parts.push(self::part(&data)),
            (_, Some(Err(line))) => parts.push(json!({"type": "text", "text": line})),
            _ => {}
        }
    }

    if parts.is_empty() {
        return None;
    }

    // Not every server accepts parts instead of a plain text.
    let texts: Option<Vec<&str>> = parts.iter().map(|part| part["text"].as_str()).collect();
    Some(match texts {
        Some(texts) => json!(texts.join("\n\n")),
        None => Value::Array(parts),
    })
}

fn part(data: &Data<'_>) -> Value {
    let url = format!("data:{};base64,{}", data.media_type, base64(data.bytes));
    if is_image(data.media_type) {
        return json!({"type": "image_url", "image_url": {"url": url}});
    }
    // A name is required.
    let name = data.name.unwrap_or("file.pdf");
    json!({"type": "file", "file": {"filename": name, "file_data": url}})
}

fn assistant_message<'a>(source: &Source<'a>, message: &'a ModelMessage) -> Option<Value> {
    let mut text = Vec::new();
    let mut reasoning = Vec::new();
    let mut details = Vec::new();
    let mut calls = Vec::new();

    for part in &message.parts {
        match &part.body {
            PartBody::Text { text: piece } if !piece.is_empty() => text.push(piece.clone()),
            PartBody::Reasoning { text: piece, .. } => reasoning.push(piece.as_str()),
            PartBody::ToolCall(call) => {
                for thought in thoughts::load(source.target.service, &part.extra) {
                    if let Thought::Custom(Value::Array(items)) = thought {
                        details.extend(items);
                    }
                }

                calls.push(json!({
                    "type": "function",
                    "id": call.id,
                    "function": {
                        "name": source.names.wire(call.name.clone()),
                        "arguments": arguments(&call.input).to_string(),
                    },
                }));
            }
            body => text.extend(source.data(Role::Assistant, body).and_then(Result::err)),
        }
    }

    if text.is_empty() && calls.is_empty() {
        return None;
    }

    let mut encoded = json!({"role": "assistant"});
    encoded["content"] = if text.is_empty() {
        Value::Null
    } else {
        json!(text.join(""))
    };

    if !calls.is_empty() {
        encoded["tool_calls"] = Value::Array(calls);
        // Reasoning only matters while the model waits for its tools; later some servers refuse it.
        if !details.is_empty() {
            encoded["reasoning_details"] = Value::Array(details);
        } else if !reasoning.is_empty() {
            encoded["reasoning_content"] = json!(reasoning.join("\n"));
        }
    }

    Some(encoded)
}

fn results<'a>(
    source: &Source<'a>,
    message: &'a ModelMessage,
    behind: &mut Vec<(String, Data<'a>)>,
) -> Vec<Value> {
    let mut encoded = Vec::new();

    for part in &message.parts {
        let PartBody::ToolResult(result) = &part.body else {
            continue;
        };
        let outcome = source.outcome(result, "below");
        let tool = source.names.wire(result.name.clone());

        behind.extend(outcome.data.into_iter().map(|data| (tool.clone(), data)));

        encoded.push(json!({
            "role": "tool",
            "content": mark_error(outcome.text, result.is_error),
            "tool_call_id": result.call_id,
        }));
    }

    encoded
}
