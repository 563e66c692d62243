//! A request as the wire formats' crate takes it: history, tools and options. Knows nothing
//! of addresses, keys and answers.
//!
//! Bytes are not sent yet: a file in the history is told to the model as a line of text.

use super::names::Names;
use super::thoughts::{self, Thought};
use crate::capability::model::provider::{
    ModelError, ModelErrorKind, ModelMessage, ModelRequest, ToolSpec,
};
use crate::session::{Content, Extra, Part, PartBody, Role, ToolCall, ToolResult};
use genai::adapter::AdapterKind;
use genai::chat::{
    ChatMessage, ChatOptions, ChatRequest, ChatRole, ContentPart, JsonSpec, MessageContent,
    ReasoningEffort, Tool, ToolChoice, ToolResponse,
};
use serde_json::{Map, Value};

/// The name that a schema for the answer goes by on the wire.
const SCHEMA_NAME: &str = "answer";

/// A name in `extra` that is not sent as it is: how hard to think.
const REASONING_EFFORT: &str = "reasoning_effort";

/// Names in `extra` that a request may not set, since they would change which model answers
/// and how.
const RESERVED: [&str; 4] = ["model", "models", "stream", "n"];

/// Options from everything but the history.
pub(super) fn options(
    kind: AdapterKind,
    model: &str,
    names: &Names,
    request: &ModelRequest,
) -> Result<ChatOptions, ModelError> {
    let mut options = ChatOptions::default()
        .with_capture_usage(true)
        .with_capture_tool_calls(true)
        .with_capture_reasoning_content(wants_reasoning(kind, model))
        .with_stop_sequences(request.stop.clone());
    options.max_tokens = request.max_output_tokens;
    // By way of text, or 0.7 would become 0.699999988079071.
    options.temperature = request.temperature.and_then(|t| t.to_string().parse().ok());
    options.tool_choice = request.tool_choice.as_deref().map(|choice| match choice {
        "auto" => ToolChoice::Auto,
        "none" => ToolChoice::None,
        "required" => ToolChoice::Required,
        name => ToolChoice::tool(names.wire(name.to_owned())),
    });
    if let Some(schema) = &request.output_schema {
        let schema = json("the output schema", schema)?;
        options = options.with_response_format(JsonSpec::new(SCHEMA_NAME, schema));
    }
    options.reasoning_effort = reasoning_effort(kind, &request.extra)?;
    options.extra_body = extra_body(&request.extra)?;
    Ok(options)
}

/// The system text, the messages and the tools.
pub(super) fn history(
    kind: AdapterKind,
    names: &Names,
    request: ModelRequest,
) -> Result<ChatRequest, ModelError> {
    let mut messages = Vec::new();
    for message in request.messages {
        messages.extend(chat_message(kind, names, message)?);
    }
    let mut history = ChatRequest::new(messages);
    history.system = request.system.filter(|system| !system.is_empty());
    if !request.tools.is_empty() {
        let tools = request.tools.into_iter().map(|spec| tool(names, spec));
        history.tools = Some(tools.collect::<Result<_, _>>()?);
    }
    Ok(history)
}

/// Anthropic's signatures come only with this on; Gemini's older models refuse a request with
/// it; the others send their reasoning anyway.
fn wants_reasoning(kind: AdapterKind, model: &str) -> bool {
    let old = ["gemini-1", "gemini-2.0", "gemma"];
    match kind {
        AdapterKind::Anthropic => true,
        AdapterKind::Gemini => !old.iter().any(|name| model.contains(name)),
        _ => false,
    }
}

fn reasoning_effort(
    kind: AdapterKind,
    extra: &Extra,
) -> Result<Option<ReasoningEffort>, ModelError> {
    let Some(word) = extra.get(REASONING_EFFORT) else {
        // Without an effort the crate takes one out of names such as `qwen3-max`, which then
        // are wrong; a budget is one that this wire format leaves unsaid.
        let unsaid = kind == AdapterKind::OpenAI;
        return Ok(unsaid.then_some(ReasoningEffort::Budget(0)));
    };
    let word = word.trim().trim_matches('"');
    word.parse().map(Some).map_err(|_| {
        rejected(format!(
            "`{word}` is no {REASONING_EFFORT}: expected low, medium, high or a number of tokens"
        ))
    })
}

fn extra_body(extra: &Extra) -> Result<Option<Value>, ModelError> {
    let mut body = Map::new();
    for (name, text) in extra.iter().filter(|(name, _)| *name != REASONING_EFFORT) {
        if RESERVED.contains(&name.as_str()) {
            return Err(rejected(format!("`{name}` cannot be set through `extra`")));
        }
        body.insert(name.clone(), json(&format!("`{name}` of `extra`"), text)?);
    }
    Ok((!body.is_empty()).then_some(Value::Object(body)))
}

