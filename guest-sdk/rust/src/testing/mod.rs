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
//! The model says what the test told it to, in order. The transcript has the rules of a real
//! one: a step is a message of the assistant and one of the tools, a result needs its call, and
//! has one. Nothing is bounded unless a test says so ([`Host::overflow`]), nothing waits, and calls
//! side by side go one by one.
//!
//! It exists on native targets only, so that no component holds any of it.

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

/// A host for one conversation. It is made before the agent runs and read afterwards.
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
    /// A host that grants everything, with an empty conversation, a model without words, no tools
    /// and no secrets.
    pub fn new() -> Self {
        Self {
            inner: Rc::default(),
            config_json: String::new(),
            origin: Origin::User,
        }
    }

    /// The next thing that the model says. A request beyond the last reply fails.
    #[must_use]
    pub fn reply(self, reply: Reply) -> Self {
        self.model(|model| model.replies.push_back(reply));
        self
    }

    /// What the model says to every request whose last message holds these words, before it says
    /// the next thing. The first one that fits counts.
    #[must_use]
    pub fn reply_to(self, words: impl Into<String>, reply: Reply) -> Self {
        self.model(|model| model.standing.push((words.into(), reply)));
        self
    }

    /// The model reports the tokens of each request, so many bytes of text ([`Asked::bytes`]) to
    /// one. It reports only what its replies have unless set.
    #[must_use]
    pub fn bytes_per_token(self, bytes: u64) -> Self {
        self.model(|model| model.bytes_per_token = Some(bytes.max(1)));
        self
    }

    /// Which requests are refused as too long; none unless set. They take no reply.
    #[must_use]
    pub fn overflow(self, overflow: Overflow) -> Self {
        self.model(|model| model.overflow = Some(overflow));
        self
    }

    /// The size of the model's window in tokens, as the host knows it; unknown unless set.
    #[must_use]
    pub fn context_tokens(self, tokens: u32) -> Self {
        self.model(|model| model.context_tokens = Some(tokens));
        self
    }

    /// A tool of the host's. What it fails with is recorded as the result of the call, and the
    /// agent is told.
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

    /// A capability that is not granted: models, tools, state or secrets.
    #[must_use]
    pub fn deny(self, capability: Capability) -> Self {
        self.inner.denied.borrow_mut().push(capability);
        self
    }

    /// Stops the run after so many calls for a model or a tool: they, state and secrets answer
    /// `cancelled` from then on.
    #[must_use]
    pub fn cancel_after(self, calls: u32) -> Self {
        self.inner.calls_left.set(Some(calls));
        self
    }

    /// How long the run may take, for an agent that asks.
    #[must_use]
    pub fn remaining(self, time: Duration) -> Self {
        self.inner.remaining.set(Some(time));
        self
    }

    /// A message that was there before.
    #[must_use]
    pub fn message(self, role: Role, parts: Vec<Part>) -> Self {
        self.inner.conversation.borrow_mut().add(role, parts);
        self
    }

    /// Bytes that the host keeps, for parts that name them.
    #[must_use]
    pub fn blob(self, id: impl Into<String>, bytes: Vec<u8>) -> Self {
        self.inner.blobs.borrow_mut().insert(id.into(), bytes);
        self
    }

    /// The settings of the session.
    #[must_use]
    pub fn config(mut self, config: &serde_json::Value) -> Self {
        self.config_json = config.to_string();
        self
    }

    /// Who asks: `user` unless set, or `parent`, `resume`, `wake`, `answer`.
    #[must_use]
    pub fn origin(mut self, origin: impl Into<Origin>) -> Self {
        self.origin = origin.into();
        self
    }

    /// Lets an agent answer a prompt.
    ///
    /// # Errors
    ///
    /// What the agent fails with.
    pub fn run<A: Agent>(&self, prompt: &str) -> Result<Outcome> {
        self.turn(prompt, A::run)
    }

    /// Lets a part of an agent have a turn.
    ///
    /// # Errors
    ///
    /// What `act` fails with, or `invalid` for settings that do not fit.
    pub fn turn<C: Config, R>(
        &self,
        prompt: &str,
        act: impl FnOnce(&Turn<C>) -> Result<R>,
    ) -> Result<R> {
        self.turn_of(vec![Part::text(prompt)], act)
    }

    /// The same for a prompt of any parts.
    ///
    /// # Errors
    ///
    /// As [`turn`](Self::turn).
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

/// What came of it.
impl Host {
    /// All text of the assistant, joined.
    pub fn text(&self) -> String {
        let messages = self.messages().into_iter();
        let assistant = messages.filter(|message| message.role == Role::Assistant);
        assistant.map(|message| message.text()).collect()
    }

    /// The conversation, from the first message on; summaries are not part of it.
    pub fn messages(&self) -> Vec<Message> {
        self.inner.conversation.borrow().messages.clone()
    }

    /// How many messages the agent read from the conversation.
    pub fn messages_read(&self) -> usize {
        self.inner.messages_read.get()
    }

    /// Summaries in order: the text, and through which message it stands.
    pub fn summaries(&self) -> Vec<(String, String)> {
        self.inner.conversation.borrow().summaries.clone()
    }

    /// What the model was asked, as it saw it.
    pub fn requests(&self) -> Vec<Asked> {
        self.model(|model| model.requests.clone())
    }

    /// The session's title, if the agent gave it one.
    pub fn title(&self) -> Option<String> {
        self.inner.title.borrow().clone()
    }

    /// The lines for the operator.
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
