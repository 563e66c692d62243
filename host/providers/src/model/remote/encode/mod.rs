//! Encodes requests: one file for each wire format builds the body by the service's own
//! documentation. Pure; `super::adapter` sends it.
//!
//! This file has what all four share: which bytes a service accepts, the text of a result, and what
//! an agent may add through `extra`.

mod anthropic;
mod gemini;
mod ollama;
mod openai;

#[cfg(test)]
mod tests;

use super::media;
use super::names::Names;
use crate::model::endpoint::Service;
use crate::model::provider::{
    Blobs, ModelError, ModelErrorKind, ModelMessage, ModelRequest, ToolSpec,
};
use lastword_types::session::{BlobId, Content, Extra, PartBody, Role, ToolResult};
use serde_json::{Map, Value, json};

/// Names in `extra` that an agent may not set, since they would change which model responds and
/// how.
const RESERVED: [&str; 4] = ["model", "models", "stream", "n"];

/// A name in `extra` that each wire format encodes in its own way: the thinking effort.
const REASONING_EFFORT: &str = "reasoning_effort";

/// An encoded request: the path segments below the base URL, the query and the body.
pub(super) struct Encoded {
    pub(super) path: Vec<String>,
    pub(super) query: Option<&'static str>,
    pub(super) body: Value,
}

impl Encoded {
    fn new(path: &str, body: Map<String, Value>) -> Self {
        Self {
            path: path.split('/').map(str::to_owned).collect(),
            query: None,
            body: Value::Object(body),
        }
    }
}

/// The API that a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    pub(super) service: Service,
    /// The model's name at the service.
    pub(super) model: &'a str,
    /// Whether Ollama is used in `OpenAI`'s format.
    pub(super) compatible: bool,
    /// The model's context window, if it is known.
    pub(super) window: Option<u32>,
}

/// The inputs of an encoder.
struct Source<'a> {
    target: Target<'a>,
    request: &'a ModelRequest,
    names: &'a Names,
    extra: Map<String, Value>,
    effort: Option<Effort>,
}

/// How hard a model is to think.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Effort {
    /// In the service's words: `low`, `medium`, `high`, `none` and others.
    Word(String),
    /// In tokens.
    Tokens(u32),
}

/// Encodes a request.
///
/// # Errors
///
/// [`ModelErrorKind::Rejected`] for invalid JSON, and for members of `extra` that may not be set.
pub(super) fn encode(
    target: Target<'_>,
    names: &Names,
    request: &ModelRequest,
) -> Result<Encoded, ModelError> {
    let source = Source {
        target,
        request,
        names,
        extra: extra(&request.extra)?,
        effort: effort(&request.extra)?,
    };

    match target.service {
        Service::OpenAi => openai::encode(&source),
        Service::Ollama if target.compatible => openai::encode(&source),
        Service::Ollama => ollama::encode(&source),
        Service::Anthropic => anthropic::encode(&source),
        Service::Gemini => gemini::encode(&source),
    }
}

/// A tool's result, for a wire format.
struct EncodedResult<'a> {
    /// Its text, with a line for each data part that cannot be sent.
    text: String,
    /// The data parts that the service accepts.
    data: Vec<Data<'a>>,
}

/// Bytes that are sent to a service.
struct Data<'a> {
    media_type: &'a str,
    name: Option<&'a str>,
    bytes: &'a [u8],
}

