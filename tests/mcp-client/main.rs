//! `mcp-client URL`: does over `McpServers` what an agent would, for the conformance suite of
//! the protocol: connects, lists the tools, calls each of them once with arguments that fit,
//! and leaves. Questions are accepted with their defaults, and consent is given by following
//! where a browser would be sent. Ends with 1 if the server could not be used.
//! `tests/tools/mcp-conformance.sh` is how it is run.

mod authorization;

use futures_util::future::BoxFuture;
use lastword::WorkspaceKey;
use lastword::id::{AgentId, RunId, SessionId, WorkspaceId};
use lastword::mcp::{Elicit, Elicitation, McpConfig, McpServers, McpState};
use lastword::model::CallContext;
use lastword::tools::{Tool, ToolProvider};
use serde_json::{Map, Value, json};
use std::process::ExitCode;
use std::sync::Arc;

/// Somebody who accepts whatever is asked.
struct Agreeable;

impl Elicit for Agreeable {
    fn elicit(&self, _: Elicitation) -> BoxFuture<'static, Option<Map<String, Value>>> {
        Box::pin(std::future::ready(Some(Map::new())))
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let Some(url) = std::env::args()
        .next_back()
        .filter(|url| url.starts_with("http"))
    else {
        eprintln!("usage: mcp-client URL");
        return ExitCode::from(2);
    };
    match visit(url).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

async fn visit(url: String) -> Result<(), String> {
    let scenario = std::env::var("MCP_CONFORMANCE_CONTEXT").unwrap_or_default();
    let scenario: Value = serde_json::from_str(&scenario).unwrap_or_default();
    let table = McpConfig {
        url: Some(url),
        timeout_s: Some(20),
        oauth: authorization::oauth(&scenario),
        ..McpConfig::default()
    };
    let servers = McpServers::new([("it".to_owned(), table)].into()).map_err(|e| e.to_string())?;
    let servers = servers
        .elicit(Arc::new(Agreeable))
        .secrets(Arc::new(authorization::Given(scenario.clone())))
        .consent(Arc::new(authorization::Willing));
    let workspace = WorkspaceId::generate();
    let context = CallContext::new(
        workspace,
        WorkspaceKey::name("test"),
        SessionId::generate(),
        RunId::generate(),
        AgentId::new("conformance").map_err(|error| error.to_string())?,
    );
    let tools = servers
        .tools(&context)
        .await
        .map_err(|error| error.to_string())?;
    for status in servers.status(workspace) {
        eprintln!("{status:?}");
        if let McpState::Failed { failure, .. } = status.state {
            return Err(failure);
        }
    }
    for (name, arguments) in calls(&scenario, &tools) {
        eprintln!("{name} {arguments}");
        let output = servers.call_tool(workspace, &name, arguments).await;
        eprintln!("{:?}", output.map_err(|error| error.to_string())?);
    }
    servers.close(workspace).await;
    Ok(())
}

/// What to call: what the scenario says, or every tool once.
fn calls(scenario: &Value, tools: &[Tool]) -> Vec<(String, Value)> {
    if let Some(calls) = scenario["toolCalls"].as_array() {
        let call = |call: &Value| {
            let name = call["name"].as_str().unwrap_or_default();
            (format!("it.{name}"), call["arguments"].clone())
        };
        return calls.iter().map(call).collect();
    }
    let calls = tools.iter().map(|tool| {
        let mut arguments = fitting(&tool.parameters);
        // A tool that wants a schema wants the one that it was listed with.
        if let Some(schema) = arguments.get_mut("schema") {
            *schema = tools[0].parameters.clone();
        }
        (tool.name.clone(), arguments)
    });
    calls.collect()
}

/// A value that fits a schema, as far as these servers go.
fn fitting(schema: &Value) -> Value {
    if let Some(value) = schema.get("default").or_else(|| schema.get("const")) {
        return value.clone();
    }
    if let Some(value) = schema.pointer("/enum/0") {
        return value.clone();
    }
    match schema["type"].as_str() {
        Some("string") => json!("text"),
        Some("number" | "integer") => json!(5),
        Some("boolean") => json!(true),
        Some("array") => json!([]),
        Some("null") => Value::Null,
        _ => {
            let fields = schema["properties"].as_object().into_iter().flatten();
            let fields = fields.map(|(name, field)| (name.clone(), fitting(field)));
            Value::Object(fields.collect())
        }
    }
}
