//! `ask_user`: asks a person a question.

use super::text;
use crate::guest::tools::Toolbox;
use lastword_providers::tools::{Effects, Invocation, Tool, ToolError, ToolErrorKind, ToolOutput};
use lastword_types::session::{Answer, Asked};
use serde_json::{Value, json};

pub(super) const NAME: &str = "ask_user";
/// The largest number of characters in a question.
const TEXT_CHARS_MAX: usize = 4000;
/// The largest number of choices that a question may offer.
const CHOICES_MAX: usize = 20;

pub(super) fn tool() -> Tool {
    Tool {
        name: NAME.to_owned(),
        description: "Asks the user something that you cannot find out by yourself, and waits \
            for the answer. Give answers to choose from where you can; the user may say \
            something else."
            .to_owned(),
        parameters: json!({
            "type": "object",
            "properties": {
                "question": { "type": "string", "minLength": 1, "maxLength": TEXT_CHARS_MAX },
                "choices": {
                    "type": "array",
                    "maxItems": CHOICES_MAX,
                    "items": { "type": "string", "minLength": 1, "maxLength": TEXT_CHARS_MAX }
                }
            },
            "required": ["question"],
            "additionalProperties": false
        }),
        effects: Effects::None,
    }
}

pub(super) async fn call(toolbox: &Toolbox, call: Invocation) -> Result<ToolOutput, ToolError> {
    let permits = &toolbox.permits;
    if !permits.asks {
        return Ok(ToolOutput::error(
            "Nobody is there to answer. Go on with what you know, or end and say what you \
             would need to know.",
        ));
    }

    let choices = call.arguments.get("choices").and_then(Value::as_array);
    let choices = choices.into_iter().flatten().filter_map(Value::as_str);
    let asked = Asked::Input {
        text: text(&call, "question").unwrap_or_default().to_owned(),
        choices: choices.map(str::to_owned).collect(),
    };

    let now = permits.clock.now();
    let answer = permits
        .questions
        .ask(&permits.asker, Some(call.call_id), asked, None, now);
    match answer.await {
        Ok(Answer::Text { text }) => Ok(ToolOutput::text(text)),
        Ok(Answer::Deny { reason }) => Ok(ToolOutput::text(match reason {
            None => "The user does not want to answer this.".to_owned(),
            Some(reason) => format!("The user does not want to answer this: {reason}"),
        })),
        // `Questions` accepts no such answer for this kind of question.
        Ok(Answer::Allow { .. }) => Ok(ToolOutput::text("yes")),
        Err(unanswered) => Err(ToolError::new(ToolErrorKind::Limit, unanswered.to_string())),
    }
}
