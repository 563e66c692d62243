//! What MCP servers that are programs send beside the protocol: one odd thing costs itself and
//! nothing more, what can be delivered is, and no program outlives what started it.

use crate::mcp_fake::{PATIENCE, call, names, odd, one, text};
use futures_util::future::{Either, join_all, select};
use lastword::id::WorkspaceId;
use lastword::mcp::{McpConfig, McpServers, McpState};
use lastword::tools::{ToolContent, ToolError, ToolErrorKind, ToolOutput, ToolProvider};
use lastword_tests::clock::ManualClock;
use serde_json::{Value, json};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

async fn say(
    servers: &McpServers,
    workspace: WorkspaceId,
    arguments: Value,
) -> Result<ToolOutput, ToolError> {
    let call = servers.call_tool(workspace, "it.say", arguments);
    tokio::time::timeout(PATIENCE, call)
        .await
        .expect("it is answered at once")
}

fn raw(line: &str) -> Value {
    json!({"raw": format!("{line}\n")})
}

fn answer(result: &Value) -> Value {
    raw(&format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":$ID,\"result\":{result}}}"
    ))
}

fn texts(output: &ToolOutput) -> Vec<&str> {
    let texts = output.content.iter().filter_map(|piece| match piece {
        ToolContent::Text(text) => Some(text.as_str()),
        ToolContent::Data { .. } => None,
    });
    texts.collect()
}

/// Waits until a start has its limit, and the server its time to answer the first question.
pub(crate) async fn begun(clock: &ManualClock) {
    let begun = tokio::time::timeout(PATIENCE, clock.sleepers(2));
    begun.await.expect("it is asked within a time");
}

fn is_serving(servers: &McpServers, workspace: WorkspaceId) -> bool {
    matches!(servers.status(workspace)[0].state, McpState::Serving { .. })
}

#[tokio::test]
async fn one_odd_tool_hides_no_other_and_is_named() {
    let schema = json!({"type": "object"});
    let list = json!({"tools": [
        {"name": "good", "inputSchema": schema},
        {"name": "bare"},
        {"name": "null", "inputSchema": null},
        {"inputSchema": schema},
        {"name": "text", "inputSchema": "{}"},
        {"name": "hints", "inputSchema": schema, "annotations": "safe", "title": 3},
        {"name": "icons", "inputSchema": schema, "icons": "x.png", "_meta": []},
        7,
        {"name": "last", "inputSchema": schema},
    ], "_meta": {"lastword/leftOut": ["what the server says of itself"]}});
    let servers = one(odd(&["--list", &list.to_string()]));
    let workspace = WorkspaceId::generate();
    let offered = ["good", "bare", "null", "hints", "icons", "last"];
    let offered = offered.map(|name| format!("it.{name}"));
    assert_eq!(names(&servers, workspace).await, offered);
    let left_out = servers.status(workspace).remove(0).left_out;
    let expected = ["number 4: ", "number 5: `text`", "number 8: "];
    assert_eq!(left_out.len(), expected.len(), "{left_out:?}");
    for (said, expected) in left_out.iter().zip(expected) {
        assert!(said.starts_with(expected), "{said}");
    }
    // What was repaired can be called.
    for name in ["it.bare", "it.null", "it.hints"] {
        assert_eq!(
            text(&call(&servers, workspace, name).await.unwrap()),
            "said"
        );
    }
}

#[tokio::test]
async fn a_list_that_is_none_is_not_spoken_of_as_a_call() {
    let servers = one(odd(&["--list", "{\"tools\": {}}"]));
    let workspace = WorkspaceId::generate();
    let error = call(&servers, workspace, "it.say").await.unwrap_err();
    assert!(error.message.contains("does not list its tools"), "{error}");
    assert!(error.message.contains("`tools` is an object"), "{error}");
    assert!(!error.message.contains("may have taken effect"), "{error}");
    assert!(is_serving(&servers, workspace));
}

#[tokio::test]
async fn content_of_an_unknown_kind_is_shown_with_the_rest() {
    let servers = one(odd(&[])).clock(Arc::new(ManualClock::default()));
    let workspace = WorkspaceId::generate();
    let content = json!([
        {"type": "text", "text": "before", "annotations": {"priority": "high"}, "_meta": 1},
        {"type": "video", "url": "x:y"},
        {"type": "image", "data": "Zm9v", "mimeType": 1},
        {"type": "text", "text": "after"},
    ]);
    let result = json!({"content": content, "isError": "true", "_meta": "odd"});
    let output = say(&servers, workspace, answer(&result)).await.unwrap();
    let shown = texts(&output);
    assert_eq!((shown[0], shown[3]), ("before", "after"));
    assert!(shown[1].contains("`video`") && shown[1].contains("x:y"));
    assert!(shown[2].contains("`image`") && shown[2].contains("Zm9v"));
    assert!(output.is_error);
    for (result, shown) in [
        (json!("plain"), "plain"),
        (json!({"content": "one"}), "one"),
        (json!({"content": {"type": "text", "text": "one"}}), "one"),
        (json!({"toolResult": 5}), "{\"toolResult\":5}"),
    ] {
        let output = say(&servers, workspace, answer(&result)).await.unwrap();
        assert_eq!(text(&output), shown);
    }
    let endless = "x".repeat(200_000);
    let result = json!({"content": [{"type": "video", "data": endless}]});
    let output = say(&servers, workspace, answer(&result)).await.unwrap();
    assert!(text(&output).ends_with("more bytes]"));
    let task = json!({"resultType": "task", "taskId": "t"});
    let error = say(&servers, workspace, answer(&task)).await.unwrap_err();
    assert!(error.message.contains("began a task"), "{error}");
    assert!(is_serving(&servers, workspace));
}

