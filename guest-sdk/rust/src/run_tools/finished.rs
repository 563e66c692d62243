//! The result of a loop, and what is known after each of its steps.

use crate::message::joined_text;
use crate::model::Reply;
use crate::{Error, Outcome, ToolResult, Usage};

/// Why a loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The model answered without a call.
    Answered,
    /// The steps were used up.
    MaxSteps,
    /// The model made the same calls again and again, with the same results.
    Loop,
    /// The answer was cut off within a call: it became too long, or was filtered. The calls that
    /// were whole were carried out, the others were not, and the conversation says so: a further
    /// loop lets the model send them again.
    CutOff,
    /// A tool of the agent's own said so.
    Served,
    /// A condition of the agent's own was met.
    Stopped,
}

impl Reason {
    /// The reason as a word.
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

/// What a loop came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Finished {
    /// Why it ended.
    pub reason: Reason,
    /// How many answers the model gave, a closing one included.
    pub steps: u32,
    /// What the model was last heard to say.
    pub reply: Reply,
    /// What all of its answers took.
    pub usage: Usage,
}

impl Finished {
    /// The text of the last answer; it is in the transcript already.
    pub fn text(&self) -> String {
        joined_text(&self.reply.parts)
    }
}

/// A run that ends as its loop did. A reason other than an answer stands beside it as
/// `loop-ended`.
impl From<&Finished> for Outcome {
    fn from(finished: &Finished) -> Self {
        let calls = finished
            .reply
            .parts
            .iter()
            .any(|part| part.as_tool_call().is_some());
        match finished.reason {
            Reason::Answered => Self::from(&finished.reply),
            // Why the answer was cut off is what the person has to know.
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

/// What is known after a step: an answer of the model with calls, and their results.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Step<'a> {
    /// Counted from 1.
    pub number: u32,
    /// What the model said.
    pub reply: &'a Reply,
    /// The results of its calls, in their order.
    pub results: &'a [ToolResult],
    /// What the host did not carry out: the tool's name, and why. The model was told.
    pub failures: &'a [(String, Error)],
    /// What all of the model's answers took so far.
    pub usage: &'a Usage,
}