impl<'a> Source<'a> {
    /// The system text, unless it is empty.
    fn system(&self) -> Option<&'a str> {
        let system = self.request.system.as_deref();
        system.filter(|system| !system.is_empty())
    }

    /// The bytes of a part, if they are loaded and the service accepts them.
    fn bytes(&self, media_type: &str, blob: &BlobId) -> Option<&'a [u8]> {
        let blobs: &'a Blobs = &self.request.blobs;
        let bytes = blobs.get(blob)?;
        media::takes(self.target.service, media_type).then_some(&**bytes)
    }

    /// A data part: its bytes, or a line in their place. No service accepts data parts of a model's
    /// own messages.
    fn data(&self, role: Role, part: &'a PartBody) -> Option<Result<Data<'a>, String>> {
        let PartBody::Data {
            media_type,
            name,
            blob,
            bytes,
        } = part
        else {
            return None;
        };

        let name = name.as_deref();
        let found = self.bytes(media_type, blob).filter(|_| role == Role::User);

        Some(match found {
            Some(bytes) => Ok(Data {
                media_type,
                name,
                bytes,
            }),
            None => Err(file_line(media_type, name, *bytes)),
        })
    }

    /// The result of a call. `shown` says where its bytes are, for the line in their place.
    fn outcome(&self, result: &'a ToolResult, shown: &str) -> EncodedResult<'a> {
        let mut lines = Vec::new();
        let mut data = Vec::new();

        for content in &result.content {
            match content {
                Content::Text { text } => lines.push(text.clone()),
                Content::Data {
                    media_type,
                    name,
                    blob,
                    bytes,
                } => match self.bytes(media_type, blob) {
                    Some(found) => {
                        let file = name.as_deref().unwrap_or("unnamed");
                        lines.push(format!("[file {file}: {media_type}, shown {shown}]"));
                        data.push(Data {
                            media_type,
                            name: name.as_deref(),
                            bytes: found,
                        });
                    }
                    None => lines.push(file_line(media_type, name.as_deref(), *bytes)),
                },
                Content::Other { json, .. } => lines.push(json.clone()),
            }
        }

        if lines.is_empty() {
            lines.extend(result.structured.clone());
        }

        EncodedResult {
            text: lines.join("\n"),
            data,
        }
    }

    /// The schema of the response, if one is asked for.
    fn output_schema(&self) -> Result<Option<Value>, ModelError> {
        let schema = self.request.output_schema.as_deref();
        schema
            .map(|text| json("the output schema", text))
            .transpose()
    }

    /// The schema of a tool's arguments.
    fn parameters(spec: &ToolSpec) -> Result<Value, ModelError> {
        match spec.parameters.trim() {
            "" => Ok(json!({ "type": "object", "properties": {} })),
            text => json(&format!("the parameters of the tool `{}`", spec.name), text),
        }
    }

    /// Converted through text, since 0.7 would become 0.699999988079071.
    fn temperature(&self) -> Option<f64> {
        let temperature = self.request.temperature?;
        temperature.to_string().parse().ok()
    }

    /// The messages, with the bytes of tools' results in user messages after all results of a step,
    /// for wire formats whose results cannot hold bytes.
    fn with_data_after_results<T>(
        &self,
        encoded: &mut Vec<T>,
        mut encode_message: impl FnMut(&'a ModelMessage, &mut Vec<(String, Data<'a>)>) -> Vec<T>,
        behind: impl Fn(Vec<(String, Data<'a>)>) -> T,
    ) {
        let mut waiting = Vec::new();

        for message in &self.request.messages {
            // Nothing may stand between the results of one step.
            if message.role != Role::Tool && !waiting.is_empty() {
                encoded.push(behind(std::mem::take(&mut waiting)));
            }
            encoded.extend(encode_message(message, &mut waiting));
        }

        if !waiting.is_empty() {
            encoded.push(behind(waiting));
        }
    }
}

/// Adds an agent's `extra` to a body. Objects are merged.
fn overlay(body: &mut Map<String, Value>, extra: &Map<String, Value>) {
    for (key, value) in extra {
        match (body.get_mut(key), value) {
            (Some(Value::Object(own)), Value::Object(added)) => overlay(own, added),
            _ => {
                body.insert(key.clone(), value.clone());
            }
        }
    }
}

/// Invalid arguments of a model are sent back as an object that quotes them: every wire format
/// demands an object.
fn arguments(input: &str) -> Value {
    match serde_json::from_str(input) {
        Ok(Value::Object(object)) => Value::Object(object),
        Ok(Value::Null) => json!({}),
        Err(_) if input.trim().is_empty() => json!({}),
        Ok(_) | Err(_) => json!({ "invalid_arguments": input }),
    }
}

/// Marks a failed result in its text, where the wire format has no flag for it.
fn mark_error(text: String, is_error: bool) -> String {
    if is_error && !text.to_lowercase().starts_with("error") {
        return format!("Error: {text}");
    }
    text
}

/// A line that says which tool the bytes are from.
fn source_line(data: &Data<'_>, tool: &str) -> String {
    let file = data.name.unwrap_or("unnamed");
    format!("[file {file}, from the result of `{tool}`]")
}

fn file_line(media_type: &str, name: Option<&str>, bytes: u64) -> String {
    let name = name.unwrap_or("unnamed");
    format!("[file {name}: {media_type}, {bytes} bytes, not shown]")
}

fn effort(extra: &Extra) -> Result<Option<Effort>, ModelError> {
    let Some(word) = extra.get(REASONING_EFFORT) else {
        return Ok(None);
    };
    let word = word.trim().trim_matches('"');
    if let Ok(tokens) = word.parse() {
        return Ok(Some(Effort::Tokens(tokens)));
    }

    let known = ["none", "minimal", "low", "medium", "high", "xhigh", "max"];
    if !known.contains(&word) {
        return Err(rejected(format!(
            "`{word}` is no {REASONING_EFFORT}: expected {} or a number of tokens",
            known.join(", ")
        )));
    }

    Ok(Some(Effort::Word(word.to_owned())))
}

fn extra(extra: &Extra) -> Result<Map<String, Value>, ModelError> {
    let mut body = Map::new();
    for (name, text) in extra.iter().filter(|(name, _)| *name != REASONING_EFFORT) {
        if RESERVED.contains(&name.as_str()) {
            return Err(rejected(format!("`{name}` cannot be set through `extra`")));
        }
        body.insert(name.clone(), json(&format!("`{name}` of `extra`"), text)?);
    }
    Ok(body)
}

fn json(what: &str, text: &str) -> Result<Value, ModelError> {
    serde_json::from_str(text).map_err(|error| rejected(format!("{what} is not JSON: {error}")))
}

fn rejected(message: String) -> ModelError {
    ModelError::new(ModelErrorKind::Rejected, message)
}
