//! Conversions between the WIT package's types and the host's: parts, messages, bytes.

use super::failure::failure;
use lastword_sandbox::bindings::lastword::agent::types as wit;
use lastword_types::id::MessageId;
use lastword_types::session::{
    BlobId, Content, Extra, Message, Part, PartBody, Role, ToolCall, ToolResult,
};
use sha2::{Digest, Sha256};

/// The largest number of bytes in a data part.
pub(crate) const BLOB_BYTES_MAX: usize = 8 << 20;

/// Bytes that a part refers to, which are stored before the part.
pub(crate) type Blob = (BlobId, Vec<u8>);

/// Checks that a text from a guest is one JSON value.
///
/// # Errors
/// If it is not: the reason.
pub(crate) fn check_json(text: &str) -> Result<(), String> {
    let checked = serde_json::from_str::<serde::de::IgnoredAny>(text);
    checked.map(drop).map_err(|error| error.to_string())
}

pub(crate) fn extra_in(extra: Vec<(String, String)>) -> Extra {
    extra.into_iter().collect()
}

pub(crate) fn extra_out(extra: &Extra) -> Vec<(String, String)> {
    extra.iter().map(|(k, v)| (k.clone(), v.clone())).collect()
}

pub(crate) fn role_in(role: wit::Role) -> Role {
    match role {
        wit::Role::User => Role::User,
        wit::Role::Assistant => Role::Assistant,
        wit::Role::Tool => Role::Tool,
        wit::Role::System => Role::System,
    }
}

fn role_out(role: Role) -> wit::Role {
    match role {
        Role::User => wit::Role::User,
        Role::Assistant => wit::Role::Assistant,
        Role::Tool => wit::Role::Tool,
        Role::System => wit::Role::System,
    }
}

/// Parses a message id from a guest.
pub(crate) fn message_id(text: &str) -> Result<MessageId, wit::Failure> {
    text.parse()
        .map_err(|error: lastword_types::id::InvalidId| failure("invalid", error.to_string()))
}

/// Adds bytes to those to be stored, and returns their digest.
pub(crate) fn blob_of(bytes: Vec<u8>, stored: &mut Vec<Blob>) -> BlobId {
    let id = BlobId(format!("{:x}", Sha256::digest(&bytes)));
    stored.push((id.clone(), bytes));
    id
}

/// Adds the bytes of a blob to those to be stored. Returns their digest and their number.
fn blob_in(blob: wit::Blob, stored: &mut Vec<Blob>) -> Result<(BlobId, u64), wit::Failure> {
    match blob.source {
        wit::Source::Inline(bytes) if bytes.len() > BLOB_BYTES_MAX => Err(failure(
            "limit",
            format!("a data part holds at most {BLOB_BYTES_MAX} bytes"),
        )),
        wit::Source::Inline(bytes) => {
            let length = bytes.len() as u64;
            Ok((blob_of(bytes, stored), length))
        }
        wit::Source::Stored(id) => Ok((BlobId(id), 0)),
    }
}

fn blob_out(media_type: &str, name: Option<&String>, blob: &BlobId) -> wit::Blob {
    wit::Blob {
        media_type: media_type.to_owned(),
        name: name.cloned(),
        source: wit::Source::Stored(blob.0.clone()),
    }
}

/// Converts a tool call from a guest or a model. A call without an id gets a new one.
pub(crate) fn call_in(call: wit::ToolCall) -> ToolCall {
    let id = if call.id.is_empty() {
        format!("call_{}", MessageId::generate())
    } else {
        call.id
    };

    let finished = serde_json::from_str::<serde::de::IgnoredAny>(&call.arguments_json).is_ok();
    ToolCall {
        id,
        name: call.name,
        input: call.arguments_json,
        finished,
        started: false,
    }
}

