//! A host for tests: an agent, or a part of one, runs against it with plain `cargo test`.
//!
//! ```
//! use lastword_guest::prelude::*;
//! use lastword_guest::run_tools::{Kind, Parameters, Tool, ToolLoop};
//! use lastword_guest::testing::{Host, Reply};
//!
//! fn look_up(turn: &Turn<()>) -> Result<Outcome> {
//!     let finished = turn.run_tools(ToolLoop::new().system("Look it up."))?;
//!     Ok(Outcome::from(&finished))
//! }
//!
//! let path = Parameters::new().required("path", Kind::Text, "Which file");
//! let read = Tool::new("read_file", "Reads", &path, |_: serde_json::Value| Ok("It is blue."));
//! let host = Host::new()
//!     .tool(read)
//!     .reply(Reply::call("read_file", &serde_json::json!({ "path": "sky.txt" })))
//!     .reply(Reply::text("Blue."));
//! host.turn("Which colour?", look_up).unwrap();
//! assert_eq!(host.text(), "Blue.");
//! assert!(host.requests()[1].last_text().contains("It is blue."));
//! ```
//!
//! The model gives the replies of the test, in order. The transcript has the rules of a real one: a
//! step consists of a message of the assistant and one of the tools, and each result belongs to one
//! call, which has no other. Nothing is bounded unless a test sets a bound ([`Host::overflow`]), no
//! call waits, and parallel calls are carried out one after the other.
//!
//! It exists only on native targets, so that no component contains any of it.

mod backend;
mod conversation;
mod overflow;
mod reply;

use std::rc::Rc;
use std::time::Duration;

pub(crate) use backend::gather;
use backend::{Inner, Model};
pub use overflow::Overflow;
pub use reply::{Asked, Reply};

use crate::bindings::turn;
use crate::host;
use crate::run_tools::ServeTool;
use crate::{Agent, Capability, Config, Message, Origin, Outcome, Part, Result, Role, Turn};

