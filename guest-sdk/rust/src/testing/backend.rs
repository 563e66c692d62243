//! The calls of a host for tests.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use super::conversation::{Conversation, refusal};
use super::overflow::Overflow;
use super::reply::{Asked, Reply};
use crate::bindings::types::Failure;
use crate::bindings::{log, model, state};
use crate::host::{Backend, Events, Values};
use crate::model::{Context, Event};
use crate::run_tools::ServeTool;
use crate::tools::ToolSpec;
use crate::{
    Body, Capability, Code, Error, FinishReason, Message, Part, ToolCall, ToolResult, Usage,
};

/// The largest number of messages in a page. Small, since an agent has to cope with small pages.
const PAGE_MESSAGES: u32 = 100;

/// Everything that a host for tests holds.
#[derive(Default)]
pub(super) struct Inner {
    pub(super) conversation: Rc<RefCell<Conversation>>,
    pub(super) model: RefCell<Model>,
    pub(super) tools: RefCell<Vec<Box<dyn ServeTool>>>,
    pub(super) denied: RefCell<Vec<Capability>>,
    pub(super) calls_left: Cell<Option<u32>>,
    pub(super) remaining: Cell<Option<Duration>>,
    pub(super) blobs: RefCell<BTreeMap<String, Vec<u8>>>,
    pub(super) secrets: RefCell<BTreeSet<String>>,
    pub(super) title: RefCell<Option<String>>,
    pub(super) log: RefCell<Vec<String>>,
    pub(super) messages_read: Cell<usize>,
    values: [Rc<RefCell<Values>>; 2],
}

/// What the model will say, and what it was asked.
#[derive(Default)]
pub(super) struct Model {
    pub(super) replies: VecDeque<Reply>,
    pub(super) requests: Vec<Asked>,
    pub(super) context_tokens: Option<u32>,
    pub(super) overflow: Option<Overflow>,
    pub(super) bytes_per_token: Option<u64>,
    /// Replies to every request whose last message contains these words.
    pub(super) standing: Vec<(String, Reply)>,
}

impl Model {
    /// Returns the reply to a request: a refusal if it is too long, the standing reply that fits
    /// it, or the next reply in order.
    fn answer(&mut self, asked: &Asked) -> Result<Reply, Failure> {
        if let Some(overflow) = self.overflow.as_ref().filter(|own| own.refuses(asked)) {
            return Ok(if overflow.is_in_answer() {
                Reply::new().and_fails(overflow.refusal())
            } else {
                Reply::refused(overflow.refusal())
            });
        }
        let last = asked.last_text();
        let mut standing = self.standing.iter();
        if let Some((_, reply)) = standing.find(|(words, _)| last.contains(words)) {
            return Ok(reply.clone());
        }
        let none = || refusal(Code::Invalid, "the test has no further reply for the model");
        self.replies.pop_front().ok_or_else(none)
    }
}

impl Inner {
    /// Refuses a capability that was not granted, and every call once the run is being stopped.
    fn allow(&self, capability: Capability) -> Result<(), Failure> {
        if self.calls_left.get() == Some(0) {
            return Err(refusal(Code::Cancelled, "the run is being stopped"));
        }
        if self.denied.borrow().contains(&capability) {
            let message = format!("the capability `{}` is not granted", capability.name());
            return Err(refusal(Code::Denied, &message));
        }
        Ok(())
    }

    /// As [`allow`](Self::allow), for calls that count towards the number after which the run is
    /// stopped.
    fn count(&self, capability: Capability) -> Result<(), Failure> {
        self.allow(capability)?;
        self.calls_left
            .set(self.calls_left.get().map(|left| left.saturating_sub(1)));
        Ok(())
    }

