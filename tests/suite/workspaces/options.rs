//! What a workspace's options took away stays away: they are on disk before the call returns, and
//! hold for what waited already, for what the host itself opens, and for a claim without options.

use super::Bench;
use lastword::event::{EventBody, Seq};
use lastword::id::{ClientId, RunId, SessionId, WorkspaceId};
use lastword::permission::Grants;
use lastword::{
    Capability, Limits, Prompt, Receipt, RunState, Session, Workspace, WorkspaceKey,
    WorkspaceOptions,
};
use lastword_tests::fixture::{builder, wait_until_said};
use lastword_tests::guests::guest;
use lastword_tests::tools::TestTools;
use std::sync::Arc;
use std::time::Duration;

/// How long the sessions wait.
const MINUTE: Duration = Duration::from_secs(60);
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);
const TWICE: &str = r#"tool-times 5 test.echo {"text":"x"}"#;

type Change = fn(WorkspaceOptions) -> WorkspaceOptions;

/// Options that have another limit than the host.
fn limited(change: impl FnOnce(&mut Limits)) -> WorkspaceOptions {
    let mut limits = Limits::default();
    change(&mut limits);
    granting().limits(limits)
}

/// What the workspaces are opened with first.
fn granting() -> WorkspaceOptions {
    WorkspaceOptions::new()
        .grant(Capability::Tools)
        .grant(Capability::State)
        .ask(true)
}

/// Every field, changed. That none is missing, a test beside the fields sees to.
const FIELDS: [(&str, Change); 19] = [
    ("grants", |options| options.grants(Grants::none())),
    ("denials", |options| options.deny(Capability::Tools)),
    ("asks", |options| options.ask(false)),
    ("concurrent_runs", |options| options.concurrent_runs(1)),
    ("memory", |_| limited(|l| l.memory_bytes = 1 << 20)),
    ("tables", |_| limited(|l| l.table_elements = 1 << 10)),
    ("output", |_| limited(|l| l.output_bytes = 1 << 10)),
    ("written", |_| limited(|l| l.written_bytes = 1 << 10)),
    ("descriptors", |_| limited(|l| l.descriptors = 64)),
    ("deadline", |_| limited(|l| l.deadline = Some(MINUTE / 2))),
    ("no deadline", |_| limited(|l| l.deadline = None)),
    ("grace", |_| limited(|l| l.grace = MINUTE)),
    ("finish", |_| limited(|l| l.finish_deadline = MINUTE)),
    ("epilogue", |_| limited(|l| l.epilogue = MINUTE)),
    ("state", |_| limited(|l| l.state_bytes = 1)),
    ("queue", |_| limited(|l| l.queue = 7)),
    ("tokens", |_| limited(|l| l.tokens = Some(1))),
    ("tool_calls", |_| limited(|l| l.tool_calls = 2)),
    ("cost, depth", |_| {
        limited(|l| (l.cost_micros, l.child_depth) = (Some(1), 1))
    }),
];

fn shown(options: &WorkspaceOptions) -> String {
    format!("{options:?}")
}

/// A workspace of this name, opened with everything.
async fn open(bench: &Bench, name: &str) -> (Workspace, Session) {
    let key = WorkspaceKey::name(name);
    let workspace = bench.host.open_workspace(key, granting()).await.unwrap();
    let session = bench.session(&workspace).await;
    (workspace, session)
}

/// A new host over what the first one left, with the agent and the tools.
async fn again(bench: Bench) -> Bench {
    assert_eq!(bench.host.shutdown().await, []);
    let Bench { folder, clock, .. } = bench;
    let time = Arc::new(clock.clone());
    let host = builder(folder.path()).clock(time).concurrent_runs(1);
    let host = host.tools(TestTools::default()).build().await.unwrap();
    let agent = host.load_agent("probe", guest("probe")).await.unwrap();
    let notices = host.lifecycle();
    Bench {
        host,
        agent,
        clock,
        notices,
        folder,
    }
}

/// Waits for a session's second run, and returns it.
async fn second_run(bench: &Bench, session: SessionId) -> RunId {
    let mut events = bench.host.session(session).await.unwrap().events(Seq(0));
    let mut queued = Vec::new();
    while queued.len() < 2 {
        let event = events.next().await.unwrap().unwrap();
        if matches!(event.body, EventBody::RunQueued { .. }) {
            queued.extend(event.run);
        }
    }
    queued[1]
}

async fn end(bench: &Bench, run: RunId) -> Receipt {
    let run = bench.host.run(run).await.unwrap();
    let end = tokio::time::timeout(PATIENCE, run.ended()).await;
    end.expect("it ends").unwrap()
}

