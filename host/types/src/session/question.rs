//! Questions of runs to users, and the answers. Plain values.

use crate::clock::UnixMillis;
use crate::id::{AgentId, GrantId, QuestionId, RunId, SessionId};
use serde::{Deserialize, Serialize};

/// A question, as clients see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Question {
    /// Its id.
    pub id: QuestionId,
    /// The session of the run that asks.
    pub session: SessionId,
    /// The run that asks the question.
    pub run: RunId,
    /// The agent that asks the question.
    pub agent: AgentId,
    /// The id of the tool call that needs the answer, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    /// The content of the question.
    #[serde(flatten)]
    pub asked: Asked,
    /// Unix time in milliseconds when it was asked.
    pub asked_ms: UnixMillis,
}

/// The content of a question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Asked {
    /// Asks whether an access is allowed. Answered with `allow` or `deny`.
    Permission {
        /// The capability that the access needs.
        capability: String,
        /// The target of the access: a path, `host:port`, a name, a command line.
        target: String,
        /// One line for people.
        title: String,
        /// The change as a unified diff, if the access changes a file.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        diff: Option<String>,
        /// Further details: what a command reads, the arguments of a tool, a prompt.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        details: Option<String>,
        /// The rules that an answer may grant for longer than this once, the narrowest first. They
        /// are derived from the request, and an answer can grant no others. Empty if the access can
        /// be allowed only this once.
        offers: Vec<String>,
    },
    /// Asks for a text from a person. Answered with `text`.
    Input {
        /// The question.
        text: String,
        /// Suggested answers; other answers are possible too.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        choices: Vec<String>,
    },
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "answer", rename_all = "snake_case", deny_unknown_fields)]
pub enum Answer {
    /// The access is allowed.
    Allow {
        /// How long similar accesses are allowed without a question. Default: only this once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        remember: Option<Remember>,
    },
    /// The access is denied.
    Deny {
        /// The reason, for the agent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The text of a person.
    Text {
        /// The text.
        text: String,
    },
}

/// How long an answer applies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Remember {
    /// The sessions in which it applies.
    pub within: Within,
    /// One of the question's offers; the narrowest one if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
}

/// The sessions in which a grant applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Within {
    /// This session.
    Session,
    /// Every session of this agent in this workspace.
    Workspace,
}

/// A grant of an answer, which applies until a user revokes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Granted {
    /// Its id.
    pub id: GrantId,
    /// The only session in which it applies. If absent, it applies in every session of the agent in
    /// its workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// The agent that it is granted to.
    pub agent: AgentId,
    /// The rule, such as `write-files=src/lib.rs`.
    pub rule: String,
    /// Unix time in milliseconds when it was granted.
    pub granted_ms: UnixMillis,
}

/// The state of a question.
#[derive(Clone, Debug, PartialEq)]
pub enum QuestionState {
    /// It has no answer yet.
    Open,
    /// It was answered; this was the first answer.
    Answered(Answer),
    /// It got no answer in time: its run ended, or went on without one.
    Dismissed,
}
