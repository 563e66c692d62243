//! Asks the model for a summary of the conversation, and finds the last summary.

use crate::model::{Event, Request};
use crate::{Message, Result, ToolChoice, ToolResult, Turn, Usage};

/// The message that asks the model for a summary.
const ASK: &str = "The conversation is about to be shortened. Write down, for yourself, what you \
    need in order to go on: what was asked for, what you did and changed, file by file, what you \
    found out, what is still to be done. Facts, names and numbers, no phrases. Do not call tools.";

/// The name in `extra` under which the host adds a summary to the last message that it replaces.
pub(crate) const SUMMARISED_AS: &str = "summarised-as";

/// A summary that replaces the older part of the conversation.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Known {
    /// The last message that it replaces.
    pub(super) through: String,
    pub(super) text: String,
}

impl Known {
    /// Returns the summary that ends with this message: the loop's own, or the one that the host
    /// names.
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

/// Returns the size in tokens of the window of the request's model, if the host knows it.
pub(super) fn window<C>(turn: &Turn<C>, request: &Request) -> Result<Option<u32>> {
    let models = turn.model().models()?;
    let named = request.model_name();
    let model = match named {
        Some(name) => models.iter().find(|model| model.name == name),
        None => models.first(),
    };
    Ok(model.and_then(|model| model.context_tokens))
}

/// Asks for an account with `request`, so that the model reads the conversation in the form that it
/// knows.
pub(super) fn in_one<C>(turn: &Turn<C>, request: Request, usage: &mut Usage) -> Result<String> {
    let account = hear(turn, request.user(ASK).tool_choice(ToolChoice::None), usage)?;
    if account.trim().is_empty() {
        return Err("the model wrote nothing".into());
    }
    Ok(account)
}

/// Returns the text of an answer without adding it to the transcript. Adds its tokens to `usage`.
pub(super) fn hear<C>(turn: &Turn<C>, request: Request, usage: &mut Usage) -> Result<String> {
    let mut text = String::new();
    for event in turn.model().complete(request)? {
        match event? {
            Event::Text(delta) => text.push_str(&delta),
            Event::Usage(took) => usage.add(&took),
            // It was told not to call a tool. The call is recorded all the same, and needs a
            // result.
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