/// A host for one conversation. Configure it before the agent runs, and inspect it afterwards.
pub struct Host {
    inner: Rc<Inner>,
    config_json: String,
    origin: Origin,
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Host {
    /// Creates a host that grants everything, with an empty conversation, a model without replies,
    /// no tools and no secrets.
    pub fn new() -> Self {
        Self {
            inner: Rc::default(),
            config_json: String::new(),
            origin: Origin::User,
        }
    }

    /// Adds the model's next reply. A request after the last reply fails.
    #[must_use]
    pub fn reply(self, reply: Reply) -> Self {
        self.model(|model| model.replies.push_back(reply));
        self
    }

    /// Sets the model's reply to every request whose last message contains these words. It takes
    /// precedence over the replies in order; if several fit, the first one is used.
    #[must_use]
    pub fn reply_to(self, words: impl Into<String>, reply: Reply) -> Self {
        self.model(|model| model.standing.push((words.into(), reply)));
        self
    }

    /// Lets the model report the tokens of each request, counting this number of bytes of text
    /// ([`Asked::bytes`]) as one token. Unless set, the model reports only the tokens of its
    /// replies.
    #[must_use]
    pub fn bytes_per_token(self, bytes: u64) -> Self {
        self.model(|model| model.bytes_per_token = Some(bytes.max(1)));
        self
    }

    /// Sets which requests are refused as too long. None are unless set. A refused request uses up
    /// no reply.
    #[must_use]
    pub fn overflow(self, overflow: Overflow) -> Self {
        self.model(|model| model.overflow = Some(overflow));
        self
    }

    /// Sets the size of the model's window in tokens, as the host knows it. Unknown unless set.
    #[must_use]
    pub fn context_tokens(self, tokens: u32) -> Self {
        self.model(|model| model.context_tokens = Some(tokens));
        self
    }

    /// Adds a tool that the host serves. An error of the tool is recorded as the result of the
    /// call, and is returned to the agent.
    #[must_use]
    pub fn tool(self, tool: impl ServeTool + 'static) -> Self {
        self.inner.tools.borrow_mut().push(Box::new(tool));
        self
    }

    /// Adds the name of a secret. It needs no value, since an agent never sees one.
    #[must_use]
    pub fn secret(self, name: impl Into<String>) -> Self {
        self.inner.secrets.borrow_mut().insert(name.into());
        self
    }

    /// Denies a capability. Takes effect for models, tools, state and secrets.
    #[must_use]
    pub fn deny(self, capability: Capability) -> Self {
        self.inner.denied.borrow_mut().push(capability);
        self
    }

    /// Stops the run after this number of calls to models and tools. From then on models, tools,
    /// state and secrets fail with `cancelled`.
    #[must_use]
    pub fn cancel_after(self, calls: u32) -> Self {
        self.inner.calls_left.set(Some(calls));
        self
    }

    /// Sets how long the run may take, which an agent can ask for.
    #[must_use]
    pub fn remaining(self, time: Duration) -> Self {
        self.inner.remaining.set(Some(time));
        self
    }

    /// Adds a message that the conversation already has when the run begins.
    #[must_use]
    pub fn message(self, role: Role, parts: Vec<Part>) -> Self {
        self.inner.conversation.borrow_mut().add(role, parts);
        self
    }

    /// Adds bytes that the host keeps, for parts that name them by id.
    #[must_use]
    pub fn blob(self, id: impl Into<String>, bytes: Vec<u8>) -> Self {
        self.inner.blobs.borrow_mut().insert(id.into(), bytes);
        self
    }

    /// Sets the settings of the session.
    #[must_use]
    pub fn config(mut self, config: &serde_json::Value) -> Self {
        self.config_json = config.to_string();
        self
    }

    /// Sets what began the run: `user` unless set, or `parent`, `resume`, `wake`, `answer`.
    #[must_use]
    pub fn origin(mut self, origin: impl Into<Origin>) -> Self {
        self.origin = origin.into();
        self
    }

    /// Runs an agent with a prompt.
    ///
    /// # Errors
    ///
    /// The agent's error.
    pub fn run<A: Agent>(&self, prompt: &str) -> Result<Outcome> {
        self.turn(prompt, A::run)
    }

    /// Runs a part of an agent with a turn.
    ///
    /// # Errors
    ///
    /// The error of `act`, or `invalid` for settings that do not fit.
    pub fn turn<C: Config, R>(
        &self,
        prompt: &str,
        act: impl FnOnce(&Turn<C>) -> Result<R>,
    ) -> Result<R> {
        self.turn_of(vec![Part::text(prompt)], act)
    }

    /// As [`turn`](Self::turn), with a prompt of any parts.
    ///
    /// # Errors
    ///
    /// As for [`turn`](Self::turn).
    pub fn turn_of<C: Config, R>(
        &self,
        parts: Vec<Part>,
        act: impl FnOnce(&Turn<C>) -> Result<R>,
    ) -> Result<R> {
        let mut conversation = self.inner.conversation.borrow_mut();
        conversation.add(Role::User, parts.clone());
        drop(conversation);
        let turn = Turn::start(turn::Prompt {
            run_id: "run".to_owned(),
            session_id: "session".to_owned(),
            origin: self.origin.clone().into(),
            parts,
            config_json: self.config_json.clone(),
            extra: Vec::new(),
        })?;
        host::enter(Rc::clone(&self.inner) as Rc<dyn host::Backend>, || {
            act(&turn)
        })
    }

    fn model<R>(&self, act: impl FnOnce(&mut Model) -> R) -> R {
        act(&mut self.inner.model.borrow_mut())
    }
}

/// The results of a run.
impl Host {
    /// Returns all text of the assistant, joined.
    pub fn text(&self) -> String {
        let messages = self.messages().into_iter();
        let assistant = messages.filter(|message| message.role == Role::Assistant);
        assistant.map(|message| message.text()).collect()
    }

    /// Returns the conversation from the first message on, without summaries.
    pub fn messages(&self) -> Vec<Message> {
        self.inner.conversation.borrow().messages.clone()
    }

    /// Returns how many messages the agent read from the conversation.
    pub fn messages_read(&self) -> usize {
        self.inner.messages_read.get()
    }

    /// Returns the summaries in order: each text, and the id of the last message that it replaces.
    pub fn summaries(&self) -> Vec<(String, String)> {
        self.inner.conversation.borrow().summaries.clone()
    }

    /// Returns the requests to the model, as the model received them.
    pub fn requests(&self) -> Vec<Asked> {
        self.model(|model| model.requests.clone())
    }

    /// Returns the session's title, if the agent set one.
    pub fn title(&self) -> Option<String> {
        self.inner.title.borrow().clone()
    }

    /// Returns the log lines for the operator.
    pub fn log(&self) -> Vec<String> {
        self.inner.log.borrow().clone()
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host")
            .field("messages", &self.inner.conversation.borrow().messages)
            .finish_non_exhaustive()
    }
}
