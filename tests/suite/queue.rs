//! A busy session queues; every prompt gets its own turn and its own end.

use lastword::session::Role;
use lastword::{Capability, WorkspaceKey, WorkspaceOptions};
use lastword::{HostError, Limits, Prompt, RunState};
use lastword_tests::check::violations;
use lastword_tests::fixture::{Fixture, Plan, builder, wait_until_said};
use lastword_tests::guests::guest;

#[tokio::test(flavor = "multi_thread")]
async fn prompts_take_their_turns_and_failures_strand_nobody() {
    let fixture = Fixture::new().await;
    let first = fixture.start_until("spin before", "before").await;
    let failing = fixture.start("panic midway").await;
    let last = fixture.start("history").await;
    assert_eq!(fixture.host.live_runs(None).len(), 3);
    first.cancel().await.unwrap();
    assert_eq!(failing.ended().await.unwrap().state, RunState::Failed);
    let receipt = last.ended().await.unwrap();
    let said = fixture.outcome(&last, receipt).await.text();
    let expected = [
        "user: spin before",
        "assistant: before",
        "user: panic midway",
        "assistant: before",
        "user: history",
    ];
    assert_eq!(
        said.trim().lines().collect::<Vec<_>>(),
        expected,
        "history is in start order"
    );
    assert_eq!(violations(&fixture.data()), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queued_prompt_that_is_cancelled_never_starts() {
    let fixture = Fixture::new().await;
    let busy = fixture.start_until("spin before", "before").await;
    let queued = fixture.start("echo never").await;
    let receipt = queued.cancel().await.unwrap();
    assert_eq!(
        (receipt.state, receipt.cause.as_str()),
        (RunState::Cancelled, "user")
    );
    let outcome = fixture.outcome(&queued, receipt).await;
    assert_eq!(
        outcome.kinds(),
        [
            "run.queued",
            "message.created",
            "message.created",
            "message.finished",
            "run.ended"
        ]
    );
    assert!(outcome.messages.is_empty(), "it stays out of the history");
    busy.cancel().await.unwrap();
    assert_eq!(fixture.run("echo next").await.text(), "next");
    assert_eq!(violations(&fixture.data()), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_a_session_covers_what_was_accepted_before_and_nothing_after() {
    let fixture = Fixture::new().await;
    assert!(
        fixture.session.cancel().await.unwrap().is_empty(),
        "an idle session has nothing to cancel"
    );
    let busy = fixture.start_until("spin before", "before").await;
    let queued = [fixture.start("echo a").await, fixture.start("echo b").await];
    let receipts = fixture.session.cancel().await.unwrap();
    let ended: Vec<_> = receipts.iter().map(|receipt| receipt.run).collect();
    assert_eq!(ended, [busy.id(), queued[0].id(), queued[1].id()]);
    assert!(
        receipts
            .iter()
            .all(|r| (r.state, r.persisted) == (RunState::Cancelled, true))
    );
    assert_eq!(fixture.run("echo after").await.text(), "after");
    assert_eq!(violations(&fixture.data()), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_answers_at_once() {
    let fixture = Plan::new().limits(Limits::default().queue(2)).build().await;
    let busy = fixture.start_until("spin before", "before").await;
    let waiting = [fixture.start("echo a").await, fixture.start("echo b").await];
    let refused = fixture.session.prompt("echo c").await.unwrap_err();
    assert_eq!(refused.name(), "queue-full");
    busy.cancel().await.unwrap();
    for run in waiting {
        assert_eq!(run.ended().await.unwrap().state, RunState::Completed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_names_one_run() {
    let fixture = Fixture::new().await;
    let prompt = || Prompt::text("echo once").key("k");
    let asked = (0..50).map(|_| fixture.session.prompt(prompt()));
    let runs = futures_util::future::join_all(asked).await;
    let ids: std::collections::HashSet<_> =
        runs.iter().map(|run| run.as_ref().unwrap().id()).collect();
    assert_eq!(ids.len(), 1);
    let run = runs.into_iter().next().unwrap().unwrap();
    assert_eq!(run.ended().await.unwrap().state, RunState::Completed);
    let again = fixture.session.prompt(prompt()).await.unwrap();
    assert_eq!(
        again.ended().await.unwrap(),
        run.ended().await.unwrap(),
        "also after its end"
    );
    let other = fixture
        .session
        .prompt(Prompt::text("echo twice").key("k"))
        .await;
    assert_eq!(other.unwrap_err().name(), "key-conflict");
    assert_eq!(violations(&fixture.data()), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_prompt_is_refused_and_nothing_is_stored() {
    let fixture = Fixture::new().await;
    for prompt in ["", "  \n\t "] {
        let refused = fixture.session.prompt(prompt).await.unwrap_err();
        assert!(matches!(refused, HostError::EmptyPrompt));
    }
    assert_eq!(fixture.session.record().await.unwrap().messages, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_are_shared_in_turns() {
    let fixture = Plan::new()
        .host(|host| host.concurrent_runs(1))
        .build()
        .await;
    let other = fixture.workspace.new_session(&fixture.agent).await.unwrap();
    let busy = fixture.start_until("spin before", "before").await;
    let mine = fixture.start("echo mine").await;
    let theirs = other.prompt("echo theirs").await.unwrap();
    assert!(mine.try_ended().is_none() && theirs.try_ended().is_none());
    busy.cancel().await.unwrap();
    assert_eq!(theirs.ended().await.unwrap().state, RunState::Completed);
    assert_eq!(mine.ended().await.unwrap().state, RunState::Completed);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_queued_at_a_shutdown_is_held_until_it_is_resumed() {
    let fixture = Fixture::new().await;
    let busy = fixture.start_until("spin before", "before").await;
    let queued = fixture.start("echo later").await;
    assert!(fixture.host.shutdown().await.is_empty());
    assert_eq!(busy.ended().await.unwrap().cause, "shutdown");
    assert!(fixture.session.prompt("echo too late").await.is_err());
    let (session, id, data) = (fixture.session.id(), queued.id(), fixture.data());
    let Fixture { folder, .. } = fixture;

    let host = builder(folder.path()).build().await.unwrap();
    assert_eq!((host.recovered().ended, host.recovered().held), (0, 1));
    let agent = host.load_agent("probe", guest("probe")).await.unwrap();
    let key = WorkspaceKey::directory(folder.path().join("files")).unwrap();
    let options = WorkspaceOptions::new().grant(Capability::ReadFiles);
    let workspace = host.open_workspace(key, options).await.unwrap();
    let session = workspace.session(session, &agent).await.unwrap();
    let overtaking = session.prompt("echo first").await.unwrap();
    assert_eq!(overtaking.ended().await.unwrap().state, RunState::Completed);
    let resumed = host.resume_held().await.unwrap();
    assert_eq!(
        resumed.iter().map(lastword::Run::id).collect::<Vec<_>>(),
        [id]
    );
    wait_until_said(&resumed[0], "later").await;
    assert_eq!(resumed[0].ended().await.unwrap().state, RunState::Completed);
    let messages = session.messages().await.unwrap();
    let users: Vec<_> = messages
        .iter()
        .filter(|m| m.role == Role::User)
        .map(|m| m.text())
        .collect();
    assert_eq!(
        users,
        ["spin before", "echo first", "echo later"],
        "in the order of their starts"
    );
    assert_eq!(violations(&data), [""; 0]);
}
