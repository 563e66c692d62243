//! The conversation of a host for tests, with the rules of a real one.

use crate::bindings::types::Failure;
use crate::model::Input;
use crate::run_tools::SUMMARISED_AS;
use crate::{Body, Code, Error, Message, Part, Role, ToolCall, ToolResult};

/// A conversation.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    pub(super) messages: Vec<Message>,
    /// Each summary: its text, and the id of the last message that it replaces.
    pub(super) summaries: Vec<(String, String)>,
    /// The index of the assistant's open message, if one is open.
    open: Option<usize>,
    ids: u64,
}

impl Conversation {
    /// Adds a finished message.
    pub(super) fn add(&mut self, role: Role, parts: Vec<Part>) {
        self.open = None;
        self.begin(role, parts);
    }

    fn begin(&mut self, role: Role, parts: Vec<Part>) -> usize {
        let id = format!("message-{}", self.messages.len() + 1);
        self.messages.push(Message {
            id,
            role,
            parts,
            finish: None,
            created_ms: self.messages.len() as u64,
            extra: Vec::new(),
        });
        self.messages.len() - 1
    }

    fn calls(&self) -> impl Iterator<Item = &ToolCall> {
        let open = self.open.map_or(&[][..], |at| &self.messages[at].parts);
        open.iter().filter_map(Part::as_tool_call)
    }

    fn has_result(&self, call: &str) -> bool {
        let behind = self.open.map_or(&[][..], |at| &self.messages[at + 1..]);
        let parts = behind.iter().flat_map(|message| &message.parts);
        let mut results = parts.filter_map(Part::as_tool_result);
        results.any(|result| result.call_id == call)
    }

    /// Returns the assistant's message that takes the next part. A step in which every call has its
    /// result is over, and a new message begins.
    fn assistant(&mut self) -> &mut Vec<Part> {
        let at = match self.open {
            Some(at) if at + 1 == self.messages.len() => at,
            Some(at) if !self.calls().all(|call| self.has_result(&call.id)) => at,
            _ => self.begin(Role::Assistant, Vec::new()),
        };
        self.open = Some(at);
        &mut self.messages[at].parts
    }

    pub(super) fn text(&mut self, delta: &str) {
        let parts = self.assistant();
        match parts.last_mut().map(|part| &mut part.body) {
            Some(Body::Text(text)) => text.push_str(delta),
            _ => parts.push(Part::text(delta)),
        }
    }

    pub(super) fn reasoning(&mut self, delta: &str) {
        let parts = self.assistant();
        match parts.last_mut().map(|part| &mut part.body) {
            Some(Body::Reasoning(text)) => text.push_str(delta),
            _ => parts.push(Part::reasoning(delta)),
        }
    }

    /// Adds a part; a call without an id gets one.
    pub(super) fn part(&mut self, mut part: Part) -> Result<Part, Failure> {
        if let Body::ToolCall(call) = &mut part.body {
            if call.id.is_empty() {
                self.ids += 1;
                call.id = format!("call-{}", self.ids);
            }
            if self.open_calls().any(|known| known.id == call.id) {
                return Err(refusal(Code::Conflict, "this tool call id is taken"));
            }
        }
        self.assistant().push(part.clone());
        Ok(part)
    }

    /// Returns the calls of a step that is not over.
    fn open_calls(&self) -> impl Iterator<Item = &ToolCall> {
        let over = self.calls().all(|call| self.has_result(&call.id));
        self.calls().filter(move |_| !over)
    }

    /// Whether the id is that of a call of the open step.
    pub(super) fn is_open(&self, id: &str) -> bool {
        self.open_calls().any(|call| call.id == id)
    }

    pub(super) fn result(&mut self, result: ToolResult) -> Result<(), Failure> {
        if !self.calls().any(|call| call.id == result.call_id) {
            return Err(refusal(
                Code::NotFound,
                "no tool call of this step has that id",
            ));
        }
        if self.has_result(&result.call_id) {
            return Err(refusal(Code::Conflict, "this tool call has a result"));
        }
        let part = Part::from(Body::ToolResult(result));
        match self.messages.last_mut() {
            Some(last) if last.role == Role::Tool => last.parts.push(part),
            _ => _ = self.begin(Role::Tool, vec![part]),
        }
        Ok(())
    }

    pub(super) fn place(&self, id: &str) -> Result<usize, Failure> {
        let place = self.messages.iter().position(|message| message.id == id);
        place.ok_or_else(|| refusal(Code::NotFound, "there is no such message"))
    }

    pub(super) fn summarise(&mut self, text: &str, through: &str) -> Result<(), Failure> {
        self.place(through)?;
        self.summaries.push((text.to_owned(), through.to_owned()));
        Ok(())
    }

    /// Returns the messages with these indexes. The last message that the newest summary replaces
    /// carries that summary in `extra`.
    pub(super) fn page(&self, places: std::ops::Range<usize>) -> Vec<Message> {
        let mut page = self.messages[places].to_vec();
        let summary = self.summaries.last();
        if let Some((text, through)) = summary
            && let Some(message) = page.iter_mut().find(|message| message.id == *through)
        {
            let json = serde_json::Value::from(text.as_str()).to_string();
            message.extra.push((SUMMARISED_AS.to_owned(), json));
        }
        page
    }

    /// Returns the conversation after the message with this id, as the front of a request.
    pub(super) fn since(&self, id: &str) -> Result<Vec<Input>, Failure> {
        let after = self.place(id)? + 1;
        let input = |message: &Message| Input {
            role: message.role,
            parts: message.parts.clone(),
        };
        Ok(self.messages[after..].iter().map(input).collect())
    }

    /// Returns the conversation since the last summary, with that summary first.
    pub(super) fn since_summary(&self) -> Result<Vec<Input>, Failure> {
        if let Some((text, through)) = self.summaries.last() {
            let mut messages = vec![Input {
                role: Role::System,
                parts: vec![Part::text(text)],
            }];
            messages.extend(self.since(through)?);
            return Ok(messages);
        }
        let input = |message: &Message| Input {
            role: message.role,
            parts: message.parts.clone(),
        };
        Ok(self.messages.iter().map(input).collect())
    }
}

pub(super) fn refusal(code: Code, message: &str) -> Failure {
    Error::new(code, message).into()
}
