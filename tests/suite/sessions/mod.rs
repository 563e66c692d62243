//! What happens to sessions beside their runs: listed, renamed, forked, exported, deleted,
//! and folded.

mod attachments;
mod deleted;
mod folded;
mod lists;

use lastword::event::{Event, EventBody, Position, Seq};
use lastword::session::{Export, Role, Todo, TodoStatus};
use lastword::{Events, Host, HostError, Prompt, RunState, Session, SessionFilter};
use lastword::{WorkspaceKey, WorkspaceOptions};
use lastword_tests::check::open;
use lastword_tests::fixture::{Fixture, Plan, builder};
use lastword_tests::guests::guest;
use std::collections::HashSet;
use std::time::Duration;

/// Everything that is stored behind the stream's place.
async fn all(events: Events) -> Vec<Event> {
    let mut events = events.stored();
    let mut read = Vec::new();
    while let Some(event) = events.next().await {
        read.push(event.expect("the log is read"));
    }
    read
}

fn kinds(events: &[Event]) -> Vec<&'static str> {
    events.iter().map(|event| event.body.kind()).collect()
}

async fn ended(session: &Session, prompt: &str) -> RunState {
    let run = session.prompt(prompt).await.expect("it is accepted");
    run.ended().await.expect("it ends").state
}

