//! A summary of the older part of the conversation, written by the model.
//!
//! It does not know when one is due.

use super::trim;
use crate::model::{Event, Request};
use crate::{Result, ToolResult, Turn, Usage};

/// Messages that are looked at beyond those that stay.
const LOOK_BACK: u32 = 64;

/// What the model is asked for.
const ASK: &str = "The conversation is about to be shortened. Write down, for yourself, what you \
    need in order to go on: what was asked for, what you did and changed, file by file, what you \
    found out, what is still to be done. Facts, names and numbers, no phrases. Do not call tools.";

/// A summary that was written.
pub(super) struct Written {
    /// Through which message it stands.
    pub(super) through: String,
    /// What it took.
    pub(super) usage: Usage,
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

/// Lets the model summarise, and the summary stand for all but the newest messages. None if
/// that would gain nothing. It is written with `request`, so that the conversation in front of
/// it is the one that the model knows.
pub(super) fn write<C>(
    turn: &Turn<C>,
    request: Request,
    keep: usize,
    done: Option<&str>,
) -> Result<Option<Written>> {
    let limit = u32::try_from(keep)
        .unwrap_or(u32::MAX)
        .saturating_add(LOOK_BACK);
    let newest = turn.history(None, limit)?;
    let Some(through) = trim::through(&newest, keep, done) else {
        return Ok(None);
    };
    let completion = turn
        .model()
        .complete(request.user(ASK).tool_choice("none"))?;
    let mut account = String::new();
    let mut usage = Usage {
        input_tokens: 0,
        output_tokens: 0,
        extra: Vec::new(),
    };
    for event in completion {
        match event? {
            Event::Text(text) => account.push_str(&text),
            Event::Usage(took) => {
                usage.input_tokens = usage.input_tokens.saturating_add(took.input_tokens);
                usage.output_tokens = usage.output_tokens.saturating_add(took.output_tokens);
            }
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
    if account.trim().is_empty() {
        return Err("the model wrote nothing".into());
    }
    turn.summarise(&trim::summary(turn.prompt(), &account), &through.id)?;
    Ok(Some(Written {
        through: through.id.clone(),
        usage,
    }))
}
