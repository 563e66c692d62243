//! What dropping the future of each public call leaves, as its documentation says: nothing where it
//! only reads or waits; the whole effect where it hands one command to the store; and otherwise
//! something that another call completes. `tidy/futures.rs` holds the list of calls complete.

use super::handles::{next, until};
use crate::tools::questions::{CHANGE, asked, remember};
use futures_util::future::poll_immediate;
use lastword::event::{EventBody, Seq};
use lastword::id::{AgentId, ClientId, GrantId, RunId};
use lastword::session::{Answer, BlobId, Todo, TodoStatus, Within};
use lastword::{Edit, Host, HostError, Origin, Prompt, Run, RunState, Session, SessionFilter};
use lastword::{Workspace, WorkspaceKey, WorkspaceOptions};
use lastword_tests::clock::ManualClock;
use lastword_tests::fixture::{Fixture, Plan, builder, drop_at, wait_until_said};
use lastword_tests::guests::guest;
use lastword_tests::tools::TestTools;
use std::sync::Arc;
use std::time::Duration;

/// More than any call here waits for one thing after another.
const AWAITS: usize = 8;
const MINUTE: Duration = Duration::from_secs(60);

/// Polls a future once, and drops it.
async fn poll_once(future: impl Future) {
    let _output = poll_immediate(future).await;
}

/// Everything that a call that only reads could have changed.
async fn state(fixture: &Fixture) -> String {
    let host = &fixture.host;
    format!(
        "{:?}\n{:?}\n{:?}\n{:?}\n{:?}",
        fixture.session.export().await.unwrap(),
        host.list_workspaces(100, None).await.unwrap(),
        host.open_workspaces(),
        host.questions().await.unwrap(),
        host.is_closing(),
    )
}

fn text(text: &str) -> Answer {
    Answer::Text {
        text: text.to_owned(),
    }
}

/// Completes once the store has written everything that it was handed before.
async fn written(session: &Session) {
    let title = RunId::generate().to_string();
    session.rename(&title).await.unwrap();
}

/// The runs of a session that this began.
async fn begun_by(session: &Session, origin: &str) -> usize {
    let rows = session.runs().await.unwrap();
    let mut count = 0;
    for row in rows {
        let mut events = session.run(row.id).events();
        while let Some(event) = events.next().await {
            if let EventBody::RunQueued { origin: found, .. } = event.unwrap().body {
                count += usize::from(found == *origin);
                break;
            }
        }
    }
    count
}

async fn busy(session: &Session) -> Run {
    let run = session.prompt("spin before").await.unwrap();
    wait_until_said(&run, "before").await;
    run
}

async fn new_session(fixture: &Fixture) -> Session {
    let session = fixture.workspace.new_session(&fixture.agent);
    session.await.unwrap()
}

async fn sessions(fixture: &Fixture) -> usize {
    fixture.host.sessions(None, 1000).await.unwrap().len()
}

/// Opens a workspace of this name.
async fn open(host: &Host, name: &str) -> Workspace {
    let opened = host.open_workspace(WorkspaceKey::name(name), WorkspaceOptions::new());
    opened.await.unwrap()
}

