//! What MCP servers over HTTP answer beside the protocol: a failed call is that call's own
//! failure, in the server's words, and a session that is refused is opened again.

use crate::mcp_fake::{One, PATIENCE, Web, call, names, one, text};
use crate::mcp_odd::begun;
use lastword::id::WorkspaceId;
use lastword::mcp::{McpConfig, McpServers, McpState};
use lastword::tools::{ToolError, ToolErrorKind, ToolOutput};
use lastword_tests::clock::ManualClock;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// What its server is sent is taken out of what it says.
fn servers(web: &Web) -> McpServers {
    one(web.config()).secrets(Arc::new(One))
}

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

/// How many calls were carried out, and how many sessions there were.
async fn count(servers: &McpServers, workspace: WorkspaceId) -> (u64, u64) {
    let output = call(servers, workspace, "it.count").await.unwrap();
    let count: Value = serde_json::from_str(text(&output)).unwrap();
    let number = |name: &str| count[name].as_u64().unwrap();
    (number("said"), number("sessions"))
}

#[tokio::test]
async fn a_failed_call_is_shown_in_the_server_s_words_and_the_next_one_is_sent() {
    let web = Web::odd(&[]);
    // The time never goes on: nothing is sent later.
    let servers = servers(&web).clock(Arc::new(ManualClock::default()));
    let workspace = WorkspaceId::generate();
    let page = "<html>the pool is empty, canary-7f3a</html>";
    let error = "{\"error\":{\"code\":1,\"message\":\"too fast\"}}";
    for (status, body, words, acted) in [
        (
            503,
            page,
            "HTTP 503 Service Unavailable: <html>the pool",
            true,
        ),
        (500, "", "HTTP 500 Internal Server Error", true),
        (429, error, "HTTP 429 Too Many Requests: too fast", false),
        (403, "not you", "HTTP 403 Forbidden: not you", false),
    ] {
        let refused = json!({"status": status, "body": body});
        let error = say(&servers, workspace, refused).await.unwrap_err();
        assert_eq!(error.kind, ToolErrorKind::Unavailable);
        assert!(error.message.contains(words), "{error}");
        let said = error.message.contains("may have taken effect");
        assert_eq!(said, acted, "{error}");
        assert!(!error.message.contains("canary"), "{error}");
        let next = call(&servers, workspace, "it.say").await;
        assert_eq!(text(&next.unwrap()), "said", "after {status}");
    }
    assert_eq!(count(&servers, workspace).await, (8, 1));
}

#[tokio::test]
async fn a_server_that_asks_for_a_rest_gets_it_within_a_bound() {
    let web = Web::odd(&[]);
    let clock = ManualClock::default();
    let other = servers(&web);
    let servers = servers(&web).clock(Arc::new(clock.clone()));
    let workspace = WorkspaceId::generate();
    assert_eq!(names(&servers, workspace).await.len(), 3);
    for (retry_after, rest) in [("7", 7), ("86400", 30)] {
        let busy = json!({"status": 429, "headers": {"retry-after": retry_after}});
        let error = say(&servers, workspace, busy).await.unwrap_err();
        assert!(error.message.contains("429"), "{error}");
        // A list that is known is not waited for.
        assert_eq!(names(&servers, workspace).await.len(), 3);
        let sent = async || count(&other, workspace).await.0;
        let before = sent().await;
        let next = tokio::spawn(servers.call_tool(workspace, "it.say", Value::Null));
        clock.advance(Duration::from_secs(rest) - Duration::from_millis(1));
        // Another one, which was not asked for a rest, is answered meanwhile.
        assert_eq!(sent().await, before);
        assert!(!next.is_finished());
        clock.advance(Duration::from_millis(1));
        let next = tokio::time::timeout(PATIENCE, next)
            .await
            .expect("it is sent");
        assert_eq!(text(&next.unwrap().unwrap()), "said");
    }
}

#[tokio::test]
async fn a_session_that_is_refused_is_opened_again_and_the_call_made_once() {
    let no_id = "{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32000,\"message\":\
                 \"Bad Request: No valid session ID provided\"},\"id\":null}";
    let own = "{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32001,\"message\":\
               \"Session not found\"},\"id\":$ID}";
    for (status, body) in [
        ("404", ""),
        ("400", ""),
        ("400", "Bad Request: unknown Mcp-Session-Id"),
        ("400", no_id),
        ("400", own),
        ("410", ""),
        ("200", own),
    ] {
        let web = Web::odd(&["--expired", status, body]);
        let servers = servers(&web);
        let workspace = WorkspaceId::generate();
        call(&servers, workspace, "it.forget").await.unwrap();
        let output = call(&servers, workspace, "it.say").await;
        let output = output.unwrap_or_else(|error| panic!("{status} {body}: {error}"));
        assert_eq!(text(&output), "said", "{status} {body}");
        assert_eq!(count(&servers, workspace).await, (1, 2), "{status} {body}");
    }
}