/// The time never goes on here: whatever comes does so at once, or not at all.
#[tokio::test]
async fn a_line_that_is_half_text_is_delivered() {
    let servers = one(odd(&[])).clock(Arc::new(ManualClock::default()));
    let workspace = WorkspaceId::generate();
    let line = |text: &str| {
        let content = format!("[{{\"type\":\"text\",\"text\":\"{text}\"}}]");
        format!("{{\"jsonrpc\":\"2.0\",\"id\":$ID,\"result\":{{\"content\":{content}}}}}")
    };
    for (sent, shown) in [
        ("a\\ud83db", "a\u{fffd}b"),
        ("\\ude00\\ud83d\\ude00", "\u{fffd}\u{1f600}"),
        ("a\u{ff}b", "a\u{fffd}b"),
        ("\u{c3}\u{a9}", "é"),
    ] {
        let output = say(&servers, workspace, raw(&line(sent))).await.unwrap();
        assert_eq!(text(&output), shown);
    }
    let plain = line("plain");
    for whole in [
        format!("\u{ef}\u{bb}\u{bf}{plain}"),
        format!("[{plain}]"),
        format!("starting up\n[INFO] ready\n\n{plain}\r"),
        plain.replace("\"id\":$ID", "\"id\":$ID,\"error\":null"),
        plain.replace("\"jsonrpc\":\"2.0\",", ""),
        plain.replace("\"id\":$ID,", ""),
        plain.replace("\"id\":$ID", "\"id\":$ID,\"method\":\"tools/call\""),
    ] {
        let output = say(&servers, workspace, raw(&whole)).await.unwrap();
        assert_eq!(text(&output), "plain", "{whole}");
    }
    let told = "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":[1]}";
    let output = say(&servers, workspace, raw(&format!("{told}\n{plain}"))).await;
    assert_eq!(text(&output.unwrap()), "plain");
    assert!(is_serving(&servers, workspace));
}

/// The time never goes on here: whatever fails does so at once.
#[tokio::test]
async fn a_line_that_cannot_be_read_fails_its_call_at_once_and_says_why() {
    let servers = one(odd(&[])).clock(Arc::new(ManualClock::default()));
    let workspace = WorkspaceId::generate();
    let long = 17 * 1024 * 1024;
    for (arguments, why) in [
        (
            raw("{\"jsonrpc\":\"2.0\",\"id\":$ID,\"result\":{\"content\":[{"),
            "no JSON",
        ),
        (
            raw("{\"jsonrpc\":\"2.0\",\"id\":$ID,\"result\":{\"n\":NaN}}"),
            "no JSON",
        ),
        (raw("{\"result\":{\"n\":NaN},\"id\":$ID}"), "no JSON"),
        (raw("{\"jsonrpc\":\"2.0\",\"id\":"), "no JSON"),
        (
            raw("{\"jsonrpc\":\"2.0\",\"id\":$ID}"),
            "neither a result nor an error",
        ),
        (json!({ "long": long }), "longer than 16777216 bytes"),
        (
            json!({"long": long, "last": true}),
            "longer than 16777216 bytes",
        ),
    ] {
        let error = say(&servers, workspace, arguments).await.unwrap_err();
        assert_eq!(error.kind, ToolErrorKind::Unavailable);
        assert!(error.message.contains(why), "{error}");
        assert!(error.message.contains("may have taken effect"), "{error}");
    }
    let refused = raw("{\"error\":\"I cannot read this\",\"id\":null}");
    let output = say(&servers, workspace, refused).await.unwrap();
    assert!(output.is_error && text(&output).contains("I cannot read this"));
    assert!(is_serving(&servers, workspace), "the connection went on");
}

#[tokio::test]
async fn a_list_that_changed_oddly_is_read_again() {
    let servers = one(odd(&[]));
    let workspace = WorkspaceId::generate();
    assert_eq!(names(&servers, workspace).await.len(), 3);
    let changed =
        "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\",\"params\":7}";
    let line = format!("{changed}\n{{\"id\":$ID,\"result\":\"told\"}}");
    assert_eq!(
        text(&say(&servers, workspace, raw(&line)).await.unwrap()),
        "told"
    );
    assert_eq!(names(&servers, workspace).await.len(), 3);
}