    fn see(&self, request: &model::Request) -> Result<Asked, Failure> {
        let conversation = self.conversation.borrow();
        let mut messages = match &request.context {
            Context::None => Vec::new(),
            Context::SinceSummary => conversation.since_summary()?,
            Context::Since(id) => conversation.since(id)?,
        };
        messages.extend(request.messages.iter().cloned());
        Ok(Asked {
            system: request.system.clone(),
            messages,
            tools: request.tools.iter().map(|tool| tool.name.clone()).collect(),
            tool_choice: request.tool_choice.as_deref().map(Into::into),
            output_schema: request.output_schema_json.clone(),
        })
    }

    /// Carries a call out. Fails if there is no such tool or if the arguments are not JSON.
    fn serve(&self, call: &ToolCall) -> Result<ToolResult, Error> {
        let mut tools = self.tools.borrow_mut();
        let tool = tools.iter_mut().find(|tool| tool.spec().name == call.name);
        let tool = tool.ok_or_else(|| Error::new(Code::NotFound, "there is no such tool"))?;
        let arguments = serde_json::from_str(&call.arguments_json)?;
        Ok(tool.call(arguments)?.into_result(&call.id))
    }
}

impl Backend for Inner {
    fn history(&self, before: Option<&str>, limit: u32) -> Result<Vec<Message>, Failure> {
        let conversation = self.conversation.borrow();
        let end = match before {
            Some(id) => conversation.place(id)?,
            None => conversation.messages.len(),
        };
        let begin = end.saturating_sub(limit.min(PAGE_MESSAGES) as usize);
        self.messages_read.update(|read| read + (end - begin));
        Ok(conversation.page(begin..end))
    }

    fn append_text(&self, delta: &str) -> Result<(), Failure> {
        self.conversation.borrow_mut().text(delta);
        Ok(())
    }

    fn append_reasoning(&self, delta: &str) -> Result<(), Failure> {
        self.conversation.borrow_mut().reasoning(delta);
        Ok(())
    }

    fn append_part(&self, part: &Part) -> Result<(), Failure> {
        let mut conversation = self.conversation.borrow_mut();
        match &part.body {
            Body::Text(text) => conversation.text(text),
            Body::Reasoning(text) => conversation.reasoning(text),
            Body::ToolResult(result) => return conversation.result(result.clone()),
            _ => return conversation.part(part.clone()).map(drop),
        }
        Ok(())
    }

    fn record_result(&self, result: &ToolResult) -> Result<(), Failure> {
        self.conversation.borrow_mut().result(result.clone())
    }

    fn summarise(&self, text: &str, through: &str) -> Result<(), Failure> {
        self.conversation.borrow_mut().summarise(text, through)
    }

    fn set_title(&self, title: &str) -> Result<(), Failure> {
        self.title.replace(Some(title.to_owned()));
        Ok(())
    }

    fn read_blob(&self, id: &str) -> Result<Vec<u8>, Failure> {
        let blobs = self.blobs.borrow();
        let bytes = blobs.get(id).cloned();
        bytes.ok_or_else(|| refusal(Code::NotFound, "this session names no such data"))
    }

    fn complete(&self, request: &model::Request) -> Result<Events, Failure> {
        self.count(Capability::Model)?;
        let asked = self.see(request)?;
        let mut model = self.model.borrow_mut();
        let reply = model.answer(&asked);
        let input_tokens = model
            .bytes_per_token
            .map(|bytes| asked.bytes() as u64 / bytes);
        model.requests.push(asked);
        let reply = reply?;
        if let Some(error) = reply.refusal {
            return Err(error.into());
        }
        let reason = if reply.calls {
            FinishReason::ToolUse
        } else {
            FinishReason::EndTurn
        };
        let finish = String::from(reply.finish.unwrap_or(reason));
        let conversation = Rc::clone(&self.conversation);
        // A call is recorded when it is delivered, and not before.
        let counted = input_tokens.map(|input_tokens| {
            Ok(Event::Usage(Usage {
                input_tokens,
                ..Usage::none()
            }))
        });
        let end = counted.into_iter().chain([Ok(Event::Finish(finish))]);
        let events = reply.events.into_iter().chain(end);
        let mut failed = false;
        let events = events.map_while(move |event| {
            if failed {
                return None;
            }
            let delivered = match event {
                Ok(Event::Part(part)) => conversation.borrow_mut().part(part).map(Event::Part),
                other => other.map_err(Into::into),
            };
            failed = delivered.is_err();
            Some(delivered)
        });
        Ok(Box::new(events))
    }

