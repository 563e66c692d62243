//! A busy session queues; every prompt gets its own turn and its own end.

use lastword::session::Role;
use lastword::{Capability, WorkspaceKey, WorkspaceOptions};
use lastword::{Hint, HostError, Limits, Origin, Prompt, Resume, RunState};
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
    assert_eq!(fixture.violations(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queued_prompt_that_is_cancelled_never_starts() {
    let fixture = Fixture::new().await;
    let busy = fixture.start_until("spin before", "before").await;
    let queued = fixture.start("echo never").await;
    let receipt = queued.cancel().await.unwrap();
    assert_eq!(
        (receipt.state, &*receipt.cause.name()),
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
    let places = outcome.messages.iter().map(|message| message.ordinal);
    assert_eq!(places.collect::<Vec<_>>(), [None, None]);
    busy.cancel().await.unwrap();
    let said = fixture.run("history").await.text();
    assert!(said.contains("before"), "{said}");
    assert!(!said.contains("never"), "it stays out of the history");
    assert_eq!(fixture.violations(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_back_is_read_where_it_was_page_by_page() {
    let fixture = Fixture::new().await;
    fixture.run("echo one").await;
    let busy = fixture.start_until("spin two", "two").await;
    for text in ["echo first", "echo second"] {
        fixture.start(text).await.cancel().await.unwrap();
    }
    let waiting = fixture.start("echo three").await;
    busy.cancel().await.unwrap();
    waiting.ended().await.unwrap();
    let said = |messages: &[lastword::session::Message]| -> Vec<String> {
        let said = messages.iter().map(|message| {
            let beside = if message.ordinal.is_none() { "-" } else { "" };
            format!("{beside}{}: {}", message.role.as_str(), message.text())
        });
        said.collect()
    };
    let expected = [
        "user: echo one",
        "assistant: one",
        "user: spin two",
        "-user: echo first",
        "-assistant: ",
        "-user: echo second",
        "-assistant: ",
        "assistant: two",
        "user: echo three",
        "assistant: three",
    ];
    let whole = fixture.session.messages().await.unwrap();
    assert_eq!(said(&whole), expected);
    for size in 1..=expected.len() as u32 {
        let (mut pages, mut before) = (Vec::new(), None);
        loop {
            let page = fixture.session.messages_page(before, size).await.unwrap();
            let Some(first) = page.first() else { break };
            before = Some(first.id);
            pages = [page, pages].concat();
        }
        assert_eq!(pages, whole, "{size} at a time");
    }
    let through = whole[3].id;
    let refused = fixture.session.fork(through).await.unwrap_err();
    assert_eq!(refused.name(), "unknown-message", "no history ends there");
    let exported = fixture.session.export().await.unwrap();
    let text = exported.to_markdown();
    for part in ["echo first", "echo second", "**cancelled** (user)"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let history = fixture.run("history").await.text();
    assert!(!history.contains("first"), "{history}");
    assert_eq!(fixture.violations(), [""; 0]);
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
    assert_eq!(fixture.violations(), [""; 0]);
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
    assert_eq!(fixture.violations(), [""; 0]);
}

/// Runs of a session, by who began them.
async fn origins(fixture: &Fixture) -> Vec<Origin> {
    let page = fixture.session.list_runs(100, None).await.unwrap();
    page.items.into_iter().map(|run| run.origin).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_failed_is_gone_on_with_once() {
    let fixture = Fixture::new().await;
    let session = &fixture.session;
    let failed = fixture.start_until("spin before", "before").await;
    failed.cancel().await.unwrap();
    let id = failed.id();
    let asked = (0..6).map(|_| session.resume(id));
    let keyed = (0..6).map(|_| session.resume(Resume::of(id).key("k")));
    let (asked, keyed) = tokio::join!(
        futures_util::future::join_all(asked),
        futures_util::future::join_all(keyed)
    );
    let runs: Vec<_> = asked.into_iter().chain(keyed).map(Result::unwrap).collect();
    let again = &runs[0];
    assert!(runs.iter().all(|run| run.id() == again.id()));
    assert_eq!(origins(&fixture).await, ["user", "resume"]);
    wait_until_said(again, "before").await;
    again.cancel().await.unwrap();
    // It has its end: the key names it still, and nothing else goes on with the first.
    let known = session.resume(Resume::of(id).key("k")).await.unwrap();
    assert_eq!(known.id(), again.id());
    for late in [Resume::of(id), Resume::of(id).key("late")] {
        let refused = session.resume(late).await.unwrap_err();
        assert_eq!(refused.name(), "already-resumed");
        assert_eq!(refused.hint(), Some(Hint::Resume(again.id())));
    }
    let other = session.resume(Resume::of(again.id()).key("k")).await;
    assert_eq!(other.unwrap_err().name(), "key-conflict");
    let prompt = session.prompt(Prompt::text("echo x").key("k")).await;
    assert_eq!(prompt.unwrap_err().name(), "key-conflict");
    let third = session.resume(again.id()).await.unwrap();
    wait_until_said(&third, "before").await;
    third.cancel().await.unwrap();
    assert_eq!(origins(&fixture).await, ["user", "resume", "resume"]);
    assert_eq!(fixture.violations(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_prompt_is_put_back_once_and_its_key_names_it_to_the_end() {
    let one = Plan::new().host(|host| host.concurrent_runs(1));
    let fixture = one.build().await;
    let busy = fixture.start_until("spin before", "before").await;
    let held = fixture.start("echo held").await;
    fixture.workspace.close().await;
    assert_eq!(busy.ended().await.unwrap().state, RunState::Interrupted);
    let key = fixture.workspace.key().clone();
    let options = WorkspaceOptions::new();
    let again = fixture.host.open_workspace(key, options).await.unwrap();
    assert_eq!(again.id(), fixture.workspace.id());
    // It stays in the queue while it is asked for.
    let other = again.new_session(&fixture.agent).await.unwrap();
    let blocking = other.prompt("spin on").await.unwrap();
    wait_until_said(&blocking, "on").await;
    let session = &fixture.session;
    let alone = session.resume(Resume::of(held.id()).key("alone")).await;
    assert_eq!(alone.unwrap().id(), held.id());
    let which = || Resume::of(held.id()).key("k");
    let asked = (0..6).map(|_| session.resume(which()));
    let resumed = futures_util::future::join_all(asked).await;
    assert!(
        resumed
            .into_iter()
            .all(|run| run.unwrap().id() == held.id())
    );
    blocking.cancel().await.unwrap();
    let receipt = session.run(held.id()).ended().await.unwrap();
    assert_eq!(receipt.state, RunState::Completed);
    for key in ["alone", "k"] {
        let again = session.resume(Resume::of(held.id()).key(key)).await;
        assert_eq!(again.unwrap().id(), held.id(), "{key}");
    }
    let refused = session.resume(held.id()).await.unwrap_err();
    assert_eq!(refused.name(), "not-resumable");
    assert_eq!(origins(&fixture).await, ["user", "user"]);
    assert_eq!(fixture.violations(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_prompt_is_refused_and_nothing_is_stored() {
    let fixture = Fixture::new().await;
    for prompt in ["", "  \n\t "] {
        let refused = fixture.session.prompt(prompt).await.unwrap_err();
        assert!(matches!(refused, HostError::EmptyPrompt(_)));
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

lastword_tests::also_in_memory![
    prompts_take_their_turns_and_failures_strand_nobody,
    a_queued_prompt_that_is_cancelled_never_starts,
    what_was_taken_back_is_read_where_it_was_page_by_page,
    cancelling_a_session_covers_what_was_accepted_before_and_nothing_after,
    a_full_queue_answers_at_once,
    a_key_names_one_run,
    a_run_that_failed_is_gone_on_with_once,
    a_held_prompt_is_put_back_once_and_its_key_names_it_to_the_end,
    an_empty_prompt_is_refused_and_nothing_is_stored,
    slots_are_shared_in_turns,
];
