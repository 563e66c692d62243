//! MCP servers, by one that misbehaves on request: what it is asked, what it is told when a
//! call is given up, when it is started again, and that nothing of it outlives its workspace.

use crate::mcp_fake::{
    One, PATIENCE, Web, call, context, fake, is_cancel, is_slow_call, is_there, names, one, pid,
    seen, text, until_seen,
};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lastword::id::WorkspaceId;
use lastword::mcp::{Elicit, Elicitation, McpConfig, McpServers, McpState, TEXT_MAX};
use lastword::tools::{Effects, ToolErrorKind, ToolProvider};
use lastword::{Capability, RunState};
use lastword_tests::clock::ManualClock;
use lastword_tests::fixture::Plan;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

#[tokio::test]
async fn tools_are_listed_page_by_page_and_called() {
    let servers = one(McpConfig {
        trust_read_only: true,
        ..fake(&["--pages", "4"])
    });
    let workspace = WorkspaceId::generate();
    let tools = servers.tools(&context(workspace)).await.unwrap();
    assert_eq!(tools.len(), 10);
    let echo = tools.iter().find(|tool| tool.name == "it.echo").unwrap();
    assert_eq!(echo.description, "The tool echo.");
    assert_eq!(echo.effects, Effects::None);
    let output = call(&servers, workspace, "it.echo").await.unwrap();
    assert_eq!(text(&output), "hello");
    assert_eq!(output.structured, Some(json!({"text": "hello"})));
    assert!(call(&servers, workspace, "it.fail").await.unwrap().is_error);
    for unknown in ["it.nothing", "that.echo", "echo"] {
        let error = call(&servers, workspace, unknown).await.unwrap_err();
        assert_eq!(error.kind, ToolErrorKind::UnknownTool, "{error}");
    }
    let odd = servers.call_tool(workspace, "it.echo", json!([1])).await;
    assert_eq!(odd.unwrap_err().kind, ToolErrorKind::Invalid);
    let state = &servers.status(workspace)[0].state;
    assert!(matches!(state, McpState::Serving { protocol: Some(p) } if p == "2025-11-25"));
    servers.close(workspace).await;
}

#[tokio::test]
async fn a_list_without_an_end_is_read_for_so_long() {
    let servers = one(fake(&["--endless"]));
    let names = names(&servers, WorkspaceId::generate()).await;
    assert_eq!(names.len(), 64);
}

#[tokio::test]
async fn servers_of_every_age_are_understood() {
    for (options, protocol) in [
        (&["--modern"][..], "2026-07-28"),
        (&[][..], "2025-11-25"),
        (&["--hang-up"][..], "2025-11-25"),
    ] {
        // However slow the machine is, no server is asked before it has answered.
        let servers = one(fake(options)).clock(Arc::new(ManualClock::default()));
        let workspace = WorkspaceId::generate();
        let output = call(&servers, workspace, "it.echo").await;
        assert_eq!(text(&output.unwrap()), "hello", "{options:?}");
        let state = servers.status(workspace).remove(0).state;
        let protocol = Some(protocol.to_owned());
        assert_eq!(state, McpState::Serving { protocol }, "{options:?}");
    }
}

#[tokio::test]
async fn the_server_learns_of_a_call_that_is_dropped() {
    let web = Web::start();
    for config in [fake(&[]), web.config()] {
        let servers = one(config).secrets(Arc::new(One));
        let workspace = WorkspaceId::generate();
        let slow = tokio::spawn(servers.call_tool(workspace, "it.slow", Value::Null));
        let call = until_seen(&servers, workspace, is_slow_call).await;
        assert!(!seen(&servers, workspace).await.iter().any(is_cancel));
        slow.abort();
        assert!(slow.await.unwrap_err().is_cancelled());
        let cancel = until_seen(&servers, workspace, is_cancel).await;
        assert_eq!(cancel["params"]["requestId"], call["id"]);
    }
}

#[tokio::test]
async fn the_server_learns_of_a_run_that_is_cancelled() {
    let servers = one(fake(&[]));
    let host = servers.clone();
    let plan = Plan::new().host(|builder| builder.tools(host));
    let plan = plan.options(|options| options.grant(Capability::Tools));
    let fixture = plan.build().await;
    let workspace = fixture.workspace.id();
    let run = fixture.start("tool it.slow {}").await;
    let call = until_seen(&servers, workspace, is_slow_call).await;
    let receipt = run.cancel().await.expect("the run ends");
    assert_eq!(receipt.state, RunState::Cancelled);
    let cancel = until_seen(&servers, workspace, is_cancel).await;
    assert_eq!(cancel["params"]["requestId"], call["id"]);
    let server = pid(&servers, workspace).await;
    fixture.host.shutdown().await;
    assert!(!is_there(&server), "{server} outlives the host");
}