    fn models(&self) -> Result<Vec<model::ModelInfo>, Failure> {
        self.allow(Capability::Model)?;
        Ok(vec![model::ModelInfo {
            name: "test".to_owned(),
            context_tokens: self.model.borrow().context_tokens,
            extra: Vec::new(),
        }])
    }

    fn available(&self) -> Result<Vec<ToolSpec>, Failure> {
        self.allow(Capability::Tools)?;
        Ok(self.tools.borrow().iter().map(|tool| tool.spec()).collect())
    }

    fn call(&self, call: &ToolCall) -> Result<ToolResult, Failure> {
        self.count(Capability::Tools)?;
        let mut call = call.clone();
        let known = self.conversation.borrow().is_open(&call.id);
        if !known {
            let part = Part::from(Body::ToolCall(call.clone()));
            let part = self.conversation.borrow_mut().part(part)?;
            if let Body::ToolCall(named) = part.body {
                call = named;
            }
        }
        let outcome = self.serve(&call);
        let recorded = match &outcome {
            Ok(result) => result.clone(),
            Err(error) if error.is_cancelled() => return Err(error.clone().into()),
            Err(error) => ToolResult::error(&call.id, error.to_string()),
        };
        self.conversation.borrow_mut().result(recorded)?;
        Ok(outcome?)
    }

    fn state(&self, scope: state::Scope) -> Result<Rc<RefCell<Values>>, Failure> {
        self.allow(Capability::State)?;
        let [session, workspace] = &self.values;
        Ok(Rc::clone(match scope {
            state::Scope::Session => session,
            state::Scope::Workspace => workspace,
        }))
    }

    fn has_secret(&self, name: &str) -> Result<bool, Failure> {
        self.allow(Capability::Secrets)?;
        Ok(self.secrets.borrow().contains(name))
    }

    fn interruption(&self) -> Option<String> {
        (self.calls_left.get() == Some(0)).then(|| "user".to_owned())
    }

    fn remaining_ms(&self) -> Option<u64> {
        let left = self.remaining.get()?;
        Some(u64::try_from(left.as_millis()).unwrap_or(u64::MAX))
    }

    fn log(&self, level: log::Level, message: &str, fields_json: Option<&str>) {
        let fields = fields_json.map_or_else(String::new, |fields| format!(" {fields}"));
        let line = format!("{level:?}: {message}{fields}");
        self.log.borrow_mut().push(line);
    }
}

/// Streams the rest of an answer into the transcript, and returns the whole answer.
pub(crate) fn gather(host: &dyn Backend, events: &mut Events) -> Result<model::Reply, Failure> {
    let mut reply = model::Reply {
        parts: Vec::new(),
        finish: String::new(),
        usage: Usage::none(),
        extra: Vec::new(),
    };
    for event in events {
        let last = reply.parts.last_mut().map(|part: &mut Part| &mut part.body);
        match (event?, last) {
            (Event::Text(delta), last) => {
                host.append_text(&delta)?;
                match last {
                    Some(Body::Text(text)) => text.push_str(&delta),
                    _ => reply.parts.push(Part::text(delta)),
                }
            }
            (Event::Reasoning(delta), last) => {
                host.append_reasoning(&delta)?;
                match last {
                    Some(Body::Reasoning(text)) => text.push_str(&delta),
                    _ => reply.parts.push(Part::reasoning(delta)),
                }
            }
            (Event::Part(part), _) => reply.parts.push(part),
            (Event::Usage(usage), _) => reply.usage.add(&usage),
            (Event::Finish(reason), _) => reply.finish = reason,
            (Event::Other(_), _) => {}
        }
    }
    Ok(reply)
}
