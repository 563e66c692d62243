//! The event catalogue: every kind of event, and what it carries.
//!
//! For one run the order is: `run.queued`, `message.created` (user), `run.started`; then for
//! each step `message.created` (assistant), deltas and parts, `tool.result`s,
//! `message.finished`; last, and after all of them, one `run.ended`.

use crate::clock::UnixMillis;
use crate::id::{AgentId, GrantId, MessageId, QuestionId, SessionId};
use crate::run::{Origin, Receipt};
use crate::session::{Answer, FinishReason, ForkPoint, Part, Question, Role, Todo, Usage};
use serde::{Deserialize, Serialize};

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "type")]
#[non_exhaustive]
pub enum EventBody {
    /// The session exists. Always its first event.
    #[serde(rename = "session.created")]
    SessionCreated {
        /// Whom it talks to.
        agent: AgentId,
        /// The session that began it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parent: Option<SessionId>,
        /// Where its first messages were copied from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        forked_from: Option<ForkPoint>,
    },
    /// The session's title was set.
    #[serde(rename = "session.renamed")]
    SessionRenamed {
        /// The new title.
        title: String,
    },
    /// The session's plan was set.
    #[serde(rename = "session.todo")]
    SessionTodo {
        /// The whole plan.
        todo: Vec<Todo>,
    },
    /// The session is deleted with everything in it, this event excepted. Its last event: it
    /// ends the streams of the session and of its runs. A reader that was behind has missed what
    /// is gone.
    #[serde(rename = "session.deleted")]
    SessionDeleted {},
    /// A prompt was accepted and is durable.
    #[serde(rename = "run.queued")]
    RunQueued {
        /// What began the run: `user`, `parent`, `resume`, `wake`, `answer` or `fork`.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        origin: Origin,
        /// The lower-case hex SHA-256 of the agent's component.
        digest: String,
    },
    /// The run was queued when its workspace closed, or was found queued when a host started: it
    /// waits to be resumed.
    #[serde(rename = "run.held")]
    RunHeld {},
    /// A held run is in the queue again.
    #[serde(rename = "run.resumed")]
    RunResumed {},
    /// The agent was called.
    #[serde(rename = "run.started")]
    RunStarted {},
    /// A message was begun. A user's message comes whole, and so does a copied one.
    #[serde(rename = "message.created")]
    MessageCreated {
        /// Its id.
        message: MessageId,
        /// Who speaks.
        role: Role,
        /// The parts that it has already.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        parts: Vec<Part>,
    },
    /// The content of a message that is not answered yet was replaced.
    #[serde(rename = "message.replaced")]
    MessageReplaced {
        /// The message.
        message: MessageId,
        /// The new parts.
        parts: Vec<Part>,
    },
    /// Text was appended to a part, which it begins if it is new.
    #[serde(rename = "text.delta")]
    TextDelta {
        /// The message.
        message: MessageId,
        /// The part's place in the message, from 0.
        part: u32,
        /// What was appended.
        text: String,
    },
    /// Reasoning was appended to a part, which it begins if it is new.
    #[serde(rename = "reasoning.delta")]
    ReasoningDelta {
        /// The message.
        message: MessageId,
        /// The part's place in the message, from 0.
        part: u32,
        /// What was appended.
        text: String,
        /// When this piece was appended.
        appended_ms: UnixMillis,
    },
    /// A whole part was added: a tool call, data, or a kind newer than this host.
    #[serde(rename = "part.added")]
    PartAdded {
        /// The message.
        message: MessageId,
        /// The part's place in the message, from 0.
        index: u32,
        /// The part.
        part: Part,
    },
    /// A part that was open has its final form: reasoning got its end time, a tool call its
    /// arguments. Text is not repeated.
    #[serde(rename = "part.finished")]
    PartFinished {
        /// The message.
        message: MessageId,
        /// The part's place in the message, from 0.
        index: u32,
        /// When reasoning ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ended_ms: Option<UnixMillis>,
        /// A tool call's final arguments, as JSON text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        input: Option<String>,
    },
    /// The host begins to carry a tool call out: from here on it may have taken effect.
    #[serde(rename = "tool.started")]
    ToolStarted {
        /// The message.
        message: MessageId,
        /// The call's place in the message, from 0.
        index: u32,
    },
    /// The run asks the users, and waits. The questions of runs that this one began, directly or
    /// through other runs, are logged here too, and so are their answers: each question names its
    /// own run and session, whose log has it as well.
    #[serde(rename = "question.asked")]
    QuestionAsked {
        /// What it asks.
        question: Box<Question>,
    },
    /// A question was answered. Only the first answer of a question counts.
    #[serde(rename = "question.answered")]
    QuestionAnswered {
        /// Which question.
        question: QuestionId,
        /// The answer.
        #[serde(flatten)]
        answer: Answer,
        /// What the answer granted for longer than once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grant: Option<GrantId>,
        /// The question whose answer granted it, where that covered this one too.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<QuestionId>,
    },
    /// A question got no answer in time: the run ended, or went on without one.
    #[serde(rename = "question.dismissed")]
    QuestionDismissed {
        /// Which question.
        question: QuestionId,
    },
    /// A tool call got its result, as a part of a tool message.
    #[serde(rename = "tool.result")]
    ToolResult {
        /// The tool message.
        message: MessageId,
        /// The part's place in the message, from 0.
        index: u32,
        /// The result.
        part: Part,
    },
    /// A model reported what it counted.
    #[serde(rename = "usage.added")]
    UsageAdded {
        /// The tokens of one model call.
        usage: Usage,
    },
    /// A request to a model failed before anything was said, and is sent again after a wait.
    #[serde(rename = "model.retrying")]
    ModelRetrying {
        /// The model.
        model: String,
        /// Which attempt failed, from 1.
        attempt: u32,
        /// Why, for people.
        cause: String,
        /// How long until the next attempt, in milliseconds.
        wait_ms: u64,
    },
    /// A message is whole; nothing is appended to it any more.
    #[serde(rename = "message.finished")]
    MessageFinished {
        /// The message.
        message: MessageId,
        /// Why it ended.
        finish: FinishReason,
        /// One line for people, when something went wrong.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        /// What happened and what to do, when something went wrong.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        details: Option<String>,
    },
    /// A summary stands for everything up to and including a message.
    #[serde(rename = "history.summarised")]
    HistorySummarised {
        /// The message that holds the summary.
        message: MessageId,
        /// The last message that it stands for.
        through: MessageId,
    },
    /// Stands for one or more events that can no longer be read, so that a reader of a damaged log
    /// sees the gap and can go on. Never stored.
    #[serde(rename = "log.damaged")]
    LogDamaged {
        /// What cannot be read, and why.
        why: String,
        /// What is lost by it.
        lost: String,
    },
    /// The run is over. The last event of the run, and the only one of its kind.
    #[serde(rename = "run.ended")]
    RunEnded {
        /// How it ended.
        receipt: Receipt,
    },
}