async fn ids(host: &Host, filter: SessionFilter) -> Vec<lastword::id::SessionId> {
    let page = host.list_sessions(filter).await.unwrap();
    page.items.iter().map(|record| record.id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn renaming_and_planning_change_nothing_else() {
    let fixture = Fixture::new().await;
    fixture.run("echo hello").await;
    let before = fixture.session.record().await.unwrap();
    assert_eq!(before.messages, 2);
    let renamed = fixture.session.rename("  A name  ").await.unwrap();
    let mut expected = before.clone();
    expected.title = Some("A name".to_owned());
    assert_eq!(renamed, expected);
    let todo = vec![Todo {
        content: "one".to_owned(),
        status: TodoStatus::InProgress,
    }];
    let planned = fixture.session.set_todo(todo.clone()).await.unwrap();
    expected.todo.clone_from(&todo);
    assert_eq!(planned, expected);
    assert_eq!(fixture.session.record().await.unwrap(), expected);
    for bad in ["", " \n ", "a\u{7}b", &"x".repeat(201)] {
        let refused = fixture.session.rename(bad).await.unwrap_err();
        assert_eq!(refused.name(), "invalid-value", "{bad:?}");
    }
    let log = all(fixture.session.events(Seq(0))).await;
    let last: Vec<_> = log.iter().rev().take(2).map(|event| &event.body).collect();
    assert_eq!(last[0], &EventBody::SessionTodo { todo });
    assert!(matches!(last[1], EventBody::SessionRenamed { title } if title == "A name"));
    assert_eq!(fixture.violations(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_has_the_history_and_goes_its_own_way() {
    let fixture = Fixture::new().await;
    fixture.run("echo one").await;
    let spoken = fixture.start_until("spin two", "two").await;
    spoken.cancel().await.unwrap();
    fixture.run("echo three").await;
    let messages = fixture.session.messages().await.unwrap();
    let through = messages[3].id;
    let fork = fixture.session.fork(through).await.unwrap();
    let copied = fork.messages().await.unwrap();
    let texts = |messages: &[lastword::session::Message]| -> Vec<_> {
        let told = messages.iter();
        told.map(|m| (m.ordinal, m.role, m.parts.clone(), m.finish))
            .collect::<Vec<_>>()
    };
    assert_eq!(texts(&copied), texts(&messages[..4]));
    let known: HashSet<_> = messages.iter().map(|message| message.id).collect();
    assert!(copied.iter().all(|message| !known.contains(&message.id)));
    let record = fork.record().await.unwrap();
    let from = record.forked_from.unwrap();
    assert_eq!(
        (from.session, from.message),
        (fixture.session.id(), through)
    );
    assert_eq!(record.usage, lastword::session::Usage::default());
    let run = fork.prompt("history").await.unwrap();
    run.ended().await.unwrap();
    let said = fork.messages().await.unwrap().pop().unwrap().text();
    let said: Vec<_> = said.trim().lines().collect();
    assert_eq!(said[..2], ["user: echo one", "assistant: one"]);
    assert!(said.iter().all(|line| !line.contains("three")), "{said:?}");
    let log = all(fork.events(Seq(0))).await;
    let kinds: Vec<_> = log.iter().map(|event| event.body.kind()).collect();
    assert_eq!(kinds[..3], ["session.created", "run.queued", "run.started"]);
    let end = kinds.iter().position(|kind| *kind == "run.ended").unwrap();
    assert!(
        kinds[3..end]
            .iter()
            .all(|kind| kind.starts_with("message."))
    );
    let once = || fixture.session.fork_with_key(through, "k");
    let forks = futures_util::future::join_all((0..6).map(|_| once())).await;
    let forks: HashSet<_> = forks.into_iter().map(|fork| fork.unwrap().id()).collect();
    let kept = *forks.iter().next().unwrap();
    assert_eq!(forks.len(), 1);
    let other = fixture.session.fork_with_key(messages[1].id, "k").await;
    assert_eq!(other.unwrap_err().name(), "key-conflict");
    fixture
        .host
        .session(kept)
        .await
        .unwrap()
        .delete()
        .await
        .unwrap();
    assert_ne!(once().await.unwrap().id(), kept, "the key went with it");
    let nobodys = fixture.session.fork(copied[0].id).await.unwrap_err();
    assert_eq!(nobodys.name(), "unknown-message");
    assert_eq!(fixture.session.messages().await.unwrap().len(), 6);
    assert_eq!(fixture.violations(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_deleted_while_it_speaks() {
    let fixture = Fixture::new().await;
    let child = fixture
        .workspace
        .new_child_session(&fixture.agent, fixture.session.id())
        .await
        .unwrap();
    assert_eq!(
        child.record().await.unwrap().parent,
        Some(fixture.session.id())
    );
    fixture.run("data 1000").await;
    let speaking = fixture.start_until("spin before", "before").await;
    let waiting = fixture.start("echo never").await;
    let mut stream = fixture.session.events(Seq(0));
    let following = tokio::spawn(async move {
        let mut seen = Vec::new();
        loop {
            match stream.next().await {
                Some(Ok(event)) => seen.push(event.body.kind()),
                Some(Err(error)) => return (seen, Some(error.name())),
                None => return (seen, None),
            }
        }
    });
    fixture.session.delete().await.unwrap();
    for run in [speaking, waiting] {
        assert_eq!(run.ended().await.unwrap().state, RunState::Cancelled);
    }
    let (seen, how) = following.await.unwrap();
    assert_eq!((seen.last(), how), (Some(&"session.deleted"), None));
    let gone = fixture.session.id();
    assert_eq!(
        fixture.host.session(gone).await.unwrap_err().name(),
        "unknown-session"
    );
    for refused in [
        fixture.session.prompt("echo late").await.err(),
        fixture.session.rename("late").await.err(),
        fixture.session.export().await.err(),
        fixture.session.delete().await.err(),
    ] {
        assert_eq!(refused.unwrap().name(), "unknown-session");
    }
    assert_eq!(child.record().await.unwrap().parent, None, "children stay");
    assert_eq!(ended(&child, "echo still").await, RunState::Completed);
    let conn = open(&fixture.data());
    for table in ["blob", "blob_use"] {
        let sql = format!("SELECT count(*) FROM {table}");
        let left: i64 = conn.query_row(&sql, [], |row| row.get(0)).unwrap();
        assert_eq!(left, 0, "{table}");
    }
    assert_eq!(fixture.violations(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_session_is_unknown_whatever_is_asked_of_it() {
    let fixture = Fixture::new().await;
    fixture.run("echo hello").await;
    let session = fixture.session.clone();
    let message = session.messages().await.unwrap()[0].id;
    let run = session.runs().await.unwrap()[0].id;
    let nothing = lastword::session::BlobId("0".repeat(64));
    assert_eq!(session.blob(&nothing).await.unwrap(), None);
    session.delete().await.unwrap();
    for refused in [
        session.record().await.err(),
        session.messages().await.err(),
        session.messages_page(Some(message), 1).await.err(),
        session.runs().await.err(),
        session.list_runs(1, None).await.err(),
        session.queue().await.err(),
        session.fork(message).await.err(),
        session.set_todo(vec![]).await.err(),
        session.blob(&nothing).await.err(),
    ] {
        assert_eq!(refused.unwrap().name(), "unknown-session");
    }
    let gone = session.resume(run).await.unwrap_err();
    assert_eq!(gone.name(), "unknown-run");
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_of_what_was_deleted_are_not_given_again() {
    let fixture = Fixture::new().await;
    fixture.run("echo hello").await;
    fixture.session.delete().await.unwrap();
    let left = all(fixture.host.events(Position(0))).await;
    assert_eq!(kinds(&left), ["session.deleted"]);
    let last = &left[0];
    let other = fixture.workspace.new_session(&fixture.agent).await.unwrap();
    let refused = fixture.session.prompt("echo stale").await.unwrap_err();
    assert_eq!(
        refused.name(),
        "unknown-session",
        "a stale handle finds nothing"
    );
    other.delete().await.unwrap();
    let Fixture { host, folder, .. } = fixture;
    host.shutdown().await;
    drop((host, other));
    let host = builder(folder.path()).build().await.unwrap();
    let key = WorkspaceKey::name("again");
    let workspace = host
        .open_workspace(key, WorkspaceOptions::new())
        .await
        .unwrap();
    let agent = guest("probe");
    let agent = host.load_agent("probe", agent).await.unwrap();
    workspace.new_session(&agent).await.unwrap();
    let first = all(host.events(last.pos)).await.pop().unwrap();
    assert!(first.pos > last.pos, "{} after {}", first.pos, last.pos);
}

#[tokio::test(flavor = "multi_thread")]
async fn folding_takes_whole_runs_and_leaves_what_was_said() {
    let plan = Plan::new().host(|builder| builder.retention(Some(Duration::ZERO)));
    let fixture = plan.build().await;
    let first = fixture.start("echo one").await;
    first.ended().await.unwrap();
    let busy = fixture.start_until("spin two", "two").await;
    let before = fixture.session.messages().await.unwrap();
    let log = all(fixture.session.events(Seq(0))).await;
    let end = log
        .iter()
        .rposition(|e| e.body.kind() == "run.ended")
        .unwrap();
    let cut = log[end].seq;
    assert_eq!(
        fixture.host.prune_events().await.unwrap(),
        cut.0,
        "not a run that goes on"
    );
    assert_eq!(fixture.host.prune_events().await.unwrap(), 0, "once");
    for (mut expired, after) in [
        (fixture.session.events(Seq(0)), cut.0),
        (fixture.session.events(Seq(cut.0 - 1)), cut.0),
        (first.events_after(Seq(0)), cut.0),
        (fixture.host.events(Position(0)), log[end].pos.0),
        (
            fixture
                .host
                .workspace_events(fixture.workspace.id(), Position(0)),
            log[end].pos.0,
        ),
    ] {
        for error in [
            expired.check().await.unwrap_err(),
            expired.next().await.unwrap().unwrap_err(),
        ] {
            let HostError::CursorExpired { resume_after } = error else {
                panic!("{error}");
            };
            assert_eq!(resume_after, after);
        }
    }
    let mut rest = fixture.session.events(cut);
    rest.check().await.unwrap();
    assert_eq!(all(rest).await, log[end + 1..]);
    busy.cancel().await.unwrap();
    assert_eq!(first.ended().await.unwrap().state, RunState::Completed);
    assert_eq!(
        fixture.session.messages().await.unwrap()[..before.len()],
        before
    );
    fixture.host.prune_events().await.unwrap();
    let conn = open(&fixture.data());
    let left = conn.query_row("SELECT count(*) FROM event", [], |row| row.get::<_, i64>(0));
    assert_eq!(left.unwrap(), 0, "every run has ended");
    let after = fixture.run("echo three").await;
    assert!(
        after.events[0].seq > log.last().unwrap().seq,
        "an empty log goes on"
    );
    assert_eq!(fixture.violations(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_from_the_future_is_refused() {
    let fixture = Fixture::new().await;
    fixture.run("echo hello").await;
    let log = all(fixture.session.events(Seq(0))).await;
    let last = log.last().unwrap();
    let workspace = fixture.workspace.id();
    let cases = [
        (
            fixture.session.events(last.seq),
            fixture.session.events(Seq(last.seq.0 + 1)),
        ),
        (
            fixture.host.events(last.pos),
            fixture.host.events(Position(last.pos.0 + 1)),
        ),
        (
            fixture.host.workspace_events(workspace, last.pos),
            fixture
                .host
                .workspace_events(workspace, Position(u64::MAX >> 1)),
        ),
    ];
    for (mut good, mut bad) in cases {
        good.check().await.unwrap();
        assert_eq!(bad.check().await.unwrap_err().name(), "invalid-cursor");
        let error = bad.next().await.unwrap().unwrap_err();
        assert!(matches!(error, HostError::InvalidCursor { last } if last > 0));
        assert!(bad.next().await.is_none());
    }
    let nowhere = lastword::id::WorkspaceId::generate();
    let mut nowhere = fixture.host.workspace_events(nowhere, Position(0));
    assert_eq!(
        nowhere.check().await.unwrap_err().name(),
        "unknown-workspace"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_holds_everything() {
    let fixture = Fixture::new().await;
    fixture.run("two-steps").await;
    let spoken = fixture.start_until("spin before", "before").await;
    spoken.cancel().await.unwrap();
    fixture.session.rename("What was said").await.unwrap();
    let export = fixture.session.export().await.unwrap();
    let json = serde_json::to_string(&export).unwrap();
    assert_eq!(serde_json::from_str::<Export>(&json).unwrap(), export);
    let said: usize = export.runs.iter().map(|run| run.messages.len()).sum();
    assert_eq!(said as u64, export.session.messages);
    let page = export.to_markdown();
    assert!(
        page.starts_with("# What was said\n\n## User\n\ntwo-steps\n\n## Assistant\n\none\n"),
        "{page}"
    );
    for expected in [
        "Calls `t`:\n\n```json\n{\"a\":1}\n```",
        "`t` answered:\n\n```\nserved\n```",
        "before\n\n> **cancelled** (user)",
    ] {
        assert!(page.contains(expected), "{expected} in {page}");
    }
    let tools = export.runs[0]
        .messages
        .iter()
        .filter(|m| m.role == Role::Tool);
    assert_eq!(tools.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purged_workspace_was_never_there() {
    let fixture = Fixture::new().await;
    let key = WorkspaceKey::name("other");
    let other = fixture
        .host
        .open_workspace(key, WorkspaceOptions::new())
        .await
        .unwrap();
    let neighbour = other.new_session(&fixture.agent).await.unwrap();
    let speaking = fixture.start_until("spin before", "before").await;
    fixture.start("echo held").await;
    let purged = fixture.workspace.id();
    let mut stream = fixture.host.workspace_events(purged, Position(0));
    stream.next().await.unwrap().unwrap();
    fixture.host.purge_workspace(purged).await.unwrap();
    assert_eq!(speaking.ended().await.unwrap().state, RunState::Interrupted);
    let mut last = None;
    while let Some(event) = stream.next().await {
        last = event.err();
    }
    assert_eq!(last.map(|error| error.name()), Some("unknown-workspace"));
    let again = fixture.host.purge_workspace(purged).await.unwrap_err();
    assert_eq!(again.name(), "unknown-workspace");
    let known = fixture.host.list_workspaces(10, None).await.unwrap();
    assert_eq!(known.items.len(), 1);
    let found = fixture.host.workspace_record(other.id()).await.unwrap();
    assert_eq!(found, known.items[0]);
    let gone = fixture.host.workspace_record(purged).await.unwrap_err();
    assert_eq!(gone.name(), "unknown-workspace");
    let (stale, agent) = (&fixture.workspace, &fixture.agent);
    for refused in [
        stale.new_session(agent).await.err(),
        stale
            .new_child_session(agent, fixture.session.id())
            .await
            .err(),
    ] {
        assert_eq!(refused.unwrap().name(), "unknown-workspace");
    }
    assert_eq!(
        ids(&fixture.host, SessionFilter::default()).await,
        [neighbour.id()]
    );
    assert_eq!(ended(&neighbour, "echo still").await, RunState::Completed);
    let opened = fixture
        .host
        .open_workspace(fixture.workspace.key().clone(), WorkspaceOptions::new());
    assert_ne!(
        opened.await.unwrap().id(),
        purged,
        "the same place is another workspace"
    );
    assert_eq!(fixture.violations(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_read_to_the_end_after_a_shutdown() {
    let fixture = Fixture::new().await;
    fixture.run("echo hello").await;
    let workspace = fixture.workspace.id();
    let log = all(fixture.session.events(Seq(0))).await;
    let mut streams = [
        fixture.session.events(Seq(0)),
        fixture.host.events(Position(0)),
        fixture.host.workspace_events(workspace, Position(0)),
    ];
    for stream in &mut streams {
        stream.next().await.unwrap().unwrap();
    }
    fixture.host.shutdown().await;
    for stream in &mut streams {
        for expected in &log[1..] {
            assert_eq!(&stream.next().await.unwrap().unwrap(), expected);
        }
        assert!(stream.next().await.is_none(), "and then it ends");
    }
    let mut late = fixture.session.events(log.last().unwrap().seq);
    assert!(late.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_names_one_session_of_a_workspace_and_an_agent() {
    let fixture = Fixture::new().await;
    let (host, workspace) = (&fixture.host, &fixture.workspace);
    let other = host.load_agent("other", guest("probe")).await.unwrap();
    let once = |key: &str| workspace.new_session_with_key(&fixture.agent, key.to_owned());
    let first = once("k").await.unwrap();
    assert_eq!(once("k").await.unwrap().id(), first.id());
    assert_ne!(once("l").await.unwrap().id(), first.id());
    let conflict = workspace.new_session_with_key(&other, "k").await;
    assert_eq!(conflict.unwrap_err().name(), "key-conflict");
    let child = workspace.new_child_session_with_key(&fixture.agent, first.id(), "k");
    assert_eq!(child.await.unwrap_err().name(), "key-conflict");

    // Prompts have keys of their own, and so has another workspace.
    let prompt = Prompt::text("echo x").key("k");
    first.prompt(prompt).await.unwrap().ended().await.unwrap();
    let elsewhere = host.open_workspace(WorkspaceKey::name("w"), WorkspaceOptions::new());
    let elsewhere = elsewhere.await.unwrap();
    let there = elsewhere.new_session_with_key(&fixture.agent, "k").await;
    assert_ne!(there.unwrap().id(), first.id());

    let long = "k".repeat(lastword::KEY_BYTES_MAX + 1);
    for wrong in ["", "a\nb", long.as_str()] {
        assert_eq!(once(wrong).await.unwrap_err().name(), "invalid-value");
    }

    // It is free again once its session is deleted.
    first.delete().await.unwrap();
    let anew = workspace.new_session_with_key(&other, "k").await.unwrap();
    assert_ne!(anew.id(), first.id());
    assert_eq!(fixture.violations(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_a_session_outlives_the_host() {
    let fixture = Fixture::new().await;
    let key = fixture.workspace.key().clone();
    let created = fixture.workspace.new_session_with_key(&fixture.agent, "k");
    let created = created.await.unwrap().id();
    fixture.host.shutdown().await;

    let next = Plan::again(fixture.folder).build().await;
    let opened = next.host.open_workspace(key, WorkspaceOptions::new());
    let again = opened.await.unwrap();
    let again = again.new_session_with_key(&next.agent, "k").await.unwrap();
    assert_eq!(again.id(), created);
}

lastword_tests::also_in_memory![
    a_key_names_one_session_of_a_workspace_and_an_agent,
    renaming_and_planning_change_nothing_else,
    a_fork_has_the_history_and_goes_its_own_way,
    a_deleted_session_is_unknown_whatever_is_asked_of_it,
    a_cursor_from_the_future_is_refused,
    an_export_holds_everything,
    a_purged_workspace_was_never_there,
    streams_read_to_the_end_after_a_shutdown,
];
