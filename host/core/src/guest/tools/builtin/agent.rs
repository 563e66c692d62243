//! `run_agent`: runs another agent in a child session. The child run has at most the permissions
//! of the calling run, and cannot outlast it. A user's own prompt in that session is not limited
//! in this way.

use super::{RunBuiltins, text};
use crate::guest::agents::{Child, ChildEnd, Lineage};
use crate::guest::tools::Toolbox;
use crate::run::RunState;
use lastword_providers::tools::{Effects, Invocation, Tool, ToolError, ToolErrorKind, ToolOutput};
use lastword_types::id::AgentId;
use lastword_types::permission::{Access, Capability};
use serde_json::json;
use std::sync::Arc;

pub(super) const NAME: &str = "run_agent";
/// The largest number of characters in a prompt.
const PROMPT_CHARS_MAX: usize = 100_000;

pub(super) fn tool(agents: &[(AgentId, String)]) -> Tool {
    let mut description = "Has another agent do something, and waits for what it says. It \
        starts with nothing but your prompt, so say everything that it needs to know. It may do \
        no more than you may. Call it several times at once for work that can be done in \
        parallel."
        .to_owned();
    if !agents.is_empty() {
        description.push_str(" The agents:");
        for (agent, about) in agents {
            description.push_str(&format!("\n- {agent}: {about}"));
        }
    }

    Tool {
        name: NAME.to_owned(),
        description,
        parameters: json!({
            "type": "object",
            "properties": {
                "agent": { "type": "string", "minLength": 1, "maxLength": 128 },
                "prompt": { "type": "string", "minLength": 1, "maxLength": PROMPT_CHARS_MAX },
                "title": { "type": "string", "minLength": 1, "maxLength": 200 },
                "config": { "type": "object" }
            },
            "required": ["agent", "prompt"],
            "additionalProperties": false
        }),
        effects: Effects::Some,
    }
}

pub(super) async fn call(
    own: &RunBuiltins,
    toolbox: &Toolbox,
    call: Invocation,
) -> Result<ToolOutput, ToolError> {
    let depth = toolbox.permits.authority.depth();
    if depth >= own.child_depth as usize {
        return Err(ToolError::new(
            ToolErrorKind::Limit,
            format!(
                "an agent that was started by an agent may start further ones down to depth {}, \
                 which this one is at; do it yourself",
                own.child_depth
            ),
        ));
    }

    let agent = text(&call, "agent").unwrap_or_default().to_owned();
    let access = Access::new(
        Capability::RunAgents,
        agent.as_str(),
        format!("run the agent {agent}"),
    );
    let prompt = text(&call, "prompt").unwrap_or_default().to_owned();
    let config = call.arguments.get("config").map(ToString::to_string);
    let details = match &config {
        Some(config) => format!("prompt:\n{prompt}\nconfig:\n{config}"),
        None => format!("prompt:\n{prompt}"),
    };

    call.permits.require(access.details(&details)).await?;
    let child = Child {
        prompt,
        title: text(&call, "title").map(str::to_owned),
        config,
        agent,
        parent: call.context,
        lineage: Lineage {
            parent: toolbox.permits.context.run,
            authority: toolbox.permits.authority.clone(),
            budget: Arc::clone(&toolbox.budget),
            holder: toolbox.permits.holder.clone(),
        },
    };

    Ok(told(own.starts.start(child).await?))
}

fn told(end: ChildEnd) -> ToolOutput {
    let structured = json!({
        "session": end.session,
        "run": end.run,
        "state": end.state,
        "cause": end.cause.name(),
        "output": end.output.and_then(|json| serde_json::from_str::<serde_json::Value>(&json).ok()),
    });
    let output = match end.state {
        RunState::Completed => ToolOutput::text(end.text),
        state => {
            let why = end.detail.unwrap_or_else(|| end.cause.to_string());
            ToolOutput::error(format!(
                "The agent did not finish ({state}: {why}). What it had said:\n{}",
                end.text
            ))
        }
    };

    output.structured(structured)
}
