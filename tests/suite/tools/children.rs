//! Runs that runs start: in sessions of their own, with no more than those above them have.

use super::budgets::costly;
use super::{results, text};
use futures_util::future::BoxFuture;
use lastword::event::{EventBody, Position};
use lastword::model::CallContext;
use lastword::permission::Access;
use lastword::permits::{Decision, PermissionPolicy};
use lastword::{Capability, Limits, RunState, SessionFilter};
use lastword_tests::fixture::{Fixture, Plan};
use lastword_tests::guests::guest;
use lastword_tests::tools::TestTools;
use lastword_tests::wat::{Core, DESCRIBE_DATA, manifest};
use serde_json::json;

/// A call that runs the probe, which does what its prompt says.
fn nested(prompt: &str) -> String {
    let arguments = json!({ "agent": "probe", "prompt": prompt });
    format!("tool run_agent {arguments}")
}

async fn with(tools: &TestTools, change: impl FnOnce(Plan) -> Plan) -> Fixture {
    let tools = tools.clone();
    let plan = Plan::new()
        .host(|host| host.tools(tools))
        .options(|options| {
            let options = options.grant(Capability::RunAgents);
            options.grant(Capability::Tools)
        });
    change(plan).build().await
}

async fn plain() -> Fixture {
    with(&TestTools::default(), |plan| plan).await
}

#[tokio::test]
async fn a_child_answers_in_a_session_of_its_own() {
    let fixture = plain().await;
    let outcome = fixture.run(&nested("origin hello")).await;
    assert_eq!(outcome.text(), "parent: hello");
    let filter = SessionFilter {
        parent: Some(fixture.session.id()),
        ..SessionFilter::default()
    };
    let children = fixture
        .host
        .list_sessions(filter)
        .await
        .expect("the sessions");
    let [child] = &children.items[..] else {
        panic!("one child");
    };
    let result = &results(&outcome)[0];
    let structured = result.structured.as_deref().expect("where to look");
    assert!(structured.contains(&child.id.to_string()), "{structured}");
    let session = fixture.host.session(child.id).await.expect("the session");
    let messages = session.messages().await.expect("its messages");
    assert_eq!(
        messages[0].text(),
        "origin hello",
        "its prompt is in its history"
    );
}

#[tokio::test]
async fn a_child_that_fails_is_an_error_with_what_it_had_said() {
    let fixture = plain().await;
    let outcome = fixture.run(&nested("panic at the disco")).await;
    let said = outcome.text();
    assert!(
        said.starts_with("failed: The agent did not finish (failed"),
        "{said}"
    );
    assert!(said.contains("before"), "{said}");
    assert_eq!(
        outcome.receipt.state,
        RunState::Completed,
        "the parent goes on"
    );
}

