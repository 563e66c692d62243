//! An answer as it streams in: the crate's events in, ours out. Knows when an answer is
//! whole; what went wrong otherwise, it has others describe.
//!
//! The crate reports an end where there was none: for Gemini also when the connection merely
//! closed. Every wire format here names a reason at its end, so an end without a reason is a
//! broken connection, like no end at all.

use super::failure::Failures;
use super::names::Names;
use super::thoughts::{self, Thought};
use crate::capability::model::provider::{ModelError, ModelEvent, ModelStream};
use crate::session::{Extra, Part, PartBody, ToolCall, Usage};
use futures_util::stream::{self, StreamExt};
use genai::adapter::AdapterKind;
use genai::chat::{ChatStream, ChatStreamEvent, ContentPart, StopReason, StreamEnd};
use serde_json::Value;
use std::collections::VecDeque;
use tracing::Dispatch;
use tracing::instrument::WithSubscriber as _;

/// An answer in progress.
pub(super) struct Answer {
    kind: AdapterKind,
    names: Names,
    failures: Failures,
    stream: Option<ChatStream>,
    ready: VecDeque<ModelEvent>,
    /// Whether anything at all came from the server.
    begun: bool,
}

impl Answer {
    pub(super) fn new(
        kind: AdapterKind,
        stream: ChatStream,
        names: Names,
        failures: Failures,
    ) -> Self {
        Self {
            kind,
            names,
            failures,
            stream: Some(stream),
            ready: VecDeque::new(),
            begun: false,
        }
    }

    /// The events; dropping them closes the connection, and so does their end.
    pub(super) fn events(self) -> ModelStream {
        stream::unfold(self, |mut answer| async move {
            let item = answer.next().await?;
            Some((item, answer))
        })
        .boxed()
    }

    async fn next(&mut self) -> Option<Result<ModelEvent, ModelError>> {
        if let Some(event) = self.ready.pop_front() {
            return Some(Ok(event));
        }
        let event = loop {
            // The crate logs what a server answers, which may quote the key.
            let next = self.stream.as_mut()?.next();
            match next.with_subscriber(Dispatch::none()).await {
                // Said before the connection is even made.
                Some(Ok(ChatStreamEvent::Start)) => {}
                Some(Ok(event)) => break event,
                Some(Err(error)) => {
                    self.stream = None;
                    return Some(Err(self.failures.describe(&error)));
                }
                None => {
                    self.stream = None;
                    return Some(Err(self.failures.broken_off(self.begun)));
                }
            }
        };
        let begun = std::mem::replace(&mut self.begun, true);
        Some(Ok(match event {
            ChatStreamEvent::Chunk(chunk) => ModelEvent::Text(chunk.content),
            ChatStreamEvent::ReasoningChunk(chunk) => ModelEvent::Reasoning(chunk.content),
            // Calls and signatures are delivered whole, at the end; until then their pieces
            // only show that the server is alive.
            ChatStreamEvent::ToolCallChunk(_)
            | ChatStreamEvent::ThoughtSignatureChunk(_)
            | ChatStreamEvent::Heartbeat
            | ChatStreamEvent::Start => ModelEvent::Text(String::new()),
            ChatStreamEvent::End(end) => {
                self.stream = None;
                if end.captured_stop_reason.is_none() {
                    return Some(Err(self.failures.broken_off(begun)));
                }
                self.end(end);
                return self.ready.pop_front().map(Ok);
            }
        }))
    }

    /// Queues what is known only at the end.
    fn end(&mut self, end: StreamEnd) {
        let parts = end.captured_content.map(|content| content.into_parts());
        let calls = tool_calls(self.kind, &self.names, parts.unwrap_or_default());
        let reason = finish_reason(end.captured_stop_reason, !calls.is_empty());
        self.ready.extend(calls.into_iter().map(ModelEvent::Part));
        let count = |tokens: Option<i32>| u64::try_from(tokens.unwrap_or(0)).unwrap_or(0);
        let usage = end.captured_usage.map(|usage| Usage {
            input_tokens: count(usage.prompt_tokens),
            output_tokens: count(usage.completion_tokens),
            ..Usage::default()
        });
        // Zeros mean that the server did not count.
        let usage = usage.filter(|usage| *usage != Usage::default());
        self.ready.extend(usage.map(ModelEvent::Usage));
        self.ready.push_back(ModelEvent::Finish(reason));
    }
}

/// The calls among the captured parts, with the thoughts that belong to them.
fn tool_calls(kind: AdapterKind, names: &Names, parts: Vec<ContentPart>) -> Vec<Part> {
    let mut leading: Vec<Thought> = Vec::new();
    let mut calls = Vec::new();
    for part in parts {
        if let Some(thought) = Thought::from_part(&part) {
            leading.push(thought);
        }
        let ContentPart::ToolCall(call) = part else {
            continue;
        };
        let kept = match kind {
            AdapterKind::Gemini => {
                let own = call.thought_signatures.clone().unwrap_or_default();
                own.into_iter().map(Thought::Signature).collect()
            }
            _ => std::mem::take(&mut leading),
        };
        let mut extra = Extra::new();
        thoughts::keep(kind, kept, &mut extra);
        let body = PartBody::ToolCall(tool_call(names, call));
        calls.push(Part { body, extra });
    }
    calls
}

fn tool_call(names: &Names, call: genai::chat::ToolCall) -> ToolCall {
    let input = match call.fn_arguments {
        // Arguments that are no JSON come as they were; none at all mean none.
        Value::String(text) if text.trim().is_empty() => "{}".to_owned(),
        Value::String(text) => text,
        Value::Null => "{}".to_owned(),
        arguments => arguments.to_string(),
    };
    let finished = serde_json::from_str::<serde::de::IgnoredAny>(&input).is_ok();
    ToolCall {
        id: call_id(call.call_id),
        name: names.original(call.fn_name),
        input,
        finished,
        started: false,
    }
}

/// The provider's id, unless the crate made one up, which is not unique within a session.
fn call_id(id: String) -> String {
    let counted = id
        .strip_prefix("call_")
        .is_some_and(|n| n.parse::<u32>().is_ok());
    if id.is_empty() || counted || id.starts_with("call#") {
        return format!("call_{}", uuid::Uuid::now_v7().simple());
    }
    id
}

fn finish_reason(reason: Option<StopReason>, calls: bool) -> String {
    let word = match reason {
        // Some servers call a turn that ends in calls complete.
        Some(StopReason::ToolCall(_)) => "tool_use",
        Some(StopReason::Completed(_) | StopReason::StopSequence(_)) if calls => "tool_use",
        Some(StopReason::Completed(_) | StopReason::StopSequence(_)) => "end_turn",
        Some(StopReason::MaxTokens(_)) => "max_tokens",
        Some(StopReason::ContentFilter(_)) => "content_filter",
        Some(StopReason::Other(word)) if calls && word == "FUNCTION_CALL" => "tool_use",
        Some(StopReason::Other(word)) => return word,
        None => "unknown",
    };
    word.to_owned()
}
