//! What a deleted session keeps: the one event that says so, for followers of it, of its runs, of
//! its workspace and of the host, also for those that come back later.

use super::{all, kinds};
use lastword::event::{Position, Seq};
use lastword::id::{RunId, SessionId};
use lastword::{Events, Host};
use lastword_tests::check::violations;
use lastword_tests::fixture::{Fixture, builder};

/// What a stream brings to its end, without its first events.
async fn tail(mut events: Events) -> Vec<&'static str> {
    let mut seen = Vec::new();
    while let Some(event) = events.next().await {
        seen.push(event.expect("the log is read").body.kind());
    }
    seen.split_off(seen.len().saturating_sub(2))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_stream_of_it_ends_with_the_event_that_says_so() {
    let fixture = Fixture::new().await;
    let ended = fixture.start("echo hello").await;
    ended.ended().await.unwrap();
    let running = fixture.start_until("spin before", "before").await;
    // Beyond its `run.ended` a run's stream has nothing but the session's end to wait for.
    let of_run = fixture.session.events(Seq(0)).stored();
    let end = all(of_run).await.last().unwrap().seq;
    let (_, _, of_ended) = fixture
        .host
        .run_events(ended.id(), Some(end))
        .await
        .unwrap();
    let of_ended = tokio::spawn(tail(of_ended));
    let of_running = tokio::spawn(tail(running.events()));
    let mut of_session = fixture.session.events(Seq(0));
    // Before the deletion takes the log away, so that the followers have seen it.
    running.cancel().await.unwrap();
    assert_eq!(of_running.await.unwrap().last(), Some(&"run.ended"));
    for _ in [ended, running] {
        while of_session.next().await.unwrap().unwrap().body.kind() != "run.ended" {}
    }
    let of_session = tokio::spawn(tail(of_session));
    let workspace = fixture.workspace.id();
    let mut of_workspace = fixture.host.workspace_events(workspace, Position(0));
    let mut of_host = fixture.host.events(Position(0));
    fixture.session.delete().await.unwrap();
    assert_eq!(of_session.await.unwrap(), ["session.deleted"]);
    assert_eq!(of_ended.await.unwrap(), ["session.deleted"]);
    for stream in [&mut of_workspace, &mut of_host] {
        while stream.next().await.unwrap().unwrap().body.kind() != "session.deleted" {}
    }
    // These go on.
    fixture.workspace.new_session(&fixture.agent).await.unwrap();
    for stream in [&mut of_workspace, &mut of_host] {
        let next = stream.next().await.unwrap().unwrap();
        assert_eq!(next.body.kind(), "session.created");
    }
    assert_eq!(fixture.violations(), [""; 0]);
}

/// What a follower learns that comes back with this cursor.
async fn learned(host: &Host, session: SessionId, run: RunId, seen: u64) {
    let (_, mut events) = host.session_events(session, Seq(seen)).await.unwrap();
    events.check().await.unwrap();
    assert_eq!(kinds(&all(events).await), ["session.deleted"]);
    let (_, of, events) = host.run_events(run, Some(Seq(seen))).await.unwrap();
    assert_eq!(of, session);
    assert_eq!(kinds(&all(events).await), ["session.deleted"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_comes_back_learns_it_once_with_any_cursor() {
    let fixture = Fixture::new().await;
    fixture.run("data 1000").await;
    let run = fixture.session.runs().await.unwrap()[0].id;
    let last = all(fixture.session.events(Seq(0))).await.pop().unwrap();
    fixture.session.delete().await.unwrap();
    for seen in 0..=last.seq.0 {
        learned(&fixture.host, fixture.session.id(), run, seen).await;
    }
    let host = &fixture.host;
    let session = fixture.session.id();
    let workspace = fixture.workspace.id();
    let read = all(host.workspace_events(workspace, last.pos)).await;
    assert_eq!(kinds(&read), ["session.deleted"]);
    let told = read[0].seq;
    assert_eq!(told, Seq(last.seq.0 + 1));
    let (_, mut events) = host.session_events(session, told).await.unwrap();
    let refused = events.check().await.unwrap_err();
    assert_eq!(refused.name(), "unknown-session", "it was told");
    let (_, _, events) = host.run_events(run, None).await.unwrap();
    assert_eq!(kinds(&all(events).await), ["session.deleted"]);
    assert_eq!(fixture.violations(), [""; 0]);

    let data = fixture.data();
    let Fixture { host, folder, .. } = fixture;
    host.shutdown().await;
    drop(host);
    let later = builder(folder.path()).build().await.unwrap();
    learned(&later, session, run, 0).await;
    later.purge_workspace(workspace).await.unwrap();
    let purged = later.session_events(session, Seq(0)).await;
    assert_eq!(purged.err().unwrap().name(), "unknown-session");
    let purged = later.run_events(run, None).await;
    assert_eq!(purged.err().unwrap().name(), "unknown-run");
    later.shutdown().await;
    assert_eq!(violations(&data), [""; 0]);
}

lastword_tests::also_in_memory![every_stream_of_it_ends_with_the_event_that_says_so,];