#[tokio::test]
async fn a_call_that_takes_too_long_is_given_up_and_the_server_learns_it() {
    let clock = ManualClock::default();
    let servers = one(fake(&[])).clock(Arc::new(clock.clone()));
    let workspace = WorkspaceId::generate();
    let slow = tokio::spawn(servers.call_tool(workspace, "it.slow", Value::Null));
    until_seen(&servers, workspace, is_slow_call).await;
    clock.advance(Duration::from_secs(61));
    let error = slow.await.unwrap().unwrap_err();
    assert_eq!(error.kind, ToolErrorKind::Timeout);
    assert!(error.message.contains("timeout_s"), "{error}");
    until_seen(&servers, workspace, is_cancel).await;
}

#[tokio::test]
async fn a_server_that_dies_is_an_error_and_comes_back_after_its_back_off() {
    let clock = ManualClock::default();
    let servers = one(fake(&[])).clock(Arc::new(clock.clone()));
    let workspace = WorkspaceId::generate();
    for wait in [1, 2, 4] {
        let first = pid(&servers, workspace).await;
        let error = call(&servers, workspace, "it.die").await.unwrap_err();
        assert_eq!(error.kind, ToolErrorKind::Unavailable);
        assert!(error.message.contains("exit status: 3"), "{error}");
        assert!(
            error.message.contains("the last words of a server"),
            "{error}"
        );
        assert!(!is_there(&first));
        let error = call(&servers, workspace, "it.echo").await.unwrap_err();
        assert!(
            error.message.contains(&format!("again in {wait} s")),
            "{error}"
        );
        assert!(error.message.contains("last words"), "{error}");
        // Its tools are still listed: a call of one returns the error.
        assert!(
            names(&servers, workspace)
                .await
                .contains(&"it.echo".to_owned())
        );
        clock.advance(Duration::from_secs(wait));
    }
    // After a healthy period it is started again at once.
    pid(&servers, workspace).await;
    clock.advance(Duration::from_secs(60));
    call(&servers, workspace, "it.die").await.unwrap_err();
    pid(&servers, workspace).await;
    servers.close(workspace).await;
}

