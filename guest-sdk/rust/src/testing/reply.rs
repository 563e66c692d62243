//! What a test lets a model say, and what the model was asked.

use std::collections::VecDeque;

use serde_json::Value;

use crate::model::{Event, Input};
use crate::{Body, Error, FinishReason, Part, ToolChoice, Usage};

/// One answer of the model.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    pub(super) refusal: Option<Error>,
    pub(super) events: VecDeque<Result<Event, Error>>,
    pub(super) finish: Option<FinishReason>,
    pub(super) calls: bool,
}

impl Reply {
    /// An answer without words, to be added to.
    pub fn new() -> Self {
        Self::default()
    }

    /// Text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::new().and_text(text)
    }

    /// A tool call. It gets an id of its own.
    pub fn call(name: impl Into<String>, arguments: &Value) -> Self {
        Self::new().and_call(name, arguments)
    }

    /// A request that is refused, before anything was said.
    pub fn refused(error: Error) -> Self {
        Self {
            refusal: Some(error),
            ..Self::default()
        }
    }

    /// The same, and text.
    #[must_use]
    pub fn and_text(self, text: impl Into<String>) -> Self {
        self.and(Event::Text(text.into()))
    }

    /// The same, and a tool call.
    #[must_use]
    pub fn and_call(self, name: impl Into<String>, arguments: &Value) -> Self {
        self.and_raw_call(name, arguments.to_string())
    }

    /// The same, and a tool call whose arguments need not be JSON.
    #[must_use]
    pub fn and_raw_call(mut self, name: impl Into<String>, arguments: impl Into<String>) -> Self {
        self.calls = true;
        self.and(Event::Part(Part::tool_call("", name, arguments)))
    }

    /// The same, and a tool call that is cut off, which ends the answer with `max_tokens` unless
    /// [`finish`](Self::finish) says otherwise.
    #[must_use]
    pub fn and_cut_call(mut self, name: impl Into<String>, arguments: impl Into<String>) -> Self {
        self.calls = true;
        self.finish.get_or_insert(FinishReason::MaxTokens);
        let mut part = Part::tool_call("", name, arguments);
        part.extra
            .push(("incomplete".to_owned(), "true".to_owned()));
        self.and(Event::Part(part))
    }

    /// The same, and the tokens that it takes.
    #[must_use]
    pub fn usage(self, input_tokens: u64, output_tokens: u64) -> Self {
        self.and(Event::Usage(Usage {
            input_tokens,
            output_tokens,
            extra: Vec::new(),
        }))
    }

    /// The same, and it breaks off with this error.
    #[must_use]
    pub fn and_fails(mut self, error: Error) -> Self {
        self.events.push_back(Err(error));
        self
    }

    /// The same with this reason for its end, instead of `end_turn` or, after a call,
    /// `tool_use`.
    #[must_use]
    pub fn finish(mut self, reason: impl Into<FinishReason>) -> Self {
        self.finish = Some(reason.into());
        self
    }

    fn and(mut self, event: Event) -> Self {
        self.events.push_back(Ok(event));
        self
    }
}

/// What a model was asked, as it saw it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Asked {
    /// What it was told about its task.
    pub system: Option<String>,
    /// The conversation that the host put in front, and what the agent added.
    pub messages: Vec<Input>,
    /// The names of the tools that it might call.
    pub tools: Vec<String>,
    /// Whether it might call them.
    pub tool_choice: Option<ToolChoice>,
    /// The schema that its answer had to fit.
    pub output_schema: Option<String>,
}

impl Asked {
    /// Bytes of all its text: its task, and of its messages the text, the calls and the results.
    pub fn bytes(&self) -> usize {
        let parts = self.messages.iter().flat_map(|message| &message.parts);
        let parts = parts.map(|part| match &part.body {
            Body::Text(text) | Body::Reasoning(text) => text.len(),
            Body::ToolCall(call) => call.name.len() + call.arguments_json.len(),
            Body::ToolResult(result) => result.joined_text().len(),
            _ => 0,
        });
        self.system.as_ref().map_or(0, String::len) + parts.sum::<usize>()
    }

    /// The text of the last message, and of the results in it.
    pub fn last_text(&self) -> String {
        let parts = self.messages.last().map_or(&[][..], |last| &last.parts);
        let texts = parts.iter().map(|part| match part.as_tool_result() {
            Some(result) => result.joined_text(),
            None => part.as_text().unwrap_or_default().to_owned(),
        });
        texts.collect()
    }
}