#[tokio::test]
async fn a_session_that_is_lost_in_other_words_is_opened_again_for_the_next_call() {
    // Whether it was carried out is not known, so that it is not sent again.
    let web = Web::odd(&["--expired", "500", "unknown session"]);
    let servers = servers(&web);
    let workspace = WorkspaceId::generate();
    call(&servers, workspace, "it.forget").await.unwrap();
    let error = call(&servers, workspace, "it.say").await.unwrap_err();
    assert!(error.message.contains("unknown session"), "{error}");
    assert_eq!(
        text(&call(&servers, workspace, "it.say").await.unwrap()),
        "said"
    );
    assert_eq!(count(&servers, workspace).await, (1, 2));
}

#[tokio::test]
async fn a_call_that_is_refused_for_itself_ends_no_session() {
    let web = Web::odd(&[]);
    let servers = servers(&web);
    let workspace = WorkspaceId::generate();
    let own = "{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32602,\"message\":\"no such city\"},\
               \"id\":$ID}";
    let refused = json!({"status": 400, "body": own});
    let output = say(&servers, workspace, refused).await.unwrap();
    assert!(output.is_error && text(&output).contains("no such city"));
    assert_eq!(count(&servers, workspace).await, (1, 1));
    // One that does not say what it is about is tried in a session of its own, and no further.
    let refused = json!({"status": 400, "body": "no"});
    let error = say(&servers, workspace, refused).await.unwrap_err();
    assert!(
        error.message.contains("HTTP 400 Bad Request: no"),
        "{error}"
    );
    assert_eq!(count(&servers, workspace).await, (3, 2));
}

#[tokio::test]
async fn an_answer_of_any_shape_is_delivered_or_named() {
    let web = Web::odd(&[]);
    let servers = servers(&web).clock(Arc::new(ManualClock::default()));
    let workspace = WorkspaceId::generate();
    let one = |text: &str| {
        let content = format!("[{{\"type\":\"text\",\"text\":\"{text}\"}}]");
        format!("{{\"jsonrpc\":\"2.0\",\"id\":$ID,\"result\":{{\"content\":{content}}}}}")
    };
    let plain = one("plain");
    let stream = |event: &str| {
        let headers = json!({"content-type": "text/event-stream"});
        json!({"headers": headers, "body": format!("event: message\r\ndata: {event}\r\n\r\n")})
    };
    let html = json!({"content-type": "text/html"});
    for (answer, shown) in [
        (json!({"body": one("a\\ud83d\u{ff}")}), "a\u{fffd}\u{fffd}"),
        (json!({"body": plain, "headers": html}), "plain"),
        (json!({"body": format!("[{plain}]")}), "plain"),
        (json!({"body": plain.replace("\"id\":$ID,", "")}), "plain"),
        (stream(&one("a\\ud83d\u{ff}")), "a\u{fffd}\u{fffd}"),
        (stream(&plain.replace("\"id\":$ID,", "")), "plain"),
        (
            stream(&plain.replace("{\"type\":\"text\",\"text\":\"plain\"}", "\"plain\"")),
            "plain",
        ),
    ] {
        let output = say(&servers, workspace, answer).await.unwrap();
        assert_eq!(text(&output), shown);
    }
    let long = one(&"x".repeat(17 * 1024 * 1024));
    for (answer, why) in [
        (
            json!({"body": "<html>", "headers": html}),
            "of text/html, and no message: <html>",
        ),
        (json!({"body": ""}), "no message"),
        (json!({"body": "{\"id\":$ID"}), "no JSON"),
        (json!({ "body": long }), "longer than 16777216 bytes"),
        (stream("{\"id\":$ID"), "no JSON"),
        (stream(&long), "longer than 16777216 bytes"),
    ] {
        let error = say(&servers, workspace, answer).await.unwrap_err();
        assert!(error.message.contains(why), "{error}");
    }
    assert_eq!(count(&servers, workspace).await.1, 1, "the session went on");
}

#[tokio::test]
async fn a_server_that_ignores_what_it_does_not_know_starts_within_any_limit() {
    let web = Web::odd(&["--silent"]);
    let clock = ManualClock::default();
    let config = McpConfig {
        start_timeout_s: Some(1),
        ..web.config()
    };
    let servers = one(config).secrets(Arc::new(One));
    let servers = servers.clock(Arc::new(clock.clone()));
    let workspace = WorkspaceId::generate();
    let first = tokio::spawn(servers.call_tool(workspace, "it.say", Value::Null));
    begun(&clock).await;
    clock.advance(Duration::from_millis(250));
    assert_eq!(text(&first.await.unwrap().unwrap()), "said");
    let protocol = Some("2025-11-25".to_owned());
    assert_eq!(
        servers.status(workspace)[0].state,
        McpState::Serving { protocol }
    );
    let output = call(&servers, WorkspaceId::generate(), "it.say").await;
    assert_eq!(text(&output.unwrap()), "said");
}
