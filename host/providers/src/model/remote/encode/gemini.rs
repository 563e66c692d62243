//! Encodes a request for Gemini's generated content: <https://ai.google.dev/api/generate-content>.
//! Pure.

use super::{Data, Effort, Encoded, Source, arguments, overlay, source_line};
use crate::model::provider::{ModelError, ModelMessage, ToolChoice, bare};
use crate::model::remote::media::base64;
use crate::model::remote::thoughts::{self, Thought};
use lastword_types::session::{Part, PartBody, Role, ToolResult};
use serde_json::{Map, Value, json};

/// The signature of a call that has none, such as another model's:
/// <https://ai.google.dev/gemini-api/docs/thought-signatures>.
const NO_SIGNATURE: &str = "skip_thought_signature_validator";

pub(super) fn encode(source: &Source<'_>) -> Result<Encoded, ModelError> {
    let request = source.request;
    let mut system: Vec<&str> = source.system().into_iter().collect();
    let encoded = request
        .messages
        .iter()
        .filter(|message| message.role == Role::System);

    system.extend(
        encoded
            .flat_map(|message| &message.parts)
            .filter_map(Part::as_text),
    );

    let mut contents: Vec<Value> = Vec::new();
    source.with_data_after_results(
        &mut contents,
        |message, behind| {
            encode_message(source, message, behind)
                .into_iter()
                .collect()
        },
        |waiting| {
            let parts = waiting
                .iter()
                .flat_map(|(tool, data)| [json!({"text": source_line(data, tool)}), part(data)]);
            json!({"role": "user", "parts": parts.collect::<Vec<_>>()})
        },
    );

    let mut body = Map::new();
    body.insert("contents".to_owned(), Value::Array(joined(contents)));

    if !system.is_empty() {
        let system = json!({"parts": [{"text": system.join("\n\n")}]});
        body.insert("systemInstruction".to_owned(), system);
    }

    if !request.tools.is_empty() {
        body.insert("tools".to_owned(), tools(source)?);
    }

    if let Some(choice) = &request.tool_choice {
        let config = match choice {
            ToolChoice::Auto => json!({"mode": "AUTO"}),
            ToolChoice::None => json!({"mode": "NONE"}),
            ToolChoice::Required => json!({"mode": "ANY"}),
            ToolChoice::Tool(name) => {
                let name = source.names.wire(name.to_owned());
                json!({"mode": "ANY", "allowedFunctionNames": [name]})
            }
        };

        body.insert(
            "toolConfig".to_owned(),
            json!({"functionCallingConfig": config}),
        );
    }

    let config = config(source)?;
    if !config.is_empty() {
        body.insert("generationConfig".to_owned(), Value::Object(config));
    }

    overlay(&mut body, &source.extra);
    let path = format!("models/{}:streamGenerateContent", source.target.model);
    Ok(Encoded {
        query: Some("alt=sse"),
        ..Encoded::new(&path, body)
    })
}

fn config(source: &Source<'_>) -> Result<Map<String, Value>, ModelError> {
    let request = source.request;
    let mut config = Map::new();

    if let Some(tokens) = request.max_output_tokens {
        config.insert("maxOutputTokens".to_owned(), json!(tokens));
    }

    if let Some(temperature) = source.temperature() {
        config.insert("temperature".to_owned(), json!(temperature));
    }

    if !request.stop.is_empty() {
        config.insert("stopSequences".to_owned(), json!(request.stop));
    }

    if let Some(schema) = source.output_schema()? {
        config.insert("responseMimeType".to_owned(), json!("application/json"));
        config.insert("responseJsonSchema".to_owned(), schema);
    }

    let thinking = thinking(source);
    if !thinking.is_empty() {
        config.insert("thinkingConfig".to_owned(), Value::Object(thinking));
    }

    Ok(config)
}

/// The thinking effort, and whether thoughts are included, which older models refuse.
fn thinking(source: &Source<'_>) -> Map<String, Value> {
    let model = source.target.model;
    let mut thinking = Map::new();
    let old = ["gemini-1", "gemini-2.0", "gemma"];

    if !old.iter().any(|name| model.contains(name)) {
        thinking.insert("includeThoughts".to_owned(), json!(true));
    }

    // Gemini 3 takes words, its predecessors tokens.
    let budget = |tokens: u32| ("thinkingBudget", json!(tokens));
    let by_words = model.contains("gemini-3");

    let (key, value) = match &source.effort {
        None => return thinking,
        Some(Effort::Tokens(tokens)) => budget(*tokens),
        Some(Effort::Word(word)) if by_words => match word.as_str() {
            "none" | "minimal" | "low" => ("thinkingLevel", json!("low")),
            "medium" => ("thinkingLevel", json!("medium")),
            _ => ("thinkingLevel", json!("high")),
        },
        Some(Effort::Word(word)) => budget(match word.as_str() {
            "none" => 0,
            "minimal" | "low" => 1_024,
            "medium" => 8_000,
            _ => 24_000,
        }),
    };

    thinking.insert(key.to_owned(), value);
    thinking
}

