//! The result of a loop, and of each of its steps.

use crate::message::joined_text;
use crate::model::Reply;
use crate::{Error, Outcome, ToolResult, Usage};

/// Why a loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The model answered without calling a tool.
    Answered,
    /// The number of steps reached its limit.
    MaxSteps,
    /// The model repeated the same calls with the same results.
    Loop,
    /// The answer was cut off within a call, because it was too long or was filtered. Complete
    /// calls were carried out and the others were not, as the conversation records. A further loop
    /// lets the model send the others again.
    CutOff,
    /// A tool of the agent's own ended the loop.
    Served,
    /// A condition of the agent's own was met.
    Stopped,
}

impl Reason {
    /// Returns the reason as a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::MaxSteps => "max-steps",
            Self::Loop => "loop",
            Self::CutOff => "cut-off",
            Self::Served => "served",
            Self::Stopped => "stopped",
        }
    }
}

/// The result of a loop.
#[derive(Clone, Debug, PartialEq)]
pub struct Finished {
    /// Why the loop ended.
    pub reason: Reason,
    /// The number of answers that the model gave, including a closing one.
    pub steps: u32,
    /// The model's last answer.
    pub reply: Reply,
    /// The tokens of all of the model's answers.
    pub usage: Usage,
}

impl Finished {
    /// Returns the text of the last answer, which is already in the transcript.
    pub fn text(&self) -> String {
        joined_text(&self.reply.parts)
    }
}

/// Creates the outcome of a run that ends as its loop did. Any reason other than
/// [`Reason::Answered`] is added as `loop-ended`.
impl From<&Finished> for Outcome {
    fn from(finished: &Finished) -> Self {
        let calls = finished
            .reply
            .parts
            .iter()
            .any(|part| part.as_tool_call().is_some());
        match finished.reason {
            Reason::Answered => Self::from(&finished.reply),
            // The person has to know why the answer was cut off.
            reason => {
                let outcome = if calls && reason != Reason::CutOff {
                    Self::end_turn()
                } else {
                    Self::from(&finished.reply)
                };
                outcome.extra("loop-ended", &reason.name().into())
            }
        }
    }
}

/// A finished step: an answer of the model with calls, and the results of these calls.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Step<'a> {
    /// The number of the step, from 1.
    pub number: u32,
    /// The model's answer.
    pub reply: &'a Reply,
    /// The results of the calls, in the order of the calls.
    pub results: &'a [ToolResult],
    /// The calls that the host did not carry out: each tool's name, and the error. The model was
    /// told.
    pub failures: &'a [(String, Error)],
    /// The tokens of all of the model's answers so far.
    pub usage: &'a Usage,
}
