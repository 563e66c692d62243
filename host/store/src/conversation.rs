//! The rules for messages that all backends share: the event that ends one, the summary that
//! replaces some, and the conversation that a model is shown. Pure.

use super::StoreError;
use lastword_types::event::EventBody;
use lastword_types::session::{Message, PartBody, Role};

/// The largest number of messages in a conversation that a model is shown.
pub const CONTEXT_MESSAGES_MAX: usize = 10_000;
/// The largest number of stored bytes of parts in a conversation that a model is shown.
pub const CONTEXT_BYTES_MAX: usize = 16 << 20;

/// The bounds of a conversation that a model is shown.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub(super) messages: usize,
    pub(super) bytes: usize,
}

impl Bounds {
    /// The bounds of every conversation.
    pub(super) const CONTEXT: Self = Self {
        messages: CONTEXT_MESSAGES_MAX,
        bytes: CONTEXT_BYTES_MAX,
    };
}

/// Returns the event that ends a message.
pub(super) fn finished(message: &Message) -> EventBody {
    let (title, details) = match message.parts.last().map(|part| &part.body) {
        Some(PartBody::Finish { title, details, .. }) => (title.clone(), details.clone()),
        _ => (None, None),
    };
    EventBody::MessageFinished {
        message: message.id,
        finish: message.finish.expect("a message is kept once it has ended"),
        title,
        details,
    }
}

/// The name in a message's `extra` under which an agent finds the text of the summary that replaces
/// everything up to and including this message.
const SUMMARISED_AS: &str = "summarised-as";

/// Adds the text of a summary to the last message that it replaces.
pub(super) fn mark_summary(
    summary: &Message,
    through: i64,
    messages: &mut [Message],
) -> Result<(), StoreError> {
    let through = u64::try_from(through).ok();
    let marked = messages.iter_mut().find(|m| m.ordinal == through);
    if let Some(message) = marked {
        let text = serde_json::to_string(&summary.text())?;
        message.extra.insert(SUMMARISED_AS.to_owned(), text);
    }
    Ok(())
}

/// Returns the latest whole turns that fit the bounds, in time order. The messages are given newest
/// first.
pub(super) fn latest_turns(
    newest_first: impl IntoIterator<Item = Message>,
    bounds: Bounds,
) -> Result<Vec<Message>, StoreError> {
    let (mut messages, mut bytes, mut whole) = (Vec::new(), 0, true);
    for message in newest_first {
        bytes += serde_json::to_string(&message.parts)?.len();
        if messages.len() == bounds.messages || bytes > bounds.bytes {
            whole = false;
            break;
        }
        messages.push(message);
    }
    messages.reverse();
    Ok(begun_well(messages, whole))
}

/// Returns the messages from the first one with which a model can begin: never a tool message,
/// whose calls the model would not see.
pub(super) fn begun_well(mut messages: Vec<Message>, whole: bool) -> Vec<Message> {
    let user = |message: &Message| message.role == Role::User;
    let begin = match messages.iter().position(user) {
        // A turn that does not fit is left out completely, unless it is the only one.
        Some(first) if !whole => first,
        _ => messages.iter().take_while(|m| m.role == Role::Tool).count(),
    };
    messages.drain(..begin);
    messages
}