fn tool(names: &Names, spec: ToolSpec) -> Result<Tool, ModelError> {
    let what = format!("the parameters of the tool `{}`", spec.name);
    let schema = match spec.parameters.trim() {
        "" => serde_json::json!({ "type": "object", "properties": {} }),
        text => json(&what, text)?,
    };
    let tool = Tool::new(names.wire(spec.name)).with_schema(schema);
    Ok(match spec.description.is_empty() {
        true => tool,
        false => tool.with_description(spec.description),
    })
}

/// A message, unless nothing of it is for the model.
fn chat_message(
    kind: AdapterKind,
    names: &Names,
    message: ModelMessage,
) -> Result<Option<ChatMessage>, ModelError> {
    let role = match message.role {
        Role::User => ChatRole::User,
        Role::Assistant => ChatRole::Assistant,
        Role::Tool => ChatRole::Tool,
        Role::System => ChatRole::System,
    };
    let assistant = message.role == Role::Assistant;
    let mut leading = Vec::new();
    let mut parts = Vec::new();
    for Part { body, extra } in message.parts {
        match body {
            PartBody::Text { text } if !text.is_empty() => parts.push(ContentPart::Text(text)),
            PartBody::Reasoning { text, .. } if assistant => {
                leading.push(Thought::Reasoning(text));
            }
            PartBody::ToolCall(mut call) if assistant => {
                call.name = names.wire(call.name);
                let kept = thoughts::recall(kind, &extra);
                let (call, lead) = tool_call(kind, call, kept);
                if let Some(lead) = lead {
                    leading = lead;
                }
                parts.push(ContentPart::ToolCall(call));
            }
            PartBody::ToolResult(mut result) => {
                result.name = names.wire(result.name);
                parts.push(tool_response(result).into());
            }
            PartBody::Data {
                media_type,
                name,
                bytes,
                ..
            } => {
                parts.push(ContentPart::Text(file_line(
                    &media_type,
                    name.as_deref(),
                    bytes,
                )));
            }
            _ => {}
        }
    }
    if parts.is_empty() {
        return Ok(None);
    }
    let calls = parts
        .iter()
        .any(|part| matches!(part, ContentPart::ToolCall(_)));
    if !calls {
        // Reasoning matters to a model while it waits for its tools; afterwards some servers
        // refuse to be reminded of it.
        leading.clear();
    }
    let leading = leading.into_iter().map(|thought| thought.into_part(kind));
    let parts: Vec<ContentPart> = leading.chain(parts).collect();
    Ok(Some(ChatMessage::new(
        role,
        MessageContent::from_parts(parts),
    )))
}

/// A call, and what must lead its message in place of bare reasoning.
fn tool_call(
    kind: AdapterKind,
    call: ToolCall,
    kept: Vec<Thought>,
) -> (genai::chat::ToolCall, Option<Vec<Thought>>) {
    // Gemini's signatures belong to single calls, the others' to the message.
    let (own, lead) = match kind {
        AdapterKind::Gemini => (kept, Vec::new()),
        _ => (Vec::new(), kept),
    };
    let own = own.into_iter().filter_map(Thought::into_signature);
    let own: Vec<String> = own.collect();
    let call = genai::chat::ToolCall {
        call_id: call.id,
        fn_name: call.name,
        fn_arguments: arguments(&call.input),
        thought_signatures: (!own.is_empty()).then_some(own),
    };
    (call, (!lead.is_empty()).then_some(lead))
}

/// Arguments that a model garbled go back as an object that quotes them: every wire format
/// insists on an object.
fn arguments(input: &str) -> Value {
    match serde_json::from_str(input) {
        Ok(Value::Object(object)) => Value::Object(object),
        Ok(Value::Null) => Value::Object(Map::new()),
        Err(_) if input.trim().is_empty() => Value::Object(Map::new()),
        Ok(_) | Err(_) => serde_json::json!({ "invalid_arguments": input }),
    }
}

fn tool_response(result: ToolResult) -> ToolResponse {
    let mut lines = Vec::new();
    for content in result.content {
        match content {
            Content::Text { text } => lines.push(text),
            Content::Data {
                media_type,
                name,
                bytes,
                ..
            } => {
                lines.push(file_line(&media_type, name.as_deref(), bytes));
            }
            Content::Other { json, .. } => lines.push(json),
        }
    }
    if lines.is_empty() {
        lines.extend(result.structured);
    }
    let mut text = lines.join("\n");
    // None of the wire formats' crate has a flag for it.
    if result.is_error && !text.to_lowercase().starts_with("error") {
        text.insert_str(0, "Error: ");
    }
    ToolResponse::new(result.call_id, text).with_fn_name(result.name)
}

fn file_line(media_type: &str, name: Option<&str>, bytes: u64) -> String {
    let name = name.unwrap_or("unnamed");
    format!("[file {name}: {media_type}, {bytes} bytes, not shown]")
}

fn json(what: &str, text: &str) -> Result<Value, ModelError> {
    serde_json::from_str(text).map_err(|error| rejected(format!("{what} is not JSON: {error}")))
}

fn rejected(message: String) -> ModelError {
    ModelError::new(ModelErrorKind::Rejected, message)
}
