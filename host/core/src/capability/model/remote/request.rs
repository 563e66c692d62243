//! A request as the wire formats' crate takes it: options and tools around the history. Knows
//! nothing of addresses, keys and answers.

use super::message::Teller;
use super::names::Names;
use crate::capability::model::config::Service;
use crate::capability::model::provider::{ModelError, ModelErrorKind, ModelRequest, ToolSpec};
use crate::session::Extra;
use genai::adapter::AdapterKind;
use genai::chat::{ChatOptions, ChatRequest, JsonSpec, ReasoningEffort, Tool, ToolChoice};
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
    service: Service,
    names: &Names,
    request: ModelRequest,
) -> Result<ChatRequest, ModelError> {
    let teller = Teller {
        kind,
        service,
        names,
        blobs: &request.blobs,
    };
    let messages = teller.messages(request.messages);
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

fn json(what: &str, text: &str) -> Result<Value, ModelError> {
    serde_json::from_str(text).map_err(|error| rejected(format!("{what} is not JSON: {error}")))
}

fn rejected(message: String) -> ModelError {
    ModelError::new(ModelErrorKind::Rejected, message)
}
