//! Encodes a request for Ollama's own chat:
//! <https://github.com/ollama/ollama/blob/main/docs/api.md#generate-a-chat-completion>. Pure.
//!
//! Ollama silently cuts the beginning off a conversation that does not fit its window; `truncate`
//! and `shift` make it refuse instead (servers before 0.12.6 know neither).

use super::openai::tools;
use super::{Data, Effort, Encoded, Source, arguments, mark_error, overlay, source_line};
use crate::model::provider::{ModelError, ModelMessage, ToolChoice};
use crate::model::remote::media::base64;
use lastword_types::session::{PartBody, Role};
use serde_json::{Map, Value, json};

/// Fields of the request itself; everything else that an agent adds becomes one of its `options`.
const FIELDS: [&str; 9] = [
    "format",
    "keep_alive",
    "logprobs",
    "options",
    "shift",
    "template",
    "think",
    "top_logprobs",
    "truncate",
];

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
            let lines = waiting.iter().map(|(tool, data)| source_line(data, tool));
            let images = waiting.iter().map(|(_, data)| base64(data.bytes));
            json!({
                "role": "user",
                "content": lines.collect::<Vec<_>>().join("\n"),
                "images": images.collect::<Vec<_>>(),
            })
        },
    );

    let mut body = Map::new();
    body.insert("model".to_owned(), json!(source.target.model));
    body.insert("messages".to_owned(), Value::Array(messages));
    body.insert("stream".to_owned(), json!(true));
    body.insert("truncate".to_owned(), json!(false));
    body.insert("shift".to_owned(), json!(false));

    // This format has no tool choice, so tools that must not be called are left out.
    let choice = request.tool_choice.as_ref();
    if !request.tools.is_empty() && choice != Some(&ToolChoice::None) {
        let mut tools = tools(source)?;
        if let (Some(ToolChoice::Tool(name)), Some(all)) = (choice, tools.as_array_mut()) {
            let name = source.names.wire(name.to_owned());
            all.retain(|tool| tool["function"]["name"] == name);
        }
        body.insert("tools".to_owned(), tools);
    }

    if let Some(schema) = source.output_schema()? {
        body.insert("format".to_owned(), schema);
    }

    match &source.effort {
        None | Some(Effort::Tokens(_)) => {}
        Some(Effort::Word(word)) => {
            let think = match word.as_str() {
                "none" => json!(false),
                "low" | "medium" | "high" => json!(word),
                _ => json!(true),
            };
            body.insert("think".to_owned(), think);
        }
    }

    let (fields, others): (Vec<_>, Vec<_>) = source
        .extra
        .iter()
        .partition(|(key, _)| FIELDS.contains(&key.as_str()));

    let owned = |(key, value): (&String, &Value)| (key.clone(), value.clone());
    let mut options = options(source);
    overlay(&mut options, &others.into_iter().map(owned).collect());

    if !options.is_empty() {
        body.insert("options".to_owned(), Value::Object(options));
    }

    overlay(&mut body, &fields.into_iter().map(owned).collect());
    Ok(Encoded::new("api/chat", body))
}

fn options(source: &Source<'_>) -> Map<String, Value> {
    let request = source.request;
    let mut options = Map::new();

    if let Some(tokens) = request.max_output_tokens {
        options.insert("num_predict".to_owned(), json!(tokens));
    }

    if let Some(temperature) = source.temperature() {
        options.insert("temperature".to_owned(), json!(temperature));
    }

    if !request.stop.is_empty() {
        options.insert("stop".to_owned(), json!(request.stop));
    }

    // Without it, the server uses a window of its own, which is small.
    if let Some(tokens) = source.target.window {
        options.insert("num_ctx".to_owned(), json!(tokens));
    }

    options
}

fn encode_message<'a>(
    source: &Source<'a>,
    message: &'a ModelMessage,
    behind: &mut Vec<(String, Data<'a>)>,
) -> Vec<Value> {
    let mut text = Vec::new();
    let mut thinking = Vec::new();
    let mut images = Vec::new();
    let mut calls = Vec::new();
    let mut encoded = Vec::new();

    for part in &message.parts {
        match (&part.body, source.data(message.role, &part.body)) {
            (PartBody::Text { text: piece }, _) if !piece.is_empty() => text.push(piece.clone()),
            (PartBody::Reasoning { text: piece, .. }, _) => thinking.push(piece.as_str()),
            (PartBody::ToolCall(call), _) if message.role == Role::Assistant => {
                let name = source.names.wire(call.name.clone());
                calls.push(json!({
                    "id": call.id,
                    "type": "function",
                    "function": {"name": name, "arguments": arguments(&call.input)},
                }));
            }
            (PartBody::ToolResult(result), _) => {
                let outcome = source.outcome(result, "below");
                let tool = source.names.wire(result.name.clone());
                behind.extend(outcome.data.into_iter().map(|data| (tool.clone(), data)));
                encoded.push(json!({
                    "role": "tool",
                    "content": mark_error(outcome.text, result.is_error),
                    "tool_name": tool,
                    "tool_call_id": result.call_id,
                }));
            }
            (_, Some(Ok(data))) => images.push(base64(data.bytes)),
            (_, Some(Err(line))) => text.push(line),
            _ => {}
        }
    }

    if text.is_empty() && images.is_empty() && calls.is_empty() {
        return encoded;
    }

    let role = match message.role {
        Role::System => "system",
        Role::Assistant => "assistant",
        Role::User | Role::Tool => "user",
    };

    let between = if message.role == Role::Assistant {
        ""
    } else {
        "\n\n"
    };
    let mut own = json!({"role": role, "content": text.join(between)});

    if !images.is_empty() {
        own["images"] = json!(images);
    }

    if !calls.is_empty() {
        own["tool_calls"] = Value::Array(calls);
        if !thinking.is_empty() {
            own["thinking"] = json!(thinking.join("\n"));
        }
    }

    encoded.push(own);
    encoded
}
