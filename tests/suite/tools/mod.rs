//! Tools as agents have them: listed, checked, recorded, bounded, stopped.

mod backlog;
mod budgets;
mod children;
mod commands;
mod denials;
mod files;
mod inside;
mod policies;
pub(crate) mod questions;
mod rewaking;
mod settling;
mod waiting;
mod waking;
mod workbench;

use futures_util::future::BoxFuture;
use lastword::event::{Event, EventBody};
use lastword::model::CallContext;
use lastword::session::{Content, PartBody, ToolCall, ToolResult};
use lastword::tools::{Effects, Invocation, Tool, ToolError, ToolOutput, ToolProvider};
use lastword::{Archive, Capability, RunState};
use lastword_tests::fixture::{Fixture, Outcome, Plan};
use lastword_tests::tools::TestTools;

/// A host with the test's tools, all of them granted.
async fn with(tools: &TestTools) -> Fixture {
    let tools = tools.clone();
    Plan::new()
        .host(|host| host.tools(tools))
        .options(|options| options.grant(Capability::Tools))
        .build()
        .await
}

/// The calls that a run made, in order.
fn calls(outcome: &Outcome) -> Vec<ToolCall> {
    let parts = outcome.messages.iter().flat_map(|message| &message.parts);
    let calls = parts.filter_map(|part| match &part.body {
        PartBody::ToolCall(call) => Some(call.clone()),
        _ => None,
    });
    calls.collect()
}

/// Their results, in order.
fn results(outcome: &Outcome) -> Vec<ToolResult> {
    let parts = outcome.messages.iter().flat_map(|message| &message.parts);
    let results = parts.filter_map(|part| match &part.body {
        PartBody::ToolResult(result) => Some(result.clone()),
        _ => None,
    });
    results.collect()
}

fn text(result: &ToolResult) -> &str {
    match &result.content[..] {
        [Content::Text { text }] => text,
        _ => panic!("one text: {result:?}"),
    }
}