#[tokio::test]
async fn a_child_ends_with_its_parent() {
    let tools = TestTools::default();
    let fixture = with(&tools, |plan| plan).await;
    let run = fixture
        .start(&nested(r#"tool test.hang {"text":""}"#))
        .await;
    tools.wait_until_begun().await;
    let mut events = fixture.host.events(Position(0));
    let receipt = run.cancel().await.expect("the run ends");
    assert_eq!(receipt.state, RunState::Cancelled);
    let child = loop {
        let event = events
            .next()
            .await
            .expect("it goes on")
            .expect("the log is read");
        match event.body {
            EventBody::RunEnded { receipt } if receipt.run != run.id() => break receipt,
            _ => {}
        }
    };
    assert_eq!(
        (child.state, &*child.cause.name()),
        (RunState::Cancelled, "parent")
    );
    tools.until_dropped(1).await;
    let outcome = fixture.outcome(&run, receipt).await;
    assert!(text(&results(&outcome)[0]).contains("may have taken effect"));
}

#[tokio::test]
async fn recursion_ends_at_its_depth() {
    let limits = Limits::default().child_depth(3);
    let fixture = with(&TestTools::default(), |plan| plan.limits(limits)).await;
    let mut prompt = "origin bottom".to_owned();
    for _ in 0..3 {
        prompt = nested(&prompt);
    }
    assert_eq!(fixture.run(&prompt).await.text(), "parent: bottom");
    let deeper = fixture.run(&nested(&prompt)).await.text();
    assert!(deeper.contains("error limit"), "{deeper}");
    assert!(deeper.contains("depth 3"), "{deeper}");
}

#[tokio::test]
async fn a_child_without_a_slot_is_refused_at_once() {
    let plan = |plan: Plan| plan.options(|options| options.concurrent_runs(1));
    let fixture = with(&TestTools::default(), plan).await;
    let outcome = fixture.run(&nested("echo hello")).await;
    assert!(
        outcome.text().starts_with("error limit"),
        "{}",
        outcome.text()
    );
    assert!(
        outcome.text().contains("as many runs go on as may"),
        "{}",
        outcome.text()
    );
    let sessions = fixture.host.list_sessions(SessionFilter::default()).await;
    let sessions = sessions.expect("the sessions").items;
    assert_eq!(sessions.len(), 1, "its parent's own: {sessions:?}");
}

#[tokio::test]
async fn children_use_their_parent_s_budget() {
    let limits = Limits::default().tool_calls(5);
    let fixture = with(&TestTools::default(), |plan| plan.limits(limits)).await;
    let busy = nested(r#"tool-times 10 test.echo {"text":""}"#);
    let outcome = fixture.run(&busy).await;
    assert_eq!(
        outcome.receipt.cause, "limit(tool-calls)",
        "the parent is beyond it too"
    );
}

#[tokio::test]
async fn a_child_has_no_more_than_its_parent() {
    let tools = TestTools::default();
    let rule: lastword::permission::Rule = "tools=test.echo".parse().expect("a rule");
    let brought = tools.clone();
    let plan = Plan::new()
        .host(|host| host.tools(brought))
        .options(|options| {
            let options = options.grant(Capability::RunAgents);
            options.grant(rule).ask(false)
        });
    let fixture = plan.build().await;
    let may = fixture.run(&nested(r#"tool test.echo {"text":"a"}"#)).await;
    assert_eq!(may.text(), "a");
    let may_not = fixture
        .run(&nested(r#"tool test.change {"text":"a"}"#))
        .await;
    assert!(
        may_not.text().contains("error denied"),
        "{}",
        may_not.text()
    );
}

#[tokio::test]
async fn what_a_child_is_configured_with_is_held_to_its_schema() {
    let schema = r#"{"properties": {"depth": {"type": "integer"}}}"#;
    let typed = Core {
        describe: DESCRIBE_DATA,
        fields: &manifest("typed", None, Some(schema)),
        ..Core::default()
    };
    let fixture = plain().await;
    let loaded = fixture.host.load_agent("typed", typed.component()).await;
    loaded.expect("the agent loads");
    for (depth, fits) in [(json!(1), true), (json!("1"), false)] {
        let config = json!({ "depth": depth });
        let arguments = json!({ "agent": "typed", "prompt": "x", "config": config });
        let text = fixture
            .run(&format!("tool run_agent {arguments}"))
            .await
            .text();
        let refused = text.contains("`depth` is a string; it has to be integer");
        assert_eq!(refused, !fits, "{text}");
        assert_eq!(text.contains("error invalid"), !fits, "{text}");
    }
}

/// A call that runs the narrow probe, which calls a tool.
fn narrow(call: &str) -> String {
    let arguments = json!({ "agent": "narrow-probe", "prompt": call });
    format!("tool run_agent {arguments}")
}

/// The same by a probe that the narrow one runs: everything is granted, and the probe itself
/// wants everything.
fn below_narrow(call: &str) -> String {
    let arguments = json!({ "agent": "probe", "prompt": format!("tool {call}") });
    narrow(&format!("run_agent {arguments}"))
}

#[tokio::test]
async fn whom_a_narrow_agent_runs_has_no_more_than_that_one_wants() {
    let tools = TestTools::default();
    let plan = |plan: Plan| {
        let policy = |host: lastword::HostBuilder| host.permission_policy(Everything);
        let plan = plan.host(policy).agent("probe");
        plan.options(|options| options.grant(Capability::ReadFiles).ask(true))
    };
    let fixture = with(&tools, plan).await;
    let narrow_one = fixture
        .host
        .load_agent("narrow-probe", guest("narrow-probe"));
    narrow_one.await.expect("the agent loads");
    for folder in ["open", "closed"] {
        let folder = fixture.files().join(folder);
        std::fs::create_dir(&folder).expect("a folder");
        std::fs::write(folder.join("file"), "content").expect("a file");
    }
    let (echo, change) = (r#"test.echo {"text":"a"}"#, r#"test.change {"text":"a"}"#);
    let (open, closed) = (
        r#"read_file {"path":"open/file"}"#,
        r#"read_file {"path":"closed/file"}"#,
    );
    for (call, said) in [(echo, "a"), (open, "content")] {
        assert_eq!(fixture.run(&narrow(call)).await.text(), said);
        assert_eq!(fixture.run(&below_narrow(call)).await.text(), said);
    }
    for (call, said) in [(change, "a"), (closed, "content")] {
        let alone = fixture.run(&format!("tool {call}")).await.text();
        assert_eq!(alone, said, "the probe itself may");
        let below_itself = fixture.run(&nested(&format!("tool {call}"))).await.text();
        assert_eq!(below_itself, said, "and below a probe");
        let denied = fixture.run(&narrow(call)).await.text();
        assert!(denied.contains("error denied"), "{denied}");
        assert!(denied.contains("manifest does not ask"), "{denied}");
        let outcome = fixture.run(&below_narrow(call)).await;
        let denied = outcome.text();
        assert!(denied.contains("error denied"), "{denied}");
        assert!(
            denied.contains("never has more than its parent"),
            "{denied}"
        );
    }
    let asked = fixture.host.questions().await.expect("the questions");
    assert_eq!(asked, [], "nobody is asked for what nobody above may have");
}

/// Allows whatever it is asked.
struct Everything;

impl PermissionPolicy for Everything {
    fn decide(&self, _: CallContext, _: Access) -> BoxFuture<'static, Decision> {
        Box::pin(std::future::ready(Decision::Allow))
    }
}

#[tokio::test]
async fn what_children_ask_of_models_counts_above() {
    for (limits, cause) in [
        (Limits::default().tokens(Some(2000)), "limit(tokens)"),
        (Limits::default().cost_micros(Some(50)), "limit(cost)"),
    ] {
        let plan = |plan: Plan| {
            let plan = plan.host(|host| host.model(costly())).limits(limits);
            plan.options(|options| options.grant(Capability::Model))
        };
        let fixture = with(&TestTools::default(), plan).await;
        let child = nested("model-transcript hello");
        let once = fixture.run(&child).await;
        assert_eq!(
            once.receipt.state,
            RunState::Completed,
            "one is within {cause}"
        );
        let call = child.trim_start_matches("tool ");
        let twice = fixture.run(&format!("tools-each {call}\n{call}")).await;
        assert_eq!(twice.receipt.cause, cause, "two children are not");
    }
}

#[tokio::test]
async fn whom_there_is_not_cannot_be_run() {
    let fixture = plain().await;
    let outcome = fixture
        .run(r#"tool run_agent {"agent":"nobody","prompt":"x"}"#)
        .await;
    assert!(
        outcome.text().contains("the agents are: probe"),
        "{}",
        outcome.text()
    );
    let plan = Plan::new();
    let denied = plan.build().await.run(&nested("echo x")).await;
    assert!(
        denied.text().starts_with("error denied"),
        "{}",
        denied.text()
    );
    assert!(
        denied.text().contains("the rule `run-agents"),
        "{}",
        denied.text()
    );
}

#[tokio::test]
async fn a_child_leaves_nothing_that_goes_on_without_its_parent() {
    let fixture = plain().await;
    for waits in ["wait 0", "wait-for Which?"] {
        let outcome = fixture.run(&nested(waits)).await;
        let said = outcome.text();
        assert!(said.contains("cannot wait"), "{said}");
    }
    let data = lastword_tests::check::open(&fixture.data());
    let left: i64 = data
        .query_row("select count(*) from wake", [], |row| row.get(0))
        .expect("a count");
    assert_eq!(left, 0);
    assert!(
        fixture
            .host
            .questions()
            .await
            .expect("the questions")
            .is_empty()
    );

    let filter = SessionFilter {
        parent: Some(fixture.session.id()),
        ..SessionFilter::default()
    };
    let children = fixture.host.list_sessions(filter).await;
    let child = children.expect("the sessions").items[0].id;
    let child = fixture.host.session(child).await.expect("the session");
    let run = child.list_runs(1, None).await.expect("its runs").items[0].run;
    let resumed = child.resume(run).await.expect_err("it is refused");
    assert_eq!(resumed.name(), "not-resumable");
    assert!(resumed.to_string().contains("begun by another run"));
    // Whoever asks there themselves is a user.
    let asked = child.prompt("origin hello").await.expect("it is accepted");
    asked.ended().await.expect("the run ends");
    let said = child.messages().await.expect("its messages");
    assert_eq!(said.last().expect("an answer").text(), "user: hello");
}

lastword_tests::also_in_memory![
    a_child_answers_in_a_session_of_its_own,
    a_child_that_fails_is_an_error_with_what_it_had_said,
    a_child_ends_with_its_parent,
    recursion_ends_at_its_depth,
    a_child_without_a_slot_is_refused_at_once,
    children_use_their_parent_s_budget,
    a_child_has_no_more_than_its_parent,
    whom_a_narrow_agent_runs_has_no_more_than_that_one_wants,
    what_children_ask_of_models_counts_above,
    whom_there_is_not_cannot_be_run,
];
