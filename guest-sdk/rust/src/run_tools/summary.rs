//! Asks the model for a summary of the conversation, and finds the summary that was written last.

use crate::model::{Event, Request};
use crate::{Message, Result, ToolChoice, ToolResult, Turn, Usage};

/// What the model is asked for.
const ASK: &str = "The conversation is about to be shortened. Write down, for yourself, what you \
    need in order to go on: what was asked for, what you did and changed, file by file, what you \
    found out, what is still to be done. Facts, names and numbers, no phrases. Do not call tools.";

/// The name under which the host puts a summary beside the message through which it stands.
pub(crate) const SUMMARISED_AS: &str = "summarised-as";

/// A summary that stands for the older part of the conversation.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Known {
    /// Through which message it stands.
    pub(super) through: String,
    pub(super) text: String,
}

impl Known {
    /// The summary that stands through this message: the loop's own, or what the host says.
    pub(super) fn at(message: &Message, own: Option<&Self>) -> Option<Self> {
        if let Some(own) = own.filter(|own| own.through == message.id) {
            return Some(own.clone());
        }
        let (_, json) = message
            .extra
            .iter()
            .find(|(name, _)| name == SUMMARISED_AS)?;
        Some(Self {
            through: message.id.clone(),
            text: serde_json::from_str(json).ok()?,
        })
    }
}

/// The window of the model that a request goes to, where the host knows it.
pub(super) fn window<C>(turn: &Turn<C>, request: &Request) -> Result<Option<u32>> {
    let models = turn.model().models()?;
    let named = request.model_name();
    let model = match named {
        Some(name) => models.iter().find(|model| model.name == name),
        None => models.first(),
    };
    Ok(model.and_then(|model| model.context_tokens))
}

/// Asks for an account with `request`, so that the conversation in front of it is the one that
/// the model knows.
pub(super) fn in_one<C>(turn: &Turn<C>, request: Request, usage: &mut Usage) -> Result<String> {
    let account = hear(turn, request.user(ASK).tool_choice(ToolChoice::None), usage)?;
    if account.trim().is_empty() {
        return Err("the model wrote nothing".into());
    }
    Ok(account)
}

/// The text of an answer, which is kept out of the transcript. What it took is added to `usage`.
pub(super) fn hear<C>(turn: &Turn<C>, request: Request, usage: &mut Usage) -> Result<String> {
    let mut text = String::new();
    for event in turn.model().complete(request)? {
        match event? {
            Event::Text(delta) => text.push_str(&delta),
            Event::Usage(took) => usage.add(&took),
            // It was told not to call; the call is recorded, so that it needs a result.
            Event::Part(part) => {
                if let Some(call) = part.as_tool_call() {
                    let refused = "no tools can be called while summarising";
                    turn.record_result(&ToolResult::error(&call.id, refused))?;
                }
            }
            _ => {}
        }
    }
    Ok(text)
}
