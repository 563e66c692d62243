//! The history as the wire formats' crate takes it: messages, calls, results, bytes. Knows
//! nothing of options and answers.
//!
//! No wire format of the crate's has room for bytes in a tool's result: they follow it as a
//! message of the user's, once all results are told, and the result says so.

use super::media;
use super::names::Names;
use super::thoughts::{self, Thought};
use crate::capability::model::config::Service;
use crate::capability::model::provider::{Blobs, ModelMessage};
use crate::session::{BlobId, Content, Part, PartBody, Role, ToolCall, ToolResult};
use genai::adapter::AdapterKind;
use genai::chat::{ChatMessage, ChatRole, ContentPart, MessageContent, ToolResponse};
use serde_json::{Map, Value};

/// What there is to know for telling a history.
pub(super) struct Teller<'a> {
    pub(super) kind: AdapterKind,
    pub(super) service: Service,
    pub(super) names: &'a Names,
    pub(super) blobs: &'a Blobs,
}

impl Teller<'_> {
    /// The messages, without those that hold nothing for the model.
    pub(super) fn messages(&self, messages: Vec<ModelMessage>) -> Vec<ChatMessage> {
        let mut told = Vec::new();
        let mut following = Vec::new();
        for message in messages {
            // Nothing may stand between the results of one step.
            if message.role != Role::Tool {
                told.extend(bytes_of_results(&mut following));
            }
            told.extend(self.message(message, &mut following));
        }
        told.extend(bytes_of_results(&mut following));
        told
    }

    /// A message, unless nothing of it is for the model, and what shall follow it.
    fn message(
        &self,
        message: ModelMessage,
        following: &mut Vec<ContentPart>,
    ) -> Option<ChatMessage> {
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
                    call.name = self.names.wire(call.name);
                    let kept = thoughts::recall(self.kind, &extra);
                    let (call, lead) = tool_call(self.kind, call, kept);
                    if let Some(lead) = lead {
                        leading = lead;
                    }
                    parts.push(ContentPart::ToolCall(call));
                }
                PartBody::ToolResult(result) => {
                    parts.push(self.tool_response(result, following).into());
                }
                PartBody::Data {
                    media_type,
                    name,
                    blob,
                    bytes,
                } => parts.push(match self.bytes(&media_type, &blob) {
                    Some(found) if message.role == Role::User => {
                        media::part(&media_type, name, found)
                    }
                    _ => ContentPart::Text(file_line(&media_type, name.as_deref(), bytes)),
                }),
                _ => {}
            }
        }
        if parts.is_empty() {
            return None;
        }
        let calls = |part: &ContentPart| matches!(part, ContentPart::ToolCall(_));
        if !parts.iter().any(calls) {
            // Reasoning matters to a model while it waits for its tools; afterwards some
            // servers refuse to be reminded of it.
            leading.clear();
        }
        let leading = leading
            .into_iter()
            .map(|thought| thought.into_part(self.kind));
        let parts: Vec<ContentPart> = leading.chain(parts).collect();
        let content = MessageContent::from_parts(parts);
        Some(ChatMessage::new(role(message.role), content))
    }

    /// The bytes of a part, if they are there and the service takes them.
    fn bytes(&self, media_type: &str, blob: &BlobId) -> Option<&[u8]> {
        let bytes = self.blobs.get(blob)?;
        media::takes(self.service, media_type).then_some(bytes)
    }

    fn tool_response(&self, result: ToolResult, following: &mut Vec<ContentPart>) -> ToolResponse {
        let tool = self.names.wire(result.name);
        let mut lines = Vec::new();
        for content in result.content {
            match content {
                Content::Text { text } => lines.push(text),
                Content::Data {
                    media_type,
                    name,
                    blob,
                    bytes,
                } => match self.bytes(&media_type, &blob) {
                    Some(found) => {
                        let file = name.as_deref().unwrap_or("unnamed");
                        lines.push(format!("[file {file}: {media_type}, shown below]"));
                        let line = format!("[file {file}, from the result of `{tool}`]");
                        following.push(ContentPart::Text(line));
                        following.push(media::part(&media_type, name, found));
                    }
                    None => lines.push(file_line(&media_type, name.as_deref(), bytes)),
                },
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
        ToolResponse::new(result.call_id, text).with_fn_name(tool)
    }
}

fn role(role: Role) -> ChatRole {
    match role {
        Role::User => ChatRole::User,
        Role::Assistant => ChatRole::Assistant,
        Role::Tool => ChatRole::Tool,
        Role::System => ChatRole::System,
    }
}

/// The message with the bytes of the results before it, if they had any.
fn bytes_of_results(following: &mut Vec<ContentPart>) -> Option<ChatMessage> {
    let parts = std::mem::take(following);
    let content = (!parts.is_empty()).then(|| MessageContent::from_parts(parts))?;
    Some(ChatMessage::new(ChatRole::User, content))
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

fn file_line(media_type: &str, name: Option<&str>, bytes: u64) -> String {
    let name = name.unwrap_or("unnamed");
    format!("[file {name}: {media_type}, {bytes} bytes, not shown]")
}