async fn closed(workspace: &Workspace) {
    until("the workspace stays open", || workspace.status().is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_reads_or_waits_leaves_nothing() {
    let fixture = Fixture::new().await;
    let Fixture {
        host,
        workspace,
        session,
        agent,
        ..
    } = &fixture;
    let run = fixture.start("wait-for Which colour?").await;
    run.ended().await.unwrap();
    let message = session.messages().await.unwrap()[0].id;
    let question = host.questions().await.unwrap()[0].id;
    let other = busy(&new_session(&fixture).await).await;
    let client = ClientId::generate();
    let lease = workspace.attach(client).unwrap();
    let (w, s, r) = (workspace.id(), session.id(), run.id());
    let before = state(&fixture).await;

    macro_rules! leaves_nothing {
        ($($call:expr),+ $(,)?) => {$(
            poll_once($call).await;
            assert_eq!(state(&fixture).await, before, "{}", stringify!($call));
        )+};
    }
    leaves_nothing![
        host.questions(),
        host.questions_in(vec![w]),
        host.asking_workspaces(),
        host.question(question),
        host.grant(GrantId::generate()),
        host.grants(w),
        host.closing(),
        host.drained(),
        host.idle(Duration::ZERO),
        host.close_when_idle(),
        host.health(),
        host.failed(),
        host.list_sessions(SessionFilter::default()),
        host.list_workspaces(1, None),
        host.workspace_record(w),
        host.session_events(s, Seq(0)),
        host.run_events(r, None),
        host.session(s),
        host.run(r),
        host.sessions(None, 1),
        host.next_wake(),
        host.lifecycle().next(),
        workspace.questions(),
        workspace.session(s, agent),
        workspace.stages().next(),
        lease.released(),
        session.questions(),
        session.queue(),
        session.record(),
        session.messages(),
        session.messages_page(Some(message), 1),
        session.runs(),
        session.list_runs(1, None),
        session.export(),
        session.blob(&BlobId("none".to_owned())),
        session.events(Seq(0)).check(),
        session.events(Seq(0)).next(),
        run.state(),
        run.summary(),
        run.receipt(),
        other.ended(),
    ];

    // A stream goes on where it was.
    let mut events = run.events();
    poll_once(events.next()).await;
    let first = events.next().await.unwrap().unwrap();
    assert_eq!(first.body.kind(), "run.queued");
    assert!(other.try_ended().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_hands_over_one_command_has_done_so_at_its_first_poll() {
    let tools = TestTools::default();
    let plan = Plan::new().host(|host| host.tools(tools));
    let fixture = plan.options(|options| options.ask(true)).build().await;
    let (workspace, session) = (&fixture.workspace, &fixture.session);
    let barrier = new_session(&fixture).await;

    drop(session.rename("never"));
    poll_once(session.rename("title")).await;
    let plan = vec![Todo {
        content: "do it".to_owned(),
        status: TodoStatus::Pending,
    }];
    poll_once(session.set_todo(plan.clone())).await;
    written(&barrier).await;
    let record = session.record().await.unwrap();
    assert_eq!(
        (record.title.as_deref(), record.todo),
        (Some("title"), plan)
    );

    let count = sessions(&fixture).await;
    drop(workspace.new_session(&fixture.agent));
    poll_once(workspace.new_session(&fixture.agent)).await;
    poll_once(workspace.new_child_session(&fixture.agent, session.id())).await;
    fixture.run("echo told").await;
    let told = session.messages().await.unwrap()[0].id;
    poll_once(session.fork(told)).await;
    written(&barrier).await;
    assert_eq!(sessions(&fixture).await, count + 3);

    let running = busy(session).await;
    let queued = fixture.start("echo first").await.id();
    poll_once(session.edit_queued(queued, Edit::text("echo edited"))).await;
    poll_once(session.prompt("echo behind")).await;
    written(&barrier).await;
    let waiting = session.queue().await.unwrap();
    assert_eq!(waiting.len(), 2);
    assert!(format!("{:?}", waiting[0].parts).contains("echo edited"));
    running.cancel().await.unwrap();

    let asking = new_session(&fixture).await;
    let run = asking.prompt(CHANGE).await.unwrap();
    let answer = remember(Within::Session, None);
    let question = asked(&run).await.id;
    poll_once(fixture.host.answer(question, answer)).await;
    run.ended().await.unwrap();
    let granted = fixture.host.grants(workspace.id()).await.unwrap();
    assert_eq!(granted.len(), 1, "the answer counts with its grant");
    poll_once(fixture.host.revoke(granted[0].id)).await;
    written(&barrier).await;
    assert_eq!(fixture.host.grants(workspace.id()).await.unwrap(), []);

    let options = WorkspaceOptions::new().ask(true);
    poll_once(workspace.set_options(options)).await;
    assert!(!format!("{:?}", workspace.options()).contains("write-files"));

    poll_once(session.delete()).await;
    written(&barrier).await;
    let refused = session.prompt("echo late").await.unwrap_err();
    assert_eq!(refused.name(), "unknown-session");
    session.delete().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_makes_one_of_calls_that_were_dropped_anywhere() {
    let fixture = Fixture::new().await;
    let (workspace, session) = (&fixture.workspace, &fixture.session);
    fixture.run("echo told").await;
    let told = session.messages().await.unwrap()[0].id;
    let before = sessions(&fixture).await;
    for times in 0..AWAITS {
        let key = format!("{times}");
        let begin = || workspace.new_session_with_key(&fixture.agent, key.clone());
        drop_at(times, begin()).await;
        assert_eq!(begin().await.unwrap().id(), begin().await.unwrap().id());

        let child_key = format!("child {times}");
        let child =
            || workspace.new_child_session_with_key(&fixture.agent, session.id(), &*child_key);
        drop_at(times, child()).await;
        assert_eq!(child().await.unwrap().id(), child().await.unwrap().id());

        let fork = || session.fork_with_key(told, key.clone());
        drop_at(times, fork()).await;
        assert_eq!(fork().await.unwrap().id(), fork().await.unwrap().id());
    }
    assert_eq!(sessions(&fixture).await, before + 3 * AWAITS);

    for times in 0..AWAITS {
        let session = new_session(&fixture).await;
        let failed = session.prompt("panic midway").await.unwrap();
        failed.ended().await.unwrap();
        let resume = || session.resume(lastword::Resume::of(failed.id()).key("k"));
        drop_at(times, resume()).await;
        assert_eq!(resume().await.unwrap().id(), resume().await.unwrap().id());
        assert_eq!(begun_by(&session, "resume").await, 1);

        let session = new_session(&fixture).await;
        let waits = session.prompt("wait-for Which colour?").await.unwrap();
        waits.ended().await.unwrap();
        let question = session.questions().await.unwrap()[0].id;
        let answer = || {
            let host = &fixture.host;
            host.answer_with_key(question, text("echo blue"), "k")
        };
        drop_at(times, answer()).await;
        let run = answer().await.unwrap().run.unwrap();
        run.ended().await.unwrap();
        assert_eq!(answer().await.unwrap().run.unwrap().id(), run.id());
        assert_eq!(begun_by(&session, "answer").await, 1);

        // Without a key the first answer counts as well, whichever call brought it.
        let session = new_session(&fixture).await;
        let waits = session.prompt("wait-for Which colour?").await.unwrap();
        waits.ended().await.unwrap();
        let question = session.questions().await.unwrap()[0].id;
        let host = &fixture.host;
        drop_at(times, host.answer(question, text("echo blue"))).await;
        match host.answer(question, text("echo blue")).await {
            Ok(_) | Err(HostError::AlreadyAnswered { .. }) => {}
            Err(other) => panic!("{other}"),
        }
        assert_eq!(begun_by(&session, "answer").await, 1);
    }
    assert_eq!(fixture.violations(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_is_dropped_has_stopped() {
    let fixture = Fixture::new().await;
    for times in 0..AWAITS {
        let session = new_session(&fixture).await;
        let running = busy(&session).await;
        let queued = session.prompt("echo queued").await.unwrap();
        drop_at(times, session.withdraw(queued.id())).await;
        match queued.state().await.unwrap() {
            RunState::Queued => {
                let receipt = session.withdraw(queued.id()).await.unwrap();
                assert!(receipt.persisted);
            }
            state => assert_eq!(state, RunState::Cancelled, "after {times}"),
        }
        let behind = session.prompt("echo behind").await.unwrap();
        drop_at(1 + times, session.cancel()).await;
        assert_eq!(running.ended().await.unwrap().cause, "user");
        assert_eq!(behind.ended().await.unwrap().state, RunState::Cancelled);

        let run = busy(&session).await;
        drop_at(1 + times, run.cancel()).await;
        assert_eq!(run.ended().await.unwrap().cause, "user");
        let run = busy(&session).await;
        drop_at(1 + times, run.client_gone()).await;
        assert_eq!(run.ended().await.unwrap().cause, "client-gone");
        let run = busy(&session).await;
        drop_at(1 + times, run.parent_ended()).await;
        assert_eq!(run.ended().await.unwrap().cause, "parent");
    }
    assert_eq!(fixture.violations(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_that_is_dropped_closes() {
    let fixture = Fixture::new().await;
    let host = &fixture.host;
    for times in 1..AWAITS {
        let workspace = open(host, "w").await;
        let session = workspace.new_session(&fixture.agent).await.unwrap();
        let run = busy(&session).await;
        let held = session.prompt("echo held").await.unwrap().id();
        drop(workspace.close());
        assert!(run.try_ended().is_none(), "it was not polled");
        drop_at(times, workspace.close()).await;
        closed(&workspace).await;
        assert_eq!(run.ended().await.unwrap().cause, "shutdown");

        // Held prompts are put back once, be it by a call that was dropped or by the next.
        let again = open(host, "w").await;
        drop_at(times, again.resume_held()).await;
        drop_at(times, host.resume_held()).await;
        again.resume_held().await.unwrap();
        let resumed = host.run(held).await.unwrap().ended().await.unwrap();
        assert_eq!(resumed.state, RunState::Completed);
        assert_eq!(begun_by(&session, "user").await, 2);

        let run = busy(&session).await;
        let held = session.prompt("echo held").await.unwrap().id();
        drop_at(times, host.close_workspace(again.id())).await;
        closed(&again).await;
        assert_eq!(run.ended().await.unwrap().cause, "shutdown");

        drop_at(times, host.reopen_held()).await;
        host.reopen_held().await.unwrap();
        let resumed = host.run(held).await.unwrap().ended().await.unwrap();
        assert_eq!(resumed.state, RunState::Completed);
        closed(&again).await;

        drop_at(times, host.purge_workspace(again.id())).await;
        match host.purge_workspace(again.id()).await {
            Ok(()) => {}
            Err(error) => assert_eq!(error.name(), "unknown-workspace"),
        }
        let gone = host.workspace_record(again.id()).await.unwrap_err();
        assert_eq!(gone.name(), "unknown-workspace");
    }
    assert_eq!(fixture.violations(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_is_dropped_ends_with_its_hold() {
    for times in 0..AWAITS {
        let clock = ManualClock::default();
        let plan = Plan::new().host(|host| host.clock(Arc::new(clock.clone())));
        let fixture = plan.build().await;
        let host = &fixture.host;
        let key = WorkspaceKey::name("w");
        let claim = |client| host.claim_workspace(client, key.clone(), None);
        drop_at(times, claim(ClientId::generate())).await;
        drop_at(
            times,
            host.open_workspace(key.clone(), WorkspaceOptions::new()),
        )
        .await;
        let last = claim(ClientId::generate()).await.unwrap();
        clock.advance(MINUTE);
        closed(&last).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wake_or_a_fold_that_is_dropped_is_completed_by_the_next() {
    for times in 0..AWAITS {
        let clock = ManualClock::default();
        let time = Arc::new(clock.clone());
        let plan = Plan::new().host(|host| {
            let host = host.clock(time).wakes(false);
            host.retention(Some(100 * MINUTE))
        });
        let fixture = plan.build().await;
        let (host, session) = (&fixture.host, &fixture.session);
        fixture.run("wait 60000").await;
        clock.advance(2 * MINUTE);
        drop_at(times, host.wake_due()).await;
        assert_eq!(host.wake_due().await, None);
        while begun_by(session, "wake").await == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(begun_by(session, "wake").await, 1);
        for run in session.runs().await.unwrap() {
            session.run(run.id).ended().await.unwrap();
        }

        let told = session.messages().await.unwrap();
        clock.advance(101 * MINUTE);
        drop_at(times, host.prune_events()).await;
        host.prune_events().await.unwrap();
        let folded = session.events(Seq(0)).check().await.unwrap_err();
        assert_eq!(folded.name(), "cursor-expired");
        assert_eq!(session.messages().await.unwrap(), told);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_was_not_loaded_or_forgotten_whole_is_by_the_next_call() {
    let fixture = Fixture::new().await;
    let host = &fixture.host;
    let wasm = std::fs::read(guest("probe")).unwrap();
    let id = AgentId::new("kept").unwrap();
    for times in 0..AWAITS {
        drop_at(times, host.load_agent("kept", guest("probe"))).await;
        drop_at(times, host.keep_agent("kept", wasm.clone())).await;
        host.keep_agent("kept", wasm.clone()).await.unwrap();
        assert!(host.agent(&id).is_some());

        drop_at(times, host.forget_agent(&id)).await;
        host.forget_agent(&id).await.unwrap();
        assert!(host.agent(&id).is_none());
        assert_eq!(host.load_kept_agents().await.unwrap().len(), 0);

        host.keep_agent("kept", wasm.clone()).await.unwrap();
        assert!(host.unload_agent(&id));
        drop_at(times, host.load_kept_agents()).await;
        let loaded = host.load_kept_agents().await.unwrap();
        assert!(loaded[0].1.is_ok() && host.agent(&id).is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_was_not_ended_or_built_whole_is_by_the_next_call() {
    for times in 1..AWAITS {
        let fixture = Fixture::new().await;
        let copy = fixture.folder.path().join("copy.db");
        drop_at(1, fixture.host.backup(&copy)).await;
        until("the copy is finished", || copy.exists()).await;

        let run = busy(&fixture.session).await;
        drop_at(times, fixture.host.drain()).await;
        assert!(fixture.host.is_closing());
        let refused = fixture.session.prompt("echo late").await.unwrap_err();
        // Its workspace closes with the host.
        let refusals = ["host-closing", "workspace-closing"];
        assert!(refusals.contains(&refused.name()), "{refused}");
        drop_at(times, fixture.host.shutdown()).await;
        assert_eq!(fixture.host.shutdown().await, []);
        assert_eq!(run.ended().await.unwrap().cause, "shutdown");

        let Fixture { folder, .. } = fixture;
        drop_at(times, builder(folder.path()).build()).await;
        let host = next(&folder).await;
        assert_eq!(host.recovered().ended, 0);
        host.shutdown().await;
    }
}

/// Uses what the table above has no place for.
#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_with_a_key_that_was_dropped_is_one_run() {
    let fixture = Fixture::new().await;
    for times in 0..AWAITS {
        let asked = Prompt::text("echo once").key(format!("{times}"));
        drop_at(times, fixture.session.prompt(asked.clone())).await;
        let run = fixture.session.prompt(asked).await.unwrap();
        assert_eq!(run.ended().await.unwrap().state, RunState::Completed);
    }
    let user = Origin::User.to_string();
    assert_eq!(begun_by(&fixture.session, &user).await, AWAITS);
}
