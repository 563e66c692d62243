//! What a transcript hands to the store, and what it does not take. Pure.

use super::MESSAGE_PARTS_MAX;
use super::tool_calls::QUESTIONS_MAX;
use lastword_types::event::EventBody;
use lastword_types::id::RunId;
use lastword_types::session::{BlobId, Granted, Message};

/// One thing for the store to write, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// To be logged.
    Event(EventBody),
    /// To be logged as finished, and kept whole.
    Message(Box<Message>),
    /// To be kept before an entry names it.
    Blob(BlobId, Vec<u8>),
    /// To be kept until a user revokes it.
    Grant(Box<Granted>),
    /// To be logged for another run: what became of a question that it asks.
    Elsewhere(RunId, Box<EventBody>),
    /// The session's new title, to be logged and kept.
    Title(String),
}

/// Output that the transcript does not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutputRefused {
    /// More bytes than one run may say.
    #[error("the run has said as many bytes as its limit allows")]
    Bytes,
    /// More entries in the log than one run may make.
    #[error("the run has made as many entries in its log as its limit allows")]
    Entries,
    /// More bytes of data parts than one run may keep.
    #[error("the run has kept as many bytes of data as its limit allows")]
    Data,
    /// More parts than a message may have.
    #[error("a message holds at most {MESSAGE_PARTS_MAX} parts")]
    Parts,
    /// A second call, or a second result, with the same id.
    #[error("this tool call id is taken")]
    Conflict,
    /// A call whose arguments never came whole.
    #[error(
        "this tool call was cut off before it was whole, so that it is not carried out; have \
         the model send it again"
    )]
    Incomplete,
    /// A result for a call that was never made in this step.
    #[error("no tool call of this step has that id")]
    UnknownCall,
    /// More questions than one run may ask.
    #[error("a run asks at most {QUESTIONS_MAX} questions, and this one has")]
    Questions,
}
