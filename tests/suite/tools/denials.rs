//! What a host denies, no workspace of it allows: however and whenever it was opened, and whatever
//! was granted, answered or decided there before.

use lastword::event::{EventBody, Position};
use lastword::model::CallContext;
use lastword::permission::{Access, Rule};
use lastword::permits::{Decision, PermissionPolicy};
use lastword::session::{Answer, Remember, Within};
use lastword::{Agent, Capability, Host, HostBuilder, Prompt, Run, WorkspaceKey, WorkspaceOptions};
use lastword_tests::clock::ManualClock;
use lastword_tests::fixture::{Fixture, Plan, builder, wait_until_said};
use lastword_tests::guests::guest;
use lastword_tests::tools::TestTools;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

const CHANGE: &str = r#"tool test.change {"text":"done"}"#;

fn rule() -> Rule {
    "tools=test.change".parse().expect("a rule")
}

/// With the tools, and, if it is the host's, the denial.
fn with(host: HostBuilder, denies: bool) -> HostBuilder {
    let host = host.tools(TestTools::default());
    match denies {
        true => host.deny(rule()),
        false => host,
    }
}

/// What a run said of the call: the tool's word, or that the rule denies it.
async fn said(run: &Run) -> bool {
    run.ended().await.expect("the run ends");
    let mut text = String::new();
    let mut events = run.events();
    while let Some(event) = events.next().await {
        if let EventBody::TextDelta { text: more, .. } = event.expect("the log is read").body {
            text.push_str(&more);
        }
    }
    let denied = text.contains("`tools=test.change` denies it");
    assert!(denied || text == "done", "{text}");
    denied
}

/// Allows whatever it is asked about.
struct Everything;

impl PermissionPolicy for Everything {
    fn decide(
        &self,
        _: CallContext,
        _: Access,
    ) -> futures_util::future::BoxFuture<'static, Decision> {
        Box::pin(async { Decision::Allow })
    }
}

#[tokio::test]
async fn no_options_and_no_policy_lift_it() {
    for denies in [false, true] {
        let plan = Plan::new()
            .host(|host| with(host, denies).permission_policy(Everything))
            .options(|options| options.ask(true));
        let fixture = plan.build().await;
        let name = WorkspaceKey::name("another");
        let host = &fixture.host;
        let options = WorkspaceOptions::new().grant(Capability::Tools);
        let other = host.open_workspace(name.clone(), options.clone()).await;
        let other = other.expect("it opens");
        let session = other.new_session(&fixture.agent).await.expect("a session");
        for session in [&fixture.session, &session] {
            let run = session.prompt(CHANGE).await.expect("it is accepted");
            assert_eq!(said(&run).await, denies);
        }
        let listed = other.grants().denied().any(|denied| *denied == rule());
        assert_eq!(listed, denies);
        // The options are replaced, by its handle and by opening it again.
        other.set_options(options.clone()).await.unwrap();
        let run = session.prompt(CHANGE).await.expect("it is accepted");
        assert_eq!(said(&run).await, denies);
        host.open_workspace(name, options)
            .await
            .expect("it is open");
        let run = session.prompt(CHANGE).await.expect("it is accepted");
        assert_eq!(said(&run).await, denies);
    }
}

#[tokio::test]
async fn a_run_that_a_run_starts_has_it_too() {
    for denies in [false, true] {
        let plan = Plan::new()
            .host(|host| with(host, denies))
            .options(|options| {
                let options = options.grant(Capability::RunAgents);
                options.grant(Capability::Tools)
            });
        let arguments = serde_json::json!({ "agent": "probe", "prompt": CHANGE });
        let fixture = plan.build().await;
        let outcome = fixture.run(&format!("tool run_agent {arguments}")).await;
        let text = outcome.text();
        assert_eq!(text.contains("denies it"), denies, "{text}");
    }
}

/// A data directory whose host granted everything and ended: an answer granted the call in the
/// workspace, a prompt waits, and a session sleeps for a minute.
async fn left(clock: &ManualClock) -> TempDir {
    let time = Arc::new(clock.clone());
    let plan = Plan::new()
        .host(|host| with(host, false).clock(time))
        .options(|options| options.grant(rule()).ask(true));
    let fixture = plan.build().await;
    let mut asking = fixture
        .start(r#"tool test.flood {"text":""}"#)
        .await
        .events();
    while let Some(event) = asking.next().await {
        if let EventBody::QuestionAsked { question } = event.expect("the log is read").body {
            let rule = Some("tools=test.*".to_owned());
            let within = Within::Workspace;
            let remember = Some(Remember { within, rule });
            let answer = Answer::Allow { remember };
            let answered = fixture.host.answer(question.id, answer).await;
            assert!(answered.expect("it counts").grant.is_some());
            break;
        }
    }
    let sleeping = fixture.workspace.new_session(&fixture.agent).await;
    let config = serde_json::json!({ "on_wake": CHANGE }).to_string();
    let prompt = Prompt::text("wait 60000").config(config);
    let sleeping = sleeping.expect("a session").prompt(prompt).await;
    sleeping
        .expect("it is accepted")
        .ended()
        .await
        .expect("it ends");
    let busy = fixture.start("spin before").await;
    wait_until_said(&busy, "before").await;
    fixture.start(CHANGE).await;
    fixture.host.shutdown().await;
    let Fixture { folder, .. } = fixture;
    folder
}

/// The next host over what was left.
async fn next(folder: &TempDir, clock: &ManualClock, denies: bool) -> (Host, Agent) {
    let host = builder(folder.path()).clock(Arc::new(clock.clone()));
    let host = with(host, denies).build().await.expect("the host starts");
    let agent = host.load_agent("probe", guest("probe")).await;
    (host, agent.expect("the agent loads"))
}

#[tokio::test]
async fn what_recovery_opens_again_has_it() {
    for denies in [false, true] {
        let clock = ManualClock::default();
        let folder = left(&clock).await;
        let (host, _) = next(&folder, &clock, denies).await;
        let resumed = host.reopen_held().await.expect("prompts go on");
        assert_eq!(resumed.len(), 1);
        assert_eq!(said(&resumed[0]).await, denies);
        host.shutdown().await;
    }
}

#[tokio::test]
async fn what_a_wake_opens_has_it() {
    for denies in [false, true] {
        let clock = ManualClock::default();
        let folder = left(&clock).await;
        clock.advance(Duration::from_secs(61));
        let (host, _) = next(&folder, &clock, denies).await;
        let mut events = host.events(Position(0));
        let woken = loop {
            let event = events.next().await.expect("it goes on");
            let event = event.expect("the log is read");
            match (event.body, event.run) {
                (EventBody::RunQueued { origin, .. }, Some(run)) if origin == "wake" => break run,
                _ => {}
            }
        };
        let woken = host.run(woken).await.expect("the run");
        assert_eq!(said(&woken).await, denies);
        host.shutdown().await;
    }
}

lastword_tests::also_in_memory![
    no_options_and_no_policy_lift_it,
    a_run_that_a_run_starts_has_it_too,
];