#[tokio::test]
async fn a_server_that_never_starts_says_why_and_stands_in_nobodys_way() {
    let clock = ManualClock::default();
    let nowhere = McpConfig {
        command: vec!["/nonexistent/server".to_owned()],
        ..McpConfig::default()
    };
    let tables = [
        ("bad", fake(&["--die"])),
        ("good", fake(&[])),
        ("missing", nowhere),
    ];
    let tables = tables.map(|(name, config)| (name.to_owned(), config));
    let servers = McpServers::new(tables.into())
        .unwrap()
        .clock(Arc::new(clock.clone()));
    let workspace = WorkspaceId::generate();
    let names = names(&servers, workspace).await;
    assert!(names.iter().all(|name| name.starts_with("good.")) && names.len() == 10);
    let error = call(&servers, workspace, "bad.echo").await.unwrap_err();
    assert_eq!(error.kind, ToolErrorKind::Unavailable);
    assert!(
        error.message.contains("it cannot be started like this"),
        "{error}"
    );
    let error = call(&servers, workspace, "missing.echo").await.unwrap_err();
    assert!(error.message.contains("/nonexistent/server"), "{error}");
    let status = servers.status(workspace);
    let retry = |at: usize| match &status[at].state {
        McpState::Failed { retry, .. } => Some(*retry),
        _ => None,
    };
    assert_eq!(
        (retry(0), retry(1), retry(2)),
        (Some(Duration::from_secs(1)), None, retry(0))
    );
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_in_time() {
    let clock = ManualClock::default();
    let servers = one(fake(&["--deaf"])).clock(Arc::new(clock.clone()));
    let workspace = WorkspaceId::generate();
    let deaf = tokio::spawn(servers.call_tool(workspace, "it.echo", Value::Null));
    clock.sleepers(1).await;
    assert_eq!(servers.status(workspace)[0].state, McpState::Starting);
    clock.advance(Duration::from_secs(31));
    let error = deaf.await.unwrap().unwrap_err();
    assert_eq!(error.kind, ToolErrorKind::Unavailable);
    assert!(error.message.contains("start_timeout_s"), "{error}");
}

#[tokio::test]
async fn closing_a_workspace_closes_only_its_own() {
    let servers = one(fake(&[]));
    let (here, there) = (WorkspaceId::generate(), WorkspaceId::generate());
    let (mine, theirs) = (pid(&servers, here).await, pid(&servers, there).await);
    assert_ne!(mine, theirs);
    let slow = tokio::spawn(servers.call_tool(here, "it.slow", Value::Null));
    until_seen(&servers, here, is_slow_call).await;
    let began = Instant::now();
    servers.close(here).await;
    assert!(began.elapsed() < Duration::from_secs(10));
    assert!(!is_there(&mine), "{mine} outlives its workspace");
    let error = slow.await.unwrap().unwrap_err();
    assert!(
        error.message.contains("closed with its workspace"),
        "{error}"
    );
    assert_eq!(pid(&servers, there).await, theirs);
    assert!(!seen(&servers, there).await.iter().any(is_slow_call));
    // Opened again, it gets a server of its own.
    assert_ne!(pid(&servers, here).await, mine);
    drop(servers);
    let until_gone = async {
        while is_there(&theirs) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, until_gone)
        .await
        .expect("it ends with its owner");
}

#[tokio::test]
async fn a_list_that_changed_is_read_again() {
    let servers = one(fake(&[]));
    let workspace = WorkspaceId::generate();
    assert_eq!(names(&servers, workspace).await.len(), 10);
    assert_eq!(names(&servers, workspace).await.len(), 10);
    let lists = |seen: Vec<Value>| seen.iter().filter(|m| m["method"] == "tools/list").count();
    assert_eq!(
        lists(seen(&servers, workspace).await),
        1,
        "the list is kept"
    );
    call(&servers, workspace, "it.grow").await.unwrap();
    let grown = async { while names(&servers, workspace).await.len() != 11 {} };
    tokio::time::timeout(PATIENCE, grown)
        .await
        .expect("the new tool is seen");
}

#[tokio::test]
async fn a_newer_server_tells_of_its_list_those_who_subscribe() {
    let servers = one(fake(&["--modern", "--lasting"]));
    let workspace = WorkspaceId::generate();
    assert_eq!(names(&servers, workspace).await.len(), 10);
    let lists = async || {
        let seen = seen(&servers, workspace).await;
        seen.iter().filter(|m| m["method"] == "tools/list").count()
    };
    let subscribes = |message: &Value| message["method"] == "subscriptions/listen";
    until_seen(&servers, workspace, subscribes).await;
    for count in 11..=13 {
        call(&servers, workspace, "it.grow").await.unwrap();
        let grown = async { while names(&servers, workspace).await.len() != count {} };
        tokio::time::timeout(PATIENCE, grown)
            .await
            .expect("the new tool is seen");
    }

    // At first, for each new tool, and once the subscription is active, since no change was
    // reported before: that may be before the first reading, or with the first new tool.
    let read = lists().await;
    assert!((4..=5).contains(&read), "{read}");
    assert_eq!(names(&servers, workspace).await.len(), 13);
    assert_eq!(lists().await, read, "the list is kept");
}

#[tokio::test]
async fn the_time_that_a_person_takes_is_not_the_server_s() {
    struct Slow(ManualClock);
    impl Elicit for Slow {
        fn elicit(&self, _: Elicitation) -> BoxFuture<'static, Option<Map<String, Value>>> {
            // Each person takes longer than the server may.
            self.0.advance(Duration::from_secs(61));
            let asked = self.0.clone();
            async move {
                tokio::task::yield_now().await;
                asked.advance(Duration::from_secs(61));
                Some(Map::new())
            }
            .boxed()
        }
    }
    let clock = ManualClock::default();
    let servers = one(fake(&[])).clock(Arc::new(clock.clone()));
    let servers = servers.elicit(Arc::new(Slow(clock.clone())));
    let workspace = WorkspaceId::generate();
    for _ in 0..3 {
        let output = call(&servers, workspace, "it.ask").await.unwrap();
        assert!(text(&output).contains("accept"), "{output:?}");
    }
    // What is no question counts as ever.
    let slow = tokio::spawn(servers.call_tool(workspace, "it.slow", Value::Null));
    until_seen(&servers, workspace, is_slow_call).await;
    clock.advance(Duration::from_secs(61));
    let error = slow.await.unwrap().unwrap_err();
    assert_eq!(error.kind, ToolErrorKind::Timeout);
}