fn tools(source: &Source<'_>) -> Result<Value, ModelError> {
    let tools = source.request.tools.iter().map(|spec| {
        let mut tool = json!({"name": source.names.wire(spec.name.clone())});
        if !spec.description.is_empty() {
            tool["description"] = json!(spec.description);
        }
        if !spec.parameters.trim().is_empty() {
            tool["parametersJsonSchema"] = Source::parameters(spec)?;
        }
        Ok(tool)
    });
    let tools: Vec<Value> = tools.collect::<Result<_, ModelError>>()?;
    Ok(json!([{"functionDeclarations": tools}]))
}

fn encode_message<'a>(
    source: &Source<'a>,
    message: &'a ModelMessage,
    behind: &mut Vec<(String, Data<'a>)>,
) -> Option<Value> {
    if message.role == Role::System {
        return None;
    }

    let mut parts = Vec::new();
    for part in &message.parts {
        match (&part.body, source.data(message.role, &part.body)) {
            (PartBody::Text { text }, _) if !text.is_empty() => parts.push(json!({"text": text})),
            (PartBody::ToolCall(_), _) if message.role == Role::Assistant => {
                let first = !parts
                    .iter()
                    .any(|part: &Value| part.get("functionCall").is_some());
                parts.extend(call(source, part, first));
            }
            (PartBody::ToolResult(result), _) => {
                let outcome = source.outcome(result, "below");
                let tool = source.names.wire(result.name.clone());
                behind.extend(outcome.data.into_iter().map(|data| (tool.clone(), data)));
                parts.push(response(source, result, &tool, &outcome.text));
            }
            (_, Some(Ok(data))) => parts.push(self::part(&data)),
            (_, Some(Err(line))) => parts.push(json!({"text": line})),
            _ => {}
        }
    }

    let role = match message.role {
        Role::Assistant => "model",
        Role::User | Role::Tool | Role::System => "user",
    };
    (!parts.is_empty()).then(|| json!({"role": role, "parts": parts}))
}

/// A call with its signature, without which Gemini 3 refuses a step's first call.
fn call(source: &Source<'_>, part: &Part, first: bool) -> Option<Value> {
    let PartBody::ToolCall(call) = &part.body else {
        return None;
    };
    let name = source.names.wire(call.name.clone());
    let mut encoded = json!({"functionCall": {"name": name, "args": arguments(&call.input)}});
    let mut signature = None;

    for thought in thoughts::load(source.target.service, &part.extra) {
        match thought {
            Thought::Signature(text) => signature = Some(text),
            Thought::Custom(Value::Object(own)) => {
                if let Some(id) = own.get("id") {
                    encoded["functionCall"]["id"] = id.clone();
                }
            }
            Thought::Reasoning(_) | Thought::Custom(_) => {}
        }
    }

    if signature.is_none() && first && source.target.model.contains("gemini-3") {
        signature = Some(NO_SIGNATURE.to_owned());
    }

    if let Some(signature) = signature {
        encoded["thoughtSignature"] = json!(signature);
    }

    Some(encoded)
}

fn response(source: &Source<'_>, result: &ToolResult, tool: &str, text: &str) -> Value {
    let key = if result.is_error { "error" } else { "result" };
    let mut response = json!({"name": tool, "response": {key: text}});

    // The service only knows ids that it gave.
    let calls = source
        .request
        .messages
        .iter()
        .flat_map(|message| &message.parts);

    let own = calls.into_iter().find_map(|part| match &part.body {
        PartBody::ToolCall(call) if call.id == result.call_id => {
            let thoughts = thoughts::load(source.target.service, &part.extra);
            thoughts.into_iter().find_map(|thought| match thought {
                Thought::Custom(Value::Object(mut own)) => own.remove("id"),
                _ => None,
            })
        }
        _ => None,
    });

    if let Some(id) = own {
        response["id"] = id;
    }

    json!({"functionResponse": response})
}

/// Joins adjacent contents of one role: all results of a step belong together.
fn joined(contents: Vec<Value>) -> Vec<Value> {
    let mut joined: Vec<Value> = Vec::new();
    let is_response = |part: &Value| part.get("functionResponse").is_some();

    for mut content in contents {
        let responses = |content: &Value| {
            let parts = content["parts"].as_array();
            parts.is_some_and(|parts| parts.iter().all(is_response))
        };

        match (joined.last_mut(), content["parts"].as_array_mut()) {
            (Some(last), Some(parts)) if responses(last) && parts.iter().all(is_response) => {
                if let Some(before) = last["parts"].as_array_mut() {
                    before.append(parts);
                }
            }
            _ => joined.push(content),
        }
    }

    joined
}

fn part(data: &Data<'_>) -> Value {
    json!({
        "inline_data": {"mime_type": bare(data.media_type), "data": base64(data.bytes)},
    })
}
