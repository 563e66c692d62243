//! The reference server of the protocol's own authors, over pipes and over HTTP. Without npm
//! these tests say so and check nothing, except in CI.

use crate::mcp_fake::{PATIENCE, context, one, text};
use lastword::id::WorkspaceId;
use lastword::mcp::{McpConfig, McpServers, McpState};
use lastword::permission::Rule;
use lastword::tools::{ToolContent, ToolErrorKind, ToolProvider};
use lastword_tests::fixture::Plan;
use lastword_tests::guests::root;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Pinned, so that a new release breaks no build.
const PACKAGE: &str = "@modelcontextprotocol/server-everything@2026.8.31";
/// How the script says that there is no npm.
const NO_NPM: i32 = 77;

/// The server's program; `None` without npm.
fn program() -> Option<&'static str> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    let install = || {
        let script = root().join("tests/tools/mcp-npm.sh");
        let output = Command::new(script)
            .arg(PACKAGE)
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
        if output.status.code() == Some(NO_NPM) && !ci {
            eprintln!("SKIPPED: the reference server of MCP is not tried, since npm is missing");
            return None;
        }
        assert!(output.status.success(), "{PACKAGE} is not there");
        let folder = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
        Some(folder.join("node_modules/.bin/mcp-server-everything"))
    };
    PROGRAM
        .get_or_init(install)
        .as_ref()
        .and_then(|path| path.to_str())
}

/// The server over HTTP, which ends with this value.
struct Web(Child);

