//! Sessions, messages and their parts, as pure values. The store keeps them, and clients get them
//! as JSON.

mod export;
mod finish;
mod markdown;
mod media;
mod message;
mod part;
mod question;
mod record;

pub use export::{Export, ExportedRun};
pub use finish::FinishReason;
pub use media::media_type_of;
pub use message::{Message, Role};
pub use part::{BlobId, Content, Extra, Part, PartBody, ToolCall, ToolResult};
pub use question::{Answer, Asked, Granted, Question, QuestionState, Remember, Within};
pub use record::{
    ForkPoint, SessionRecord, TITLE_CHARS_MAX, TITLE_GIVEN_CHARS_MAX, TODO_CHARS_MAX,
    TODO_POINTS_MAX, Todo, TodoStatus, Usage, WorkspaceKind, WorkspaceRecord, title_from,
    title_given,
};
