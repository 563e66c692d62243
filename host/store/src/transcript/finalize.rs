//! The end of a run as one pure function: `(transcript, ending) → changes`. The writer calls it for
//! a run that ends in this process, and recovery for one that an earlier host left open. Both use
//! its result unchanged.

use super::{Entry, MessageEnd, Transcript};
use lastword_types::clock::UnixMillis;
use lastword_types::event::EventBody;
use lastword_types::run::{OutputStats, RunOutcome, Wait};

/// What the finishing transaction writes before the run's own row and its `run.ended`.
#[derive(Clone, Debug, PartialEq)]
pub struct FinalEntries {
    /// The entries, in order.
    pub entries: Vec<Entry>,
    /// The counts of the run's output.
    pub said: OutputStats,
}

/// Closes everything that the run left open, as its cause requires.
#[must_use]
pub fn finish(transcript: Transcript, ending: &RunOutcome, now: UnixMillis) -> FinalEntries {
    let mut entries = Vec::new();
    let end = MessageEnd {
        reason: ending.cause.finish_reason(),
        title: ending.cause.title().map(str::to_owned),
        details: ending.detail.clone(),
    };
    if let Some(Wait {
        question: Some(question),
        ..
    }) = &ending.wait
    {
        // Not part of the transcript, whose end dismisses its questions: this one stays open after
        // the run.
        entries.push(Entry::Event(EventBody::QuestionAsked {
            question: Box::new(question.clone()),
        }));
    }
    let missing =
        |call: &lastword_types::session::ToolCall| ending.cause.missing_result(call.started);
    let said = transcript.finish(end, missing, now, &mut entries);
    FinalEntries { entries, said }
}
