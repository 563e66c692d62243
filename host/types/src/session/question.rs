//! What a run asks users, and what they answer. Pure values.

use crate::clock::UnixMillis;
use crate::id::{AgentId, GrantId, QuestionId, RunId, SessionId};
use serde::{Deserialize, Serialize};

/// A question, as clients see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Question {
    /// Its id.
    pub id: QuestionId,
    /// The session in which it is asked.
    pub session: SessionId,
    /// The run that asks.
    pub run: RunId,
    /// The agent that asks.
    pub agent: AgentId,
    /// The tool call for which it is asked, if it is for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    /// What is asked.
    #[serde(flatten)]
    pub asked: Asked,
    /// When.
    pub asked_ms: UnixMillis,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Asked {
    /// Whether something may be done. Answered with `allow` or `deny`.
    Permission {
        /// The capability that it needs.
        capability: String,
        /// What is accessed: a path, `host:port`, a name, a command line.
        target: String,
        /// One line for people.
        title: String,
        /// What would change, as a unified diff.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        diff: Option<String>,
        /// What else it consists of: what a command reads, the arguments of a tool, a prompt.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        details: Option<String>,
        /// What an answer may allow for longer than this once, the narrowest first. Derived
        /// from the request; no other rule can be granted by answering. Empty where it can be
        /// allowed this once only.
        offers: Vec<String>,
    },
    /// Something that only a person knows. Answered with `text`.
    Input {
        /// The question.
        text: String,
        /// The answers to choose from; others are possible too.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        choices: Vec<String>,
    },
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "answer", rename_all = "snake_case", deny_unknown_fields)]
pub enum Answer {
    /// It may be done.
    Allow {
        /// For how long the like may be done without asking. Default: this once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        remember: Option<Remember>,
    },
    /// It may not be done.
    Deny {
        /// Why, for the agent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// What the person says.
    Text {
        /// In their words.
        text: String,
    },
}

/// For how long an answer holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Remember {
    /// Where it stands.
    pub within: Within,
    /// One of the question's offers; the narrowest if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
}

/// Where a grant holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Within {
    /// In this session.
    Session,
    /// In every session of this agent in this workspace.
    Workspace,
}

/// What an answer granted, until a user revokes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Granted {
    /// Its id.
    pub id: GrantId,
    /// The only session in which it holds; without one it holds in every session of the agent in
    /// its workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// To which agent.
    pub agent: AgentId,
    /// What: `write-files=src/lib.rs`.
    pub rule: String,
    /// When.
    pub granted_ms: UnixMillis,
}

/// The state of a question.
#[derive(Clone, Debug, PartialEq)]
pub enum QuestionState {
    /// It has no answer yet.
    Open,
    /// This was the first answer.
    Answered(Answer),
    /// It got no answer in time: its run ended, or went on without one.
    Dismissed,
}