impl EventBody {
    /// The `type` under which the event is logged.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::SessionCreated { .. } => "session.created",
            Self::SessionRenamed { .. } => "session.renamed",
            Self::SessionTodo { .. } => "session.todo",
            Self::SessionDeleted {} => "session.deleted",
            Self::RunQueued { .. } => "run.queued",
            Self::RunHeld {} => "run.held",
            Self::RunResumed {} => "run.resumed",
            Self::RunStarted {} => "run.started",
            Self::MessageCreated { .. } => "message.created",
            Self::MessageReplaced { .. } => "message.replaced",
            Self::TextDelta { .. } => "text.delta",
            Self::ReasoningDelta { .. } => "reasoning.delta",
            Self::PartAdded { .. } => "part.added",
            Self::PartFinished { .. } => "part.finished",
            Self::ToolStarted { .. } => "tool.started",
            Self::QuestionAsked { .. } => "question.asked",
            Self::QuestionAnswered { .. } => "question.answered",
            Self::QuestionDismissed { .. } => "question.dismissed",
            Self::ToolResult { .. } => "tool.result",
            Self::UsageAdded { .. } => "usage.added",
            Self::ModelRetrying { .. } => "model.retrying",
            Self::MessageFinished { .. } => "message.finished",
            Self::HistorySummarised { .. } => "history.summarised",
            Self::LogDamaged { .. } => "log.damaged",
            Self::RunEnded { .. } => "run.ended",
        }
    }
}