#[tokio::test]
async fn what_a_server_asks_is_answered() {
    struct Yes;
    impl Elicit for Yes {
        fn elicit(&self, question: Elicitation) -> BoxFuture<'static, Option<Map<String, Value>>> {
            assert_eq!(question.message, "How many?");
            std::future::ready(Some(Map::new())).boxed()
        }
    }
    let plain = one(fake(&[])).directories(|_| Some("/a b".into()));
    let asked = [plain.clone(), plain.elicit(Arc::new(Yes))];
    for (servers, elicited) in asked.into_iter().zip([
        json!({"action": "decline"}),
        json!({"action": "accept", "content": {"n": 7}}),
    ]) {
        let output = call(&servers, WorkspaceId::generate(), "it.ask")
            .await
            .unwrap();
        let answers: Value = serde_json::from_str(text(&output)).unwrap();
        assert_eq!(
            answers["roots"],
            json!({"roots": [{"uri": "file:///a%20b"}]})
        );
        assert_eq!(answers["elicitation"], elicited);
        let refused = answers["sampling"]["message"].as_str().unwrap();
        assert!(refused.contains("no server use its models"), "{refused}");
    }
}

#[tokio::test]
async fn a_program_gets_its_variables_and_few_others_and_tells_no_secret() {
    let secret = ("TOKEN".to_owned(), "{{secret:ONE}}".to_owned());
    let servers = one(McpConfig {
        env: [secret].into(),
        directory: Some("/".into()),
        ..fake(&[])
    });
    let servers = servers.secrets(Arc::new(One));
    let output = call(&servers, WorkspaceId::generate(), "it.environment")
        .await
        .unwrap();
    let variables: Value = serde_json::from_str(text(&output)).unwrap();
    assert_eq!(
        variables["TOKEN"], "[secret]",
        "it was filled in, and redacted"
    );
    // Whatever starts Python may put something in front.
    let path = std::env::var("PATH").unwrap();
    assert!(variables["PATH"].as_str().unwrap().ends_with(&path));
    assert_eq!(variables.get("CARGO_MANIFEST_DIR"), None);
    assert_eq!(output.structured.unwrap()["directory"], "/");
    // Without a source of secrets, a server with secrets is not started.
    let servers = one(McpConfig {
        env: [("TOKEN".to_owned(), "{{secret:ONE}}".to_owned())].into(),
        ..fake(&[])
    });
    let error = call(&servers, WorkspaceId::generate(), "it.echo")
        .await
        .unwrap_err();
    assert!(error.message.contains("`TOKEN`"), "{error}");
}

#[tokio::test]
async fn much_is_cut_and_noise_does_no_harm() {
    let servers = one(fake(&[]));
    let workspace = WorkspaceId::generate();
    let output = servers.call_tool(workspace, "it.loud", json!({"bytes": 10_000_000}));
    let output = output.await.unwrap();
    assert!(text(&output).len() < TEXT_MAX + 100);
    assert!(text(&output).ends_with("more bytes]"));
    // A line beyond the bound is dropped, and the connection goes on.
    let endless = servers.call_tool(workspace, "it.loud", json!({"bytes": 20_000_000}));
    let endless = tokio::spawn(endless);
    assert!(call(&servers, workspace, "it.echo").await.is_ok());
    endless.abort();
}

#[tokio::test]
async fn a_server_over_http_is_used_found_again_and_left() {
    let web = Web::start();
    let servers = one(web.config()).secrets(Arc::new(One));
    let (here, there) = (WorkspaceId::generate(), WorkspaceId::generate());
    let output = call(&servers, here, "it.echo").await.unwrap();
    assert_eq!(text(&output), "hello");
    let messages = seen(&servers, there).await;
    let handshakes = |seen: &[Value]| seen.iter().filter(|m| m["method"] == "initialize").count();
    assert_eq!(handshakes(&messages), 2, "one for each workspace");
    assert_eq!(messages[0]["authorization"], "Bearer [secret]");
    // It forgets all sessions and says 404: one more handshake, and the call is answered.
    call(&servers, here, "it.forget").await.unwrap();
    assert_eq!(
        text(&call(&servers, here, "it.echo").await.unwrap()),
        "hello"
    );
    assert_eq!(handshakes(&seen(&servers, here).await), 3);
    servers.close(here).await;
    let messages = seen(&servers, there).await;
    assert!(messages.iter().any(|message| message["method"] == "DELETE"));
    drop(web);
    let error = call(&servers, there, "it.echo").await.unwrap_err();
    assert_eq!(error.kind, ToolErrorKind::Unavailable);
    assert!(error.message.contains("cannot be reached"), "{error}");
}