async fn options_of(bench: &Bench, id: WorkspaceId) -> String {
    shown(&bench.host.workspace(id).unwrap().options())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_holds_after_a_restart_however_the_workspace_is_opened() {
    let bench = Bench::with(|builder| builder.concurrent_runs(1)).await;
    let mut kept = Vec::new();
    for (field, change) in FIELDS {
        let (wakes, session) = open(&bench, &format!("{field} wakes")).await;
        let prompt = Prompt::text(format!("wait {}", MINUTE.as_millis()));
        let prompt = prompt.config(r#"{"on_wake":"spin"}"#);
        let run = session.prompt(prompt).await.unwrap();
        run.ended().await.unwrap();
        kept.push((field, change, wakes, session));
    }
    // The one slot is taken, so that these wait until the host ends.
    let (_open, busy) = open(&bench, "busy").await;
    wait_until_said(&busy.prompt("spin").await.unwrap(), "before").await;
    let mut rows = Vec::new();
    for (field, change, wakes, session) in kept {
        let (held, waiting) = open(&bench, &format!("{field} held")).await;
        waiting.prompt("spin").await.unwrap();
        let (claimed, _) = open(&bench, &format!("{field} claimed")).await;
        let options = change(granting());
        assert_ne!(shown(&options), shown(&granting()), "{field}");
        for workspace in [&wakes, &held, &claimed] {
            workspace.set_options(options.clone()).await.unwrap();
        }
        let ids = [wakes.id(), held.id(), claimed.id()];
        rows.push((field, shown(&options), ids, session.id()));
    }

    let bench = again(bench).await;
    bench.clock.advance(MINUTE);
    for (field, options, [wakes, ..], session) in &rows {
        second_run(&bench, *session).await;
        assert_eq!(options_of(&bench, *wakes).await, *options, "{field}, woken");
    }
    bench.host.reopen_held().await.unwrap();
    for (field, options, [_, held, claimed], _) in &rows {
        let reopened = options_of(&bench, *held).await;
        assert_eq!(reopened, *options, "{field}, held and reopened");
        let key = WorkspaceKey::name(format!("{field} claimed"));
        let claim = bench.host.claim_workspace(ClientId::generate(), key, None);
        assert_eq!(claim.await.unwrap().id(), *claimed);
        let claimed = options_of(&bench, *claimed).await;
        assert_eq!(claimed, *options, "{field}, claimed without options");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_wakes_or_waited_has_what_was_said_last() {
    let bench = Bench::with(|builder| builder.tools(TestTools::default())).await;
    let few = limited(|limits| limits.tool_calls = 2);
    let denied = granting().deny(
        "tools=test.echo"
            .parse::<lastword::permission::Rule>()
            .unwrap(),
    );
    let mut woken = Vec::new();
    for (name, options) in [("few", few.clone()), ("denied", denied)] {
        let (workspace, session) = open(&bench, name).await;
        let prompt = Prompt::text(format!("wait {}", MINUTE.as_millis()));
        let config = serde_json::json!({ "on_wake": TWICE });
        let run = session.prompt(prompt.config(config.to_string())).await;
        run.unwrap().ended().await.unwrap();
        workspace.set_options(options).await.unwrap();
        woken.push(session.id());
    }
    // One that waits already is held to them as well.
    let (workspace, session) = open(&bench, "waits").await;
    let first = session.prompt("spin").await.unwrap();
    wait_until_said(&first, "before").await;
    let waited = session.prompt(TWICE).await.unwrap();
    workspace.set_options(few).await.unwrap();
    first.cancel().await.unwrap();
    assert_eq!(waited.ended().await.unwrap().cause, "limit(tool-calls)");

    let bench = again(bench).await;
    bench.clock.advance(MINUTE);
    let few = second_run(&bench, woken[0]).await;
    assert_eq!(end(&bench, few).await.cause, "limit(tool-calls)");
    let denied = second_run(&bench, woken[1]).await;
    assert_eq!(end(&bench, denied).await.state, RunState::Completed);
    let session = bench.host.session(woken[1]).await.unwrap();
    let said = session.messages().await.unwrap();
    assert_eq!(said.last().unwrap().text(), "0", "no call was allowed");
}

#[tokio::test]
async fn options_that_a_later_version_kept_open_nothing_by_themselves() {
    let bench = Bench::new().await;
    let (workspace, _) = open(&bench, "w").await;
    assert!(workspace.close().await.is_empty());
    let database = bench.lock_store();
    let later = r#"{"grants":["tools"],"read_only":true}"#;
    let written = database.execute("UPDATE workspace SET options = ?1", [later]);
    assert_eq!(written.unwrap(), 1);
    database.execute_batch("COMMIT").unwrap();
    let key = WorkspaceKey::name("w");
    let client = ClientId::generate();
    let claim = bench.host.claim_workspace(client, key.clone(), None).await;
    assert_eq!(super::name(claim), "unreadable-options");
    let opened = bench.host.open_workspace(key, granting()).await.unwrap();
    assert_eq!(shown(&opened.options()), shown(&granting()));
}