#[tokio::test]
async fn a_call_and_its_result_are_recorded() {
    let fixture = with(&TestTools::default()).await;
    let outcome = fixture.run(r#"tool test.echo {"text":"hello"}"#).await;
    assert_eq!(outcome.text(), "hello");
    let [call] = &calls(&outcome)[..] else {
        panic!("one call");
    };
    assert_eq!((call.name.as_str(), call.started), ("test.echo", false));
    let [result] = &results(&outcome)[..] else {
        panic!("one result");
    };
    assert_eq!(result.call_id, call.id);
    assert_eq!(text(result), "hello");
}

#[tokio::test]
async fn a_call_that_may_have_effects_is_noted_before_it_begins() {
    let fixture = with(&TestTools::default()).await;
    let outcome = fixture.run(r#"tool test.change {"text":"a"}"#).await;
    let kinds = outcome.kinds();
    let at = |kind| kinds.iter().position(|k| *k == kind).expect(kind);
    assert!(at("part.added") < at("tool.started"));
    assert!(at("tool.started") < at("tool.result"));
    assert!(calls(&outcome)[0].started);
}

#[tokio::test]
async fn tools_are_listed_by_whom_they_are_granted_to() {
    let tools = TestTools::default();
    let fixture = with(&tools).await;
    let outcome = fixture.run("tools").await;
    let names = outcome.text();
    assert!(
        names.contains("test.echo") && names.contains("todo"),
        "{names}"
    );
    assert!(!names.contains("no name"), "{names}");
    assert!(!names.contains("run_agent"), "not granted: {names}");
    let plan = Plan::new().host(|host| host.tools(tools));
    let rule: lastword::permission::Rule = "tools=test.ech*".parse().expect("a rule");
    let fixture = plan.options(|options| options.grant(rule)).build().await;
    let names = fixture.run("tools").await.text();
    assert!(
        names.contains("test.echo") && !names.contains("test.change"),
        "{names}"
    );
    let denied = fixture.run(r#"tool test.change {"text":"a"}"#).await;
    assert!(
        denied.text().starts_with("error denied"),
        "{}",
        denied.text()
    );
}

#[tokio::test]
async fn what_goes_wrong_is_a_value_and_a_result() {
    let fixture = with(&TestTools::default()).await;
    for (call, said, recorded) in [
        (
            r#"test.echo {"txt":1}"#,
            "error invalid",
            "`test.echo`: `txt`: unknown field `txt`, expected `text`",
        ),
        (r#"test.echo {}"#, "error invalid", "missing field `text`"),
        (
            r#"todo {"todo":[{"content":"x"}]}"#,
            "error invalid",
            "`todo[0].status` is missing",
        ),
        ("test.echo [1]", "error invalid", "an object"),
        ("test.echo {", "error invalid", "not JSON"),
        (r#"test.nothing {}"#, "error not-found", "no tool"),
        (
            r#"test.fail {"text":""}"#,
            "error unavailable",
            "nobody is there",
        ),
        (
            r#"test.panic {"text":""}"#,
            "error internal",
            "inside the host",
        ),
    ] {
        let outcome = fixture.run(&format!("tool {call}")).await;
        assert!(
            outcome.text().starts_with(said),
            "{call}: {}",
            outcome.text()
        );
        let results = results(&outcome);
        let [result] = &results[..] else {
            panic!("one result for {call}");
        };
        assert!(
            result.is_error && text(result).contains(recorded),
            "{result:?}"
        );
    }
}

#[tokio::test]
async fn too_much_is_cut_or_refused() {
    let fixture = with(&TestTools::default()).await;
    let outcome = fixture.run(r#"tool test.flood {"text":""}"#).await;
    let result = &results(&outcome)[0];
    assert!(text(result).ends_with("more bytes]"));
    assert!(text(result).len() < 300 << 10);
    let huge = format!(r#"tool test.echo {{"text":"{}"}}"#, "x".repeat(1 << 20));
    let outcome = fixture.run(&huge).await;
    assert!(
        outcome.text().starts_with("error limit"),
        "{}",
        &outcome.text()[..80]
    );
    assert!(calls(&outcome).is_empty());
}

#[tokio::test]
async fn calls_made_together_answer_in_their_order() {
    let fixture = with(&TestTools::default()).await;
    let lines: Vec<String> = (0..40)
        .map(|n| format!(r#"test.echo {{"text":"{n}"}}"#))
        .collect();
    let outcome = fixture
        .run(&format!("tools-all {}", lines.join("\n")))
        .await;
    let expected: Vec<String> = (0..40).map(|n| n.to_string()).collect();
    assert_eq!(outcome.text(), expected.join("\n"));
    assert_eq!(results(&outcome).len(), 40);
}

#[tokio::test]
async fn an_id_serves_one_call() {
    let fixture = with(&TestTools::default()).await;
    let outcome = fixture.run(r#"tools-all test.echo {"text":"a"}"#).await;
    assert_eq!(outcome.text(), "a");
    let outcome = fixture
        .run(r#"tool-with-id one test.echo {"text":"a"}"#)
        .await;
    assert_eq!(calls(&outcome)[0].id, "one");
}

#[tokio::test]
async fn a_cancel_reaches_the_tool_and_leaves_a_whole_transcript() {
    let tools = TestTools::default();
    let fixture = with(&tools).await;
    let run = fixture.start(r#"tool test.hang {"text":""}"#).await;
    tools.wait_until_begun().await;
    let receipt = run.cancel().await.expect("the run ends");
    assert_eq!(receipt.state, RunState::Cancelled);
    tools.until_dropped(1).await;
    let outcome = fixture.outcome(&run, receipt).await;
    let result = &results(&outcome)[0];
    assert!(result.is_error);
    assert_eq!(
        text(result),
        "Tool call cancelled by the user; it had been started and may have taken effect"
    );
}

#[tokio::test]
async fn a_run_that_is_asked_to_end_gets_no_more_of_a_tool() {
    let tools = TestTools::default();
    let limits = lastword::Limits::default().grace(std::time::Duration::from_secs(60));
    let brought = tools.clone();
    let plan = Plan::new().host(|host| host.tools(brought)).limits(limits);
    let fixture = plan
        .options(|options| options.grant(Capability::Tools))
        .build()
        .await;
    let run = fixture.start(r#"tool test.hang {"text":""}"#).await;
    tools.wait_until_begun().await;
    let receipt = run.cancel().await.expect("the run ends");
    let outcome = fixture.outcome(&run, receipt).await;
    assert!(
        outcome.text().starts_with("error cancelled"),
        "{}",
        outcome.text()
    );
}

#[tokio::test]
async fn closing_a_workspace_closes_what_tools_had_open_for_it() {
    let tools = TestTools::default();
    let fixture = with(&tools).await;
    let id = fixture.workspace.id();
    assert!(tools.closed().is_empty());
    assert!(fixture.workspace.close().await.is_empty());
    assert_eq!(tools.closed(), [id]);
}

#[tokio::test]
async fn the_plan_is_kept_with_the_session() {
    let fixture = with(&TestTools::default()).await;
    let call = r#"tool todo {"todo":[{"content":"look","status":"completed"},{"content":"do","status":"in_progress"}]}"#;
    let outcome = fixture.run(call).await;
    assert_eq!(outcome.text(), "The plan has 2 points now.");
    let record = fixture.session.record().await.expect("the session");
    assert_eq!(record.todo.len(), 2);
    let refused = fixture
        .run(r#"tool todo {"todo":[{"content":"","status":"done"}]}"#)
        .await;
    assert!(
        refused.text().starts_with("error invalid"),
        "{}",
        refused.text()
    );
}

/// A tool whose first act is to look at the disk: whether it is noted there as begun.
struct Witness(std::path::PathBuf);

impl ToolProvider for Witness {
    fn tools(&self, _: &CallContext) -> BoxFuture<'static, Result<Vec<Tool>, ToolError>> {
        let tool = Tool {
            name: "test.witness".to_owned(),
            description: "Looks at the disk.".to_owned(),
            parameters: serde_json::json!({ "type": "object" }),
            effects: Effects::Some,
        };
        Box::pin(std::future::ready(Ok(vec![tool])))
    }

    fn call(&self, call: Invocation) -> BoxFuture<'static, Result<ToolOutput, ToolError>> {
        // A reader of the disk, not of this host's memory.
        let archive = Archive::open(&self.0).expect("the archive opens");
        let events = archive.events(call.context.session, lastword::event::Seq(0));
        let is_it = |event: &Event| {
            let begun = matches!(event.body, EventBody::ToolStarted { .. });
            begun && event.run == Some(call.context.run)
        };
        let noted = events.expect("the log is read").iter().any(is_it);
        Box::pin(std::future::ready(Ok(ToolOutput::text(noted.to_string()))))
    }
}

#[tokio::test]
async fn what_has_begun_is_on_disk_before_the_tool_begins() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let plan = Plan::new().host(|host| host.data_dir(&data).tools(Witness(data.clone())));
    let plan = plan.options(|options| options.grant(Capability::Tools));
    let fixture = plan.build().await;
    for _ in 0..10 {
        assert_eq!(fixture.run("tool test.witness {}").await.text(), "true");
    }
}

#[tokio::test]
async fn the_host_s_own_tools_need_no_grant_of_tools() {
    use lastword::tools::{BUILTIN_TOOLS, Commands};
    let plan = Plan::new().host(|host| host.commands(Commands::none().allow("ls")));
    let fixture = plan
        .grants([
            Capability::WriteFiles,
            Capability::RunCommands,
            Capability::Network,
            Capability::RunAgents,
        ])
        .build()
        .await;
    let said = fixture.run("tools").await.text();
    let mut names: Vec<&str> = said.split(' ').collect();
    let mut own = BUILTIN_TOOLS.to_vec();
    names.sort_unstable();
    own.sort_unstable();
    assert_eq!(names, own);
}
