//! Questions that runs ask people, and what an answer came to.

use lastword_types::id::{QuestionId, RunId, WorkspaceId};
use lastword_types::session::{Answer, Granted, Question};
use serde::{Deserialize, Serialize};

/// Whether a question is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = QuestionState))]
#[serde(rename_all = "lowercase")]
pub enum QuestionStatus {
    /// It has no answer yet.
    Open,
    /// It has an answer.
    Answered,
    /// There was no answer in time: its run ended, or went on without one.
    Dismissed,
}

/// A question, and how it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = QuestionStanding))]
pub struct QuestionView {
    /// What is asked.
    pub question: Question,
    /// The workspace in which it is asked.
    pub workspace: WorkspaceId,
    /// Whether it is answered.
    pub state: QuestionStatus,
    /// The answer that counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
}

/// What an answer came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Answered))]
pub struct AnsweredView {
    /// It is the answer that counts.
    pub resolved: bool,
    /// What it granted for longer than once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<Granted>,
    /// The other open questions that this covers, and that are answered with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settled: Vec<QuestionId>,
    /// The run that it queued, if the one that asked was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
}
