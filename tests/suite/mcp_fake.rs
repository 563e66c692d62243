//! The MCP server that misbehaves on request, and what the suite asks of it.

use lastword::WorkspaceKey;
use lastword::id::{AgentId, RunId, SessionId, WorkspaceId};
use lastword::mcp::{McpConfig, McpServers, SecretSource};
use lastword::model::CallContext;
use lastword::tools::{ToolContent, ToolError, ToolOutput, ToolProvider};
use lastword_tests::guests::root;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long anything may take here.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn context(workspace: WorkspaceId) -> CallContext {
    CallContext::new(
        workspace,
        WorkspaceKey::name("test"),
        SessionId::generate(),
        RunId::generate(),
        AgentId::new("agent").unwrap(),
    )
}

pub(crate) fn one(config: McpConfig) -> McpServers {
    McpServers::new([("it".to_owned(), config)].into()).unwrap()
}

pub(crate) fn fake(options: &[&str]) -> McpConfig {
    let script = root().join("tests/tools/mcp_server.py");
    let command = ["python3", script.to_str().unwrap()].into_iter();
    McpConfig {
        command: command
            .chain(options.iter().copied())
            .map(str::to_owned)
            .collect(),
        ..McpConfig::default()
    }
}

/// One whose answers the caller dictates.
pub(crate) fn odd(options: &[&str]) -> McpConfig {
    let script = root().join("tests/tools/mcp_odd.py");
    // It takes a module from beside it, which several may compile at the same time.
    let command = ["python3", "-B", script.to_str().unwrap()].into_iter();
    McpConfig {
        command: command
            .chain(options.iter().copied())
            .map(str::to_owned)
            .collect(),
        ..McpConfig::default()
    }
}

/// A server over HTTP, which ends with this value.
pub(crate) struct Web(Child, String);

impl Web {
    pub(crate) fn start() -> Self {
        Self::of("mcp_server.py", &["--http"])
    }

    /// One whose answers the caller dictates.
    pub(crate) fn odd(options: &[&str]) -> Self {
        Self::of("mcp_odd.py", &[&["--http"], options].concat())
    }

    /// One that asks for authorization.
    pub(crate) fn guarded(options: &[&str]) -> Self {
        Self::of("mcp_oauth.py", options)
    }

    pub(crate) fn url(&self) -> &str {
        &self.1
    }

    fn of(script: &str, options: &[&str]) -> Self {
        let script = root().join("tests/tools").join(script);
        let mut child = Command::new("python3")
            // Two of these may start at the same time.
            .arg("-B")
            .arg(script)
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut url).unwrap();
        Self(child, url.trim().to_owned())
    }

    pub(crate) fn config(&self) -> McpConfig {
        McpConfig {
            url: Some(self.1.clone()),
            headers: [(
                "Authorization".to_owned(),
                "Bearer {{secret:ONE}}".to_owned(),
            )]
            .into(),
            ..McpConfig::default()
        }
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One secret.
pub(crate) struct One;

impl SecretSource for One {
    fn fill(&self, text: &str) -> Result<String, String> {
        Ok(text.replace("{{secret:ONE}}", "canary-7f3a"))
    }

    fn redact(&self, text: &str) -> String {
        text.replace("canary-7f3a", "[secret]")
    }
}

pub(crate) fn text(output: &ToolOutput) -> &str {
    match output.content.first() {
        Some(ToolContent::Text(text)) => text,
        other => panic!("no text: {other:?}"),
    }
}

pub(crate) async fn call(
    servers: &McpServers,
    workspace: WorkspaceId,
    tool: &str,
) -> Result<ToolOutput, ToolError> {
    let call = servers.call_tool(workspace, tool, json!({"text": "hello"}));
    tokio::time::timeout(PATIENCE, call)
        .await
        .expect("it answers in time")
}

pub(crate) async fn names(servers: &McpServers, workspace: WorkspaceId) -> Vec<String> {
    let tools = tokio::time::timeout(PATIENCE, servers.tools(&context(workspace)));
    let tools = tools.await.expect("it lists in time").unwrap();
    tools.into_iter().map(|tool| tool.name).collect()
}

/// What the server has received so far.
pub(crate) async fn seen(servers: &McpServers, workspace: WorkspaceId) -> Vec<Value> {
    let seen = call(servers, workspace, "it.seen").await.unwrap();
    serde_json::from_str(text(&seen)).unwrap()
}

/// Asks the server until it has received what is looked for.
pub(crate) async fn until_seen(
    servers: &McpServers,
    workspace: WorkspaceId,
    wanted: impl Fn(&Value) -> bool,
) -> Value {
    let looking = async {
        loop {
            let found = seen(servers, workspace).await.into_iter().find(&wanted);
            if let Some(found) = found {
                return found;
            }
        }
    };
    tokio::time::timeout(PATIENCE, looking)
        .await
        .expect("it is seen in time")
}

pub(crate) fn is_slow_call(message: &Value) -> bool {
    message["method"] == "tools/call" && message["params"]["name"] == "slow"
}

pub(crate) fn is_cancel(message: &Value) -> bool {
    message["method"] == "notifications/cancelled"
}

pub(crate) async fn pid(servers: &McpServers, workspace: WorkspaceId) -> String {
    let output = call(servers, workspace, "it.environment").await.unwrap();
    output.structured.unwrap()["pid"].to_string()
}

pub(crate) fn is_there(pid: &str) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}
