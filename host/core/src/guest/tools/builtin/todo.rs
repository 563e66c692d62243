//! `todo`: the session's plan, which people see.

use crate::guest::tools::Toolbox;
use lastword_providers::tools::{Effects, Invocation, Tool, ToolError, ToolErrorKind, ToolOutput};
use lastword_store::SetTodo;
use lastword_types::session::{TODO_CHARS_MAX, TODO_POINTS_MAX, Todo};
use serde_json::json;

pub(super) const NAME: &str = "todo";

pub(super) fn tool() -> Tool {
    Tool {
        name: NAME.to_owned(),
        description: "Sets the plan of this conversation, which the user sees: every point of \
            it, each with how far it is. Replaces the plan that there was. Use it for work of \
            several steps, and keep it true as you go."
            .to_owned(),
        parameters: json!({
            "type": "object",
            "properties": {
                "todo": {
                    "type": "array",
                    "maxItems": TODO_POINTS_MAX,
                    "items": {
                        "type": "object",
                        "properties": {
                            "content": { "type": "string", "minLength": 1, "maxLength": TODO_CHARS_MAX },
                            "status": { "enum": ["pending", "in_progress", "completed"] }
                        },
                        "required": ["content", "status"],
                        "additionalProperties": false
                    }
                }
            },
            "required": ["todo"],
            "additionalProperties": false
        }),
        effects: Effects::None,
    }
}

pub(super) async fn call(toolbox: &Toolbox, call: Invocation) -> Result<ToolOutput, ToolError> {
    let todo = call.arguments.get("todo").cloned().unwrap_or_default();
    let todo: Vec<Todo> = serde_json::from_value(todo)
        .map_err(|error| ToolError::invalid(format!("this is no plan: {error}")))?;
    let points = todo.len();
    let store = &toolbox.conversation.store;
    let set = SetTodo {
        session: call.context.session,
        todo,
    };

    match store.execute(set).await {
        Ok(_) => Ok(ToolOutput::text(format!(
            "The plan has {points} points now."
        ))),
        Err(error) => {
            tracing::warn!(%error, "a plan could not be kept");
            let why = "the host's store failed; the plan is as it was";
            Err(ToolError::new(ToolErrorKind::Internal, why))
        }
    }
}
