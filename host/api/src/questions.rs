//! Questions of runs to people, and the results of answers.

use lastword_types::id::{QuestionId, RunId, WorkspaceId};
use lastword_types::session::{Answer, Granted, Question};
use serde::{Deserialize, Serialize};

/// The status of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = QuestionState))]
#[serde(rename_all = "lowercase")]
pub enum QuestionStatus {
    /// It has no answer yet.
    Open,
    /// It has an answer.
    Answered,
    /// It got no answer in time: its run ended, or continued without one.
    Dismissed,
}

/// A question with its status.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = QuestionStanding))]
pub struct QuestionView {
    /// The question.
    pub question: Question,
    /// The workspace of the run that asks.
    pub workspace: WorkspaceId,
    /// Whether it is answered.
    pub state: QuestionStatus,
    /// The answer that counts, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
}

/// The result of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Answered))]
pub struct AnsweredView {
    /// Always true: this answer counts.
    pub resolved: bool,
    /// The grant for longer than once, if the answer made one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<Granted>,
    /// The other open questions that this grant covers, and that are answered with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settled: Vec<QuestionId>,
    /// The run that the answer queued, if the run that asked had ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
}
