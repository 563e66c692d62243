//! The entries that a transcript passes to the store, and the reasons for which it refuses output.
//! Pure.

use super::MESSAGE_PARTS_MAX;
use super::tool_calls::QUESTIONS_MAX;
use lastword_types::event::EventBody;
use lastword_types::id::RunId;
use lastword_types::session::{BlobId, Granted, Message};

/// One entry for the store to write, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// An event to be logged.
    Event(EventBody),
    /// A message to be logged as finished, and stored whole.
    Message(Box<Message>),
    /// Bytes to be stored before an entry refers to them.
    Blob(BlobId, Vec<u8>),
    /// A grant to be stored until a user revokes it.
    Grant(Box<Granted>),
    /// An event to be logged for another run: the answer or dismissal of its question.
    Elsewhere(RunId, Box<EventBody>),
    /// The session's new title, to be logged and stored.
    Title(String),
}

/// Why the transcript refuses output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutputRefused {
    /// The run may write no more bytes.
    #[error("the run has said as many bytes as its limit allows")]
    Bytes,
    /// The run may make no more entries in the log.
    #[error("the run has made as many entries in its log as its limit allows")]
    Entries,
    /// The run may store no more bytes of data parts.
    #[error("the run has kept as many bytes of data as its limit allows")]
    Data,
    /// The message may have no more parts.
    #[error("a message holds at most {MESSAGE_PARTS_MAX} parts")]
    Parts,
    /// A second call or a second result has the same id.
    #[error("this tool call id is taken")]
    Conflict,
    /// The call's arguments are incomplete.
    #[error(
        "this tool call was cut off before it was whole, so that it is not carried out; have \
         the model send it again"
    )]
    Incomplete,
    /// No call of this step has the result's id.
    #[error("no tool call of this step has that id")]
    UnknownCall,
    /// The run may ask no more questions.
    #[error("a run asks at most {QUESTIONS_MAX} questions, and this one has")]
    Questions,
}
