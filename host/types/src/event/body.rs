//! The event catalogue: every kind of event, and its fields.
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
    /// The session was created. Always its first event.
    #[serde(rename = "session.created")]
    SessionCreated {
        /// The agent that the session talks to.
        agent: AgentId,
        /// The session that began this one, if one did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parent: Option<SessionId>,
        /// The message of another session through which its history was copied, if it was.
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
    /// The session was deleted with everything in it except this event, which is its last one and
    /// ends the streams of the session and of its runs. A reader that was behind has missed the
    /// deleted events.
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
    /// The run was queued when its workspace closed or when a host started, and now waits to be
    /// resumed.
    #[serde(rename = "run.held")]
    RunHeld {},
    /// A held run was put back into the queue.
    #[serde(rename = "run.resumed")]
    RunResumed {},
    /// The agent was called.
    #[serde(rename = "run.started")]
    RunStarted {},
    /// A message was begun. A message of a user, or a copied one, is complete from the beginning.
    #[serde(rename = "message.created")]
    MessageCreated {
        /// The id of the message.
        message: MessageId,
        /// The role of its author.
        role: Role,
        /// The parts that it has from the beginning.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        parts: Vec<Part>,
    },
    /// The content of a message that has no answer yet was replaced.
    #[serde(rename = "message.replaced")]
    MessageReplaced {
        /// The id of the message.
        message: MessageId,
        /// The new parts.
        parts: Vec<Part>,
    },
    /// Text was appended to a part. If the part is new, this event begins it.
    #[serde(rename = "text.delta")]
    TextDelta {
        /// The id of the message.
        message: MessageId,
        /// The index of the part in the message, from 0.
        part: u32,
        /// The appended text.
        text: String,
    },
    /// Reasoning was appended to a part. If the part is new, this event begins it.
    #[serde(rename = "reasoning.delta")]
    ReasoningDelta {
        /// The id of the message.
        message: MessageId,
        /// The index of the part in the message, from 0.
        part: u32,
        /// The appended text.
        text: String,
        /// Unix time in milliseconds when this text was appended.
        appended_ms: UnixMillis,
    },
    /// A whole part was added: a tool call, data, or a kind newer than this host.
    #[serde(rename = "part.added")]
    PartAdded {
        /// The id of the message.
        message: MessageId,
        /// The index of the part in the message, from 0.
        index: u32,
        /// The part.
        part: Part,
    },
    /// An open part was completed: reasoning got its end time, or a tool call its arguments. Text
    /// is not repeated.
    #[serde(rename = "part.finished")]
    PartFinished {
        /// The id of the message.
        message: MessageId,
        /// The index of the part in the message, from 0.
        index: u32,
        /// Unix time in milliseconds when the reasoning ended; `None` for a tool call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ended_ms: Option<UnixMillis>,
        /// The final arguments as JSON text, for a tool call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        input: Option<String>,
    },
    /// The host began to carry out a tool call. From here on the call may have had effects.
    #[serde(rename = "tool.started")]
    ToolStarted {
        /// The id of the message.
        message: MessageId,
        /// The index of the call in the message, from 0.
        index: u32,
    },
    /// The run asked the users a question and waits for the answer. Questions of runs that this one
    /// began, directly or through other runs, are logged here too, as are their answers. Each
    /// question names its own run and session, whose log contains it as well.
    #[serde(rename = "question.asked")]
    QuestionAsked {
        /// The question.
        question: Box<Question>,
    },
    /// A question was answered. Only the first answer of a question counts.
    #[serde(rename = "question.answered")]
    QuestionAnswered {
        /// The id of the question.
        question: QuestionId,
        /// The answer.
        #[serde(flatten)]
        answer: Answer,
        /// The grants of the answer that hold for longer than this once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grant: Option<GrantId>,
        /// The question whose answer granted it, if an answer to another question covered this one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<QuestionId>,
    },
    /// A question got no answer in time: the run ended, or continued without one.
    #[serde(rename = "question.dismissed")]
    QuestionDismissed {
        /// The id of the question.
        question: QuestionId,
    },
    /// A tool call got its result, which is a part of a tool message.
    #[serde(rename = "tool.result")]
    ToolResult {
        /// The id of the tool message.
        message: MessageId,
        /// The index of the part in the message, from 0.
        index: u32,
        /// The result.
        part: Part,
    },
    /// A model reported the tokens of a call.
    #[serde(rename = "usage.added")]
    UsageAdded {
        /// The usage of one model call.
        usage: Usage,
    },
    /// A request to a model failed before the answer began, and is sent again after a wait.
    #[serde(rename = "model.retrying")]
    ModelRetrying {
        /// The name of the model.
        model: String,
        /// The number of the attempt that failed, from 1.
        attempt: u32,
        /// The cause of the failure, for people.
        cause: String,
        /// Milliseconds until the next attempt.
        wait_ms: u64,
    },
    /// A message is complete. Nothing is appended to it any more.
    #[serde(rename = "message.finished")]
    MessageFinished {
        /// The id of the message.
        message: MessageId,
        /// Why the message ended.
        finish: FinishReason,
        /// One line for people, if something went wrong.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        /// What happened and what to do, if something went wrong.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        details: Option<String>,
    },
    /// A summary replaces everything up to and including a message in requests to a model.
    #[serde(rename = "history.summarised")]
    HistorySummarised {
        /// The message that holds the summary.
        message: MessageId,
        /// The last message that the summary replaces.
        through: MessageId,
    },
    /// Replaces one or more events that can no longer be read, so that a reader of a damaged log
    /// sees the gap and can continue. Never stored.
    #[serde(rename = "log.damaged")]
    LogDamaged {
        /// What cannot be read, and why.
        why: String,
        /// What is lost with these events.
        lost: String,
    },
    /// The run ended. Always the last event of the run, and the only one of this kind.
    #[serde(rename = "run.ended")]
    RunEnded {
        /// The receipt, which says how the run ended.
        receipt: Receipt,
    },
}

impl EventBody {
    /// Returns the `type` under which the event is logged.
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