pub(crate) fn result_in(
    result: wit::ToolResult,
    stored: &mut Vec<Blob>,
) -> Result<ToolResult, wit::Failure> {
    let content = result.content.into_iter().map(|content| {
        Ok(match content {
            wit::Content::Text(text) => Content::Text { text },
            wit::Content::Data(data) => {
                let (media_type, name) = (data.media_type.clone(), data.name.clone());
                let (blob, bytes) = blob_in(data, stored)?;
                Content::Data {
                    media_type,
                    name,
                    blob,
                    bytes,
                }
            }
            wit::Content::Other((kind, json)) => Content::Other { kind, json },
        })
    });
    Ok(ToolResult {
        call_id: result.call_id,
        name: String::new(),
        content: content.collect::<Result<_, wit::Failure>>()?,
        structured: result.structured_json,
        metadata: None,
        is_error: result.is_error,
    })
}

pub(crate) fn part_in(part: wit::Part, stored: &mut Vec<Blob>) -> Result<Part, wit::Failure> {
    let body = match part.body {
        wit::Body::Text(text) => PartBody::Text { text },
        wit::Body::Reasoning(text) => PartBody::Reasoning {
            text,
            started_ms: lastword_types::clock::UnixMillis(0),
            ended_ms: None,
        },
        wit::Body::ToolCall(call) => PartBody::ToolCall(call_in(call)),
        wit::Body::ToolResult(result) => PartBody::ToolResult(result_in(result, stored)?),
        wit::Body::Data(data) => {
            let (media_type, name) = (data.media_type.clone(), data.name.clone());
            let (blob, bytes) = blob_in(data, stored)?;
            PartBody::Data {
                media_type,
                name,
                blob,
                bytes,
            }
        }
        wit::Body::Other((kind, json)) => PartBody::Other { kind, json },
    };

    Ok(Part {
        body,
        extra: extra_in(part.extra),
    })
}

pub(crate) fn result_out(result: &ToolResult) -> wit::ToolResult {
    let content = result.content.iter().map(|content| match content {
        Content::Text { text } => wit::Content::Text(text.clone()),
        Content::Data {
            media_type,
            name,
            blob,
            ..
        } => wit::Content::Data(blob_out(media_type, name.as_ref(), blob)),
        Content::Other { kind, json } => wit::Content::Other((kind.clone(), json.clone())),
    });
    wit::ToolResult {
        call_id: result.call_id.clone(),
        content: content.collect(),
        structured_json: result.structured.clone(),
        is_error: result.is_error,
    }
}

/// Converts a part for a guest. Returns `None` for parts that are only meant for people.
pub(crate) fn part_out(part: &Part) -> Option<wit::Part> {
    let body = match &part.body {
        PartBody::Text { text } => wit::Body::Text(text.clone()),
        PartBody::Reasoning { text, .. } => wit::Body::Reasoning(text.clone()),
        PartBody::ToolCall(call) => wit::Body::ToolCall(wit::ToolCall {
            id: call.id.clone(),
            name: call.name.clone(),
            arguments_json: call.input.clone(),
        }),
        PartBody::ToolResult(result) => wit::Body::ToolResult(result_out(result)),
        PartBody::Data {
            media_type,
            name,
            blob,
            ..
        } => wit::Body::Data(blob_out(media_type, name.as_ref(), blob)),
        PartBody::Finish { .. } => return None,
        PartBody::Other { kind, json } => wit::Body::Other((kind.clone(), json.clone())),
    };

    let mut extra = extra_out(&part.extra);
    if matches!(&part.body, PartBody::ToolCall(call) if !call.finished) {
        // Its arguments may be valid all the same, or none.
        extra.push(("incomplete".to_owned(), "true".to_owned()));
    }

    Some(wit::Part { body, extra })
}

pub(crate) fn message_out(message: &Message) -> wit::Message {
    wit::Message {
        id: message.id.to_string(),
        role: role_out(message.role),
        parts: message.parts.iter().filter_map(part_out).collect(),
        finish: message.finish.map(|finish| finish.as_str().to_owned()),
        created_ms: message.created_ms.0,
        extra: extra_out(&message.extra),
    }
}

/// Converts a part of an epilogue. Returns `None` for a part that is not text.
pub(crate) fn words_in(part: wit::Part) -> Option<Part> {
    let mut blobs = Vec::new();
    let part = part_in(part, &mut blobs).ok()?;
    let words = matches!(part.body, PartBody::Text { .. } | PartBody::Other { .. });
    words.then_some(part)
}
