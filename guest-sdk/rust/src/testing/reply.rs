//! The replies of a test's model, and the requests that it received.

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
    /// Creates an empty answer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates an answer with a text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::new().and_text(text)
    }

    /// Creates an answer with a tool call, which gets an id of its own.
    pub fn call(name: impl Into<String>, arguments: &Value) -> Self {
        Self::new().and_call(name, arguments)
    }

    /// Creates the failure of a request that is refused before the answer begins.
    pub fn refused(error: Error) -> Self {
        Self {
            refusal: Some(error),
            ..Self::default()
        }
    }

    /// Adds text.
    #[must_use]
    pub fn and_text(self, text: impl Into<String>) -> Self {
        self.and(Event::Text(text.into()))
    }

    /// Adds a tool call.
    #[must_use]
    pub fn and_call(self, name: impl Into<String>, arguments: &Value) -> Self {
        self.and_raw_call(name, arguments.to_string())
    }

    /// Adds a tool call whose arguments need not be JSON.
    #[must_use]
    pub fn and_raw_call(mut self, name: impl Into<String>, arguments: impl Into<String>) -> Self {
        self.calls = true;
        self.and(Event::Part(Part::tool_call("", name, arguments)))
    }

    /// Adds a tool call that is cut off. The answer then ends with `max_tokens`, unless
    /// [`finish`](Self::finish) sets another reason.
    #[must_use]
    pub fn and_cut_call(mut self, name: impl Into<String>, arguments: impl Into<String>) -> Self {
        self.calls = true;
        self.finish.get_or_insert(FinishReason::MaxTokens);
        let mut part = Part::tool_call("", name, arguments);
        part.extra
            .push(("incomplete".to_owned(), "true".to_owned()));
        self.and(Event::Part(part))
    }

    /// Sets the tokens that the answer reports.
    #[must_use]
    pub fn usage(self, input_tokens: u64, output_tokens: u64) -> Self {
        self.and(Event::Usage(Usage {
            input_tokens,
            output_tokens,
            extra: Vec::new(),
        }))
    }

    /// Lets the answer break off with this error.
    #[must_use]
    pub fn and_fails(mut self, error: Error) -> Self {
        self.events.push_back(Err(error));
        self
    }

    /// Sets the reason for the answer's end, instead of `end_turn` or, after a call, `tool_use`.
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

/// A request, as the model received it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Asked {
    /// The system prompt.
    pub system: Option<String>,
    /// The conversation that the host put in front, and the messages that the agent added.
    pub messages: Vec<Input>,
    /// The names of the tools that the model was offered.
    pub tools: Vec<String>,
    /// Whether the model should call a tool, if the request says so.
    pub tool_choice: Option<ToolChoice>,
    /// The JSON Schema that the answer had to fit, if one was set.
    pub output_schema: Option<String>,
}

impl Asked {
    /// Returns the bytes of all text in the request: the system prompt, and the texts, calls and
    /// results of the messages.
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

    /// Returns the text of the last message and of the tool results in it.
    pub fn last_text(&self) -> String {
        let parts = self.messages.last().map_or(&[][..], |last| &last.parts);
        let texts = parts.iter().map(|part| match part.as_tool_result() {
            Some(result) => result.joined_text(),
            None => part.as_text().unwrap_or_default().to_owned(),
        });
        texts.collect()
    }
}