#[tokio::test]
async fn a_server_that_ignores_what_it_does_not_know_starts_within_any_limit() {
    let clock = ManualClock::default();
    let config = McpConfig {
        start_timeout_s: Some(1),
        ..odd(&["--silent"])
    };
    let servers = one(config).clock(Arc::new(clock.clone()));
    let workspace = WorkspaceId::generate();
    let first = tokio::spawn(servers.call_tool(workspace, "it.say", Value::Null));
    begun(&clock).await;
    clock.advance(Duration::from_millis(250));
    assert_eq!(text(&first.await.unwrap().unwrap()), "said");
    let protocol = Some("2025-11-25".to_owned());
    let state = McpState::Serving { protocol };
    assert_eq!(servers.status(workspace)[0].state, state);
    // From then on it costs no time at all.
    servers.close(workspace).await;
    let output = call(&servers, WorkspaceId::generate(), "it.say").await;
    assert_eq!(text(&output.unwrap()), "said");
}

#[tokio::test]
async fn a_newer_server_that_takes_its_time_is_waited_for() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("answered");
    let clock = ManualClock::default();
    let servers = one(odd(&["--late", file.to_str().unwrap()]));
    let servers = servers.clock(Arc::new(clock.clone()));
    let workspace = WorkspaceId::generate();
    let first = tokio::spawn(servers.call_tool(workspace, "it.say", Value::Null));
    begun(&clock).await;
    clock.advance(Duration::from_secs(1));
    assert_eq!(text(&first.await.unwrap().unwrap()), "said");
    let protocol = Some("2026-07-28".to_owned());
    let state = McpState::Serving { protocol };
    assert_eq!(servers.status(workspace)[0].state, state);
}

/// The processes whose environment holds this, but for those that are dead already.
fn marked(mark: &str) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let processes = processes.filter(|process| {
        let environment = std::fs::read(process.path().join("environ")).unwrap_or_default();
        environment
            .split(|byte| *byte == 0)
            .any(|variable| variable == mark.as_bytes())
    });
    processes
        .map(|process| process.file_name().into_string().unwrap())
        .collect()
}

async fn until_none(mark: &str) {
    let gone = async {
        while !marked(mark).is_empty() {
            tokio::task::yield_now().await;
        }
    };
    let gone = tokio::time::timeout(PATIENCE, gone).await;
    gone.unwrap_or_else(|_| panic!("{:?} are left", marked(mark)));
}

/// Reads nothing, heeds nothing, and has a child that does the same.
fn unread(mark: &str) -> McpConfig {
    let script = "trap '' TERM; sleep 600 & sleep 600";
    let (name, value) = mark.split_once('=').unwrap();
    McpConfig {
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        env: [(name.to_owned(), value.to_owned())].into(),
        ..McpConfig::default()
    }
}

async fn turns(count: usize) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_of_a_start_that_ends_at_any_point() {
    let mark = format!("LASTWORD_MARK={}", WorkspaceId::generate());
    let servers = one(unread(&mark));
    // A hundred ends, from before the program is started to long after.
    for round in 0..4_u32 {
        let ends = (0..25_u32).map(|n| {
            let servers = servers.clone();
            async move {
                let workspace = WorkspaceId::generate();
                let start = servers.call_tool(workspace, "it.say", Value::Null);
                let points = 1_usize << ((n * 7 + round * 5) % 14);
                let Either::Right((_, start)) = select(start, pin!(turns(points))).await else {
                    panic!("it never answers");
                };
                // Dropped before its workspace closes, or still under way.
                if n % 2 == 0 {
                    drop(start);
                    return servers.close(workspace).await;
                }
                let ((), ended) = tokio::join!(servers.close(workspace), start);
                ended.unwrap_err();
            }
        });
        join_all(ends).await;
    }
    // Closing has waited for the programs; the kernel may not be done with what they left.
    until_none(&mark).await;
}

#[tokio::test]
async fn closing_waits_for_a_program_whose_start_was_given_up() {
    let mark = format!("LASTWORD_MARK={}", WorkspaceId::generate());
    let script = "trap '' TERM; exec sleep 600";
    let servers = one(McpConfig {
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        ..unread(&mark)
    });
    let workspace = WorkspaceId::generate();
    let start = tokio::spawn(servers.call_tool(workspace, "it.say", Value::Null));
    let begun = async {
        while marked(&mark).is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, begun)
        .await
        .expect("it is started");
    start.abort();
    servers.close(workspace).await;
    assert_eq!(marked(&mark), [""; 0]);
}

#[test]
fn nothing_is_left_of_a_start_whose_host_is_dropped() {
    let mark = format!("LASTWORD_MARK={}", WorkspaceId::generate());
    let runtime = || tokio::runtime::Runtime::new().unwrap();
    for points in [1, 100, 10_000] {
        runtime().block_on(async {
            let servers = one(unread(&mark));
            let start = pin!(servers.call_tool(WorkspaceId::generate(), "it.say", Value::Null));
            let _start = select(start, pin!(turns(points))).await;
        });
    }
    runtime().block_on(until_none(&mark));
}