impl Web {
    /// Starts it on a port and waits until it listens.
    fn start(program: &str, port: u16) -> Self {
        let mut child = Command::new(program)
            .arg("streamableHttp")
            .env("PORT", port.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let listening =
            lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("listening")));
        assert!(listening.is_some(), "it does not listen");
        // What it says later has to go somewhere.
        std::thread::spawn(move || lines.count());
        Self(child)
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn over_http(port: u16) -> McpConfig {
    McpConfig {
        url: Some(format!("http://127.0.0.1:{port}/mcp")),
        ..McpConfig::default()
    }
}

/// What an embedder may do with the server, tool by tool.
async fn everything(servers: &McpServers) {
    let workspace = WorkspaceId::generate();
    let call = |tool: &str, arguments: Value| servers.call_tool(workspace, tool, arguments);
    let tools = servers.tools(&context(workspace)).await.unwrap();
    let names: Vec<_> = tools.iter().map(|tool| tool.name.as_str()).collect();
    for name in [
        "it.echo",
        "it.get-sum",
        "it.get-tiny-image",
        "it.trigger-long-running-operation",
    ] {
        assert!(names.contains(&name), "{name} is missing: {names:?}");
    }
    let sum = tools.iter().find(|tool| tool.name == "it.get-sum").unwrap();
    assert_eq!(sum.parameters["properties"]["a"]["type"], "number");

    let output = call("it.echo", json!({"message": "hello"})).await.unwrap();
    assert!(text(&output).contains("hello"));
    let output = call("it.get-sum", json!({"a": 2, "b": 40})).await.unwrap();
    assert!(text(&output).contains("42"));
    let output = call("it.get-sum", json!({"a": "two"})).await.unwrap();
    assert!(output.is_error, "{output:?}");

    let output = call("it.get-tiny-image", json!({})).await.unwrap();
    let image = output.content.iter().find_map(|piece| match piece {
        ToolContent::Data {
            media_type, bytes, ..
        } => Some((media_type.as_str(), bytes)),
        ToolContent::Text(_) => None,
    });
    let (media_type, bytes) = image.expect("there is an image");
    assert_eq!(media_type, "image/png");
    assert!(bytes.starts_with(b"\x89PNG"));

    let output = call("it.get-structured-content", json!({"location": "Chicago"}))
        .await
        .unwrap();
    assert!(output.structured.unwrap()["temperature"].is_number());
    let output = call("it.get-resource-links", json!({"count": 2}))
        .await
        .unwrap();
    assert!(output.content.len() >= 3, "{output:?}");
    let reference = json!({"resourceType": "Text", "resourceId": 1});
    let output = call("it.get-resource-reference", reference).await.unwrap();
    assert!(output.content.len() >= 2, "{output:?}");

    let long = json!({"duration": 0.2, "steps": 4});
    let output = call("it.trigger-long-running-operation", long)
        .await
        .unwrap();
    assert!(text(&output).contains("completed"));
    // One that is given up does not hold up the next.
    let forever = call(
        "it.trigger-long-running-operation",
        json!({"duration": 600, "steps": 2}),
    );
    let began = Instant::now();
    assert!(
        tokio::time::timeout(Duration::from_millis(300), forever)
            .await
            .is_err()
    );
    let output = call("it.echo", json!({"message": "again"})).await.unwrap();
    assert!(text(&output).contains("again"));
    assert!(began.elapsed() < Duration::from_secs(20));
    let state = servers.status(workspace).remove(0).state;
    assert!(matches!(state, McpState::Serving { .. }), "{state:?}");
    servers.close(workspace).await;
}

/// The same from within a guest: what it is granted, and no more.
async fn an_agent(servers: McpServers) {
    let host = servers.clone();
    let plan = Plan::new().host(|builder| builder.tools(host));
    let rule: Rule = "tools=it.get-*".parse().unwrap();
    let fixture = plan.options(|options| options.grant(rule)).build().await;
    let names = fixture.run("tools").await.text();
    assert!(names.contains("it.get-sum"), "{names}");
    assert!(!names.contains("it.echo"), "not granted: {names}");
    let outcome = fixture.run(r#"tool it.get-sum {"a":2,"b":40}"#).await;
    assert!(outcome.text().contains("42"), "{}", outcome.text());
    let kinds = outcome.kinds();
    for kind in ["part.added", "tool.started", "tool.result"] {
        assert!(kinds.contains(&kind), "{kind} is missing: {kinds:?}");
    }
    let outcome = fixture.run("tool it.get-tiny-image {}").await;
    assert!(outcome.text().contains("[image/png]"), "{}", outcome.text());
    let outcome = fixture.run(r#"tool it.echo {"message":"hello"}"#).await;
    assert!(
        outcome.text().starts_with("error denied"),
        "{}",
        outcome.text()
    );
    let outcome = fixture.run(r#"tool it.get-sum {"a":"two"}"#).await;
    // The server's own words: it checks what its tools are given.
    assert!(
        outcome
            .text()
            .contains("Invalid arguments for tool get-sum"),
        "{}",
        outcome.text()
    );
    let workspace = fixture.workspace.id();
    assert!(matches!(
        servers.status(workspace)[0].state,
        McpState::Serving { .. }
    ));
    fixture.host.shutdown().await;
    // It is closed with its workspace.
    assert_eq!(servers.status(workspace)[0].state, McpState::Idle);
}

#[tokio::test]
async fn everything_over_pipes() {
    let Some(program) = program() else { return };
    let config = McpConfig {
        command: vec![program.to_owned(), "stdio".to_owned()],
        ..McpConfig::default()
    };
    let servers = one(config);
    tokio::time::timeout(PATIENCE, everything(&servers))
        .await
        .expect("it is done in time");
    // The guest may have to be built first.
    an_agent(servers).await;
}

#[tokio::test]
async fn everything_over_http() {
    let Some(program) = program() else { return };
    let port = free_port();
    let web = Web::start(program, port);
    let servers = one(over_http(port));
    tokio::time::timeout(PATIENCE, everything(&servers))
        .await
        .expect("it is done in time");
    // The guest may have to be built first.
    an_agent(servers).await;
    drop(web);
}

/// It knows the session no more, and does not say so by 404.
#[tokio::test]
async fn a_server_over_http_that_is_restarted_is_found_again() {
    let Some(program) = program() else { return };
    let port = free_port();
    let web = Web::start(program, port);
    let servers = one(McpConfig {
        timeout_s: Some(5),
        ..over_http(port)
    });
    let workspace = WorkspaceId::generate();
    let echo = || servers.call_tool(workspace, "it.echo", json!({"message": "hello"}));
    assert!(echo().await.is_ok());
    drop(web);
    let _web = Web::start(program, port);
    let found = async {
        loop {
            match echo().await {
                Ok(output) => return output,
                Err(error) => assert!(
                    matches!(
                        error.kind,
                        ToolErrorKind::Unavailable | ToolErrorKind::Timeout
                    ),
                    "{error}"
                ),
            }
        }
    };
    let output = tokio::time::timeout(PATIENCE, found)
        .await
        .expect("it is found again");
    assert!(text(&output).contains("hello"));
}
