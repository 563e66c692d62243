//! Event streams: gapless, resumable after any event, and independent of each other.

use super::harness::{Feed, Server, ids, json, kinds};
use lastword_server::ServerOptions;
use lastword_tests::fixture::Plan;
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_followed_from_its_first_event_to_its_end() {
    let server = Server::new().await;
    let run = server.prompt("echo hello").await;
    let events = Feed::open(server.get(&format!("{run}/events")))
        .await
        .rest()
        .await;
    assert_eq!(
        kinds(&events)[..3],
        ["run.queued", "message.created", "run.started"]
    );
    let last = events.last().unwrap();
    assert_eq!(last.event.as_deref(), Some("run.ended"));
    let last: Value = serde_json::from_str(last.data.as_deref().unwrap()).unwrap();
    assert_eq!(last["type"], "run.ended");
    assert_eq!(last["receipt"]["state"], "completed");
    let ids = ids(&events);
    assert!(ids.windows(2).all(|pair| pair[1] == pair[0] + 1), "{ids:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_seen_last_gives_exactly_the_rest() {
    let server = Server::new().await;
    let run = server.prompt("two-steps").await;
    let path = format!("{run}/events");
    let all = Feed::open(server.get(&path)).await.rest().await;
    let all = ids(&all);
    for (at, seen) in all.iter().enumerate() {
        let again = server.get(&path).header("last-event-id", seen.to_string());
        let rest = Feed::open(again).await.rest().await;
        assert_eq!(ids(&rest), all[at + 1..], "after {seen}");
    }
    let session = format!("{}/events?follow=false", server.session());
    let all = ids(&Feed::open(server.get(&session)).await.rest().await);
    assert_eq!(all, (1..=all.len() as u64).collect::<Vec<_>>());
    for seen in 0..=all.len() {
        // What was asked for at first counts less than what was seen.
        let again = server.get(&format!("{session}&after=1"));
        let again = again.header("last-event-id", seen.to_string());
        let rest = Feed::open(again).await.rest().await;
        assert_eq!(ids(&rest), all[seen..], "after {seen}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_comes_later_reads_the_whole_run() {
    let server = Server::new().await;
    let run = server.prompt("spin before").await;
    let path = format!("{run}/events");
    let mut first = Feed::open(server.get(&path)).await;
    let seen = first.until("text.delta").await;
    drop(first);
    let mut second = Feed::open(server.get(&path)).await;
    let again = second.until("text.delta").await;
    assert_eq!(ids(&again), ids(&seen));
    let (status, receipt) = json(server.post(&format!("{run}/cancel"), &json!({}))).await;
    assert_eq!(
        (status, &receipt["state"]),
        (StatusCode::OK, &json!("cancelled"))
    );
    let rest = second.rest().await;
    assert_eq!(kinds(&rest).last(), Some(&"run.ended"));
    let all = [ids(&again), ids(&rest)].concat();
    assert!(all.windows(2).all(|pair| pair[1] == pair[0] + 1), "{all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_lost_stream_is_not_the_others() {
    let server = Server::new().await;
    let path = format!("{}/events", server.session());
    let mut doomed = Feed::open(server.get(&path)).await;
    let mut other = Feed::open(server.get(&path)).await;
    doomed.until("session.created").await;
    other.until("session.created").await;
    drop(doomed);
    server.prompt("echo on").await;
    let seen = other.until("run.ended").await;
    assert_eq!(ids(&seen)[0], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_stream_says_that_it_is_alive() {
    let often = |options: &mut ServerOptions| options.heartbeat = Duration::from_millis(1);
    let server = Server::with(Plan::new(), often).await;
    let path = format!("{}/events", server.session());
    let mut response = server.get(&path).send().await.unwrap();
    let mut text = String::new();
    while !text.contains("\n\n: still here\n\n: still here\n\n") {
        let chunk = response.chunk().await.unwrap().expect("the stream goes on");
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    assert_eq!(text.matches("session.created\n").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_see_the_end_of_every_run_when_the_host_ends() {
    let mut server = Server::new().await;
    let run = server.prompt("spin before").await;
    let session = format!("{}/events", server.session());
    let mut of_session = Feed::open(server.get(&session)).await;
    let mut of_run = Feed::open(server.get(&format!("{run}/events"))).await;
    of_session.until("text.delta").await;
    of_run.until("text.delta").await;
    let (left, ()) = tokio::join!(server.fixture.host.drain(), async {
        let rest = of_session.rest().await;
        assert_eq!(kinds(&rest).last(), Some(&"run.ended"));
        let rest = of_run.rest().await;
        assert_eq!(kinds(&rest).last(), Some(&"run.ended"));
    });
    assert!(left.is_empty());
    let (status, health) = json(server.get("/health")).await;
    assert_eq!(
        (status.as_u16(), &health["status"]),
        (503, &json!("closing"))
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_is_followed_through_all_its_sessions_to_its_end() {
    let server = Server::new().await;
    let workspace = server.workspace();
    let client = "7b0f6a52-6b0c-4a57-9d75-2a8f0f6d0001";
    let path = format!("{workspace}/events?client_id={client}");
    let mut feed = Feed::open(server.get(&path)).await;
    let (_, shown) = json(server.get(&workspace)).await;
    assert_eq!(
        (&shown["clients"], &shown["streams"]),
        (&json!(1), &json!(1))
    );
    let other = server
        .fixture
        .workspace
        .new_session(&server.fixture.agent)
        .await
        .unwrap();
    let sessions =
        feed.until("session.created").await.len() + feed.until("session.created").await.len();
    assert_eq!(sessions, 2);
    other.prompt("echo there").await.unwrap();
    server.prompt("echo here").await;
    let seen = [feed.until("run.ended").await, feed.until("run.ended").await].concat();
    let ids = ids(&seen);
    assert!(ids.windows(2).all(|pair| pair[1] > pair[0]), "{ids:?}");
    let observer = server.get(&format!("{workspace}/events?after={}", ids.last().unwrap()));
    let observer = Feed::open(observer).await;
    let (status, closed) = json(server.delete(&workspace)).await;
    assert_eq!((status, closed), (StatusCode::OK, json!({ "left": [] })));
    for feed in [feed, observer] {
        let rest = feed.rest().await;
        assert_eq!(kinds(&rest), ["workspace.closing", "workspace.closed"]);
        assert!(rest.iter().all(|notice| notice.id.is_none()));
    }
    let (_, shown) = json(server.get(&workspace)).await;
    assert_eq!(shown["state"], "closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_that_is_older_than_the_log_is_told_where_to_go_on() {
    let plan = Plan::new().host(|builder| builder.retention(Some(Duration::ZERO)));
    let server = Server::with(plan, |_| {}).await;
    let run = server.prompt("echo one").await;
    let events = Feed::open(server.get(&format!("{run}/events"))).await;
    let end = *ids(&events.rest().await).last().unwrap();
    server.fixture.host.prune_events().await.unwrap();
    let session = server.session();
    for path in [format!("{session}/events"), format!("{run}/events?after=1")] {
        let (status, gone) = json(server.get(&path)).await;
        assert_eq!(status, StatusCode::GONE, "{gone}");
        assert_eq!(gone["name"], "cursor-expired");
        assert_eq!(gone["resume_after"], end);
        assert_eq!(gone["messages"], format!("/v1{session}/messages"));
    }
    let (status, gone) = json(server.get(&format!("{}/events", server.workspace()))).await;
    assert_eq!(status, StatusCode::GONE, "{gone}");
    let sessions = format!("/v1{}/sessions", server.workspace());
    assert_eq!(gone["sessions"], sessions);
    let resume = format!("{session}/events?follow=false&after={end}");
    assert!(
        Feed::open(server.get(&resume))
            .await
            .rest()
            .await
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_released_or_retired_has_its_streams_ended() {
    let server = Server::new().await;
    let workspace = server.workspace();
    let client = "7b0f6a52-6b0c-4a57-9d75-2a8f0f6d0001";
    let claimed = format!("{workspace}/events?client_id={client}");
    let observer = server.get(&format!("{workspace}/events"));
    let mut observer = Feed::open(observer).await;
    observer.until("session.created").await;
    let clients = async || {
        let (_, shown) = json(server.get(&workspace)).await;
        (shown["clients"].clone(), shown["streams"].clone())
    };
    for ends in [
        format!("{workspace}?client_id={client}"),
        format!("/clients/{client}"),
    ] {
        let feed = Feed::open(server.get(&claimed)).await;
        assert_eq!(clients().await, (json!(1), json!(1)));
        let released = server.delete(&ends).send().await.unwrap();
        assert_eq!(released.status(), StatusCode::NO_CONTENT);
        assert_eq!(clients().await, (json!(0), json!(0)));
        let rest = feed.rest().await;
        let last = rest.last().unwrap();
        assert_eq!(last.event.as_deref(), Some("workspace.released"), "{ends}");
        assert_eq!(last.id, None);
    }
    // A stream that only observes goes on.
    server.prompt("echo on").await;
    observer.until("run.ended").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_session_ends_its_streams_and_later_ones_learn_it() {
    let server = Server::new().await;
    let run = server.prompt("echo one").await;
    let events = Feed::open(server.get(&format!("{run}/events"))).await;
    let end = *ids(&events.rest().await).last().unwrap();
    let session = server.session();
    let running = Feed::open(server.get(&format!("{session}/events?after={end}"))).await;
    let mut workspace = Feed::open(server.get(&format!("{}/events", server.workspace()))).await;
    let deleted = server.delete(&session).send().await.unwrap();
    assert_eq!(deleted.status(), StatusCode::NO_CONTENT);
    let rest = running.rest().await;
    assert_eq!(kinds(&rest), ["session.deleted"]);
    workspace.until("session.deleted").await;
    for path in [&session, &run] {
        for seen in [0, end] {
            let again = server.get(&format!("{path}/events?after={seen}"));
            let again = Feed::open(again).await.rest().await;
            assert_eq!(kinds(&again), ["session.deleted"], "{path} after {seen}");
            assert_eq!(ids(&again), [end + 1]);
        }
    }
    let told = server.get(&format!("{session}/events?after={}", end + 1));
    let (status, gone) = json(told).await;
    assert_eq!(
        (status.as_u16(), &gone["name"]),
        (404, &json!("unknown-session"))
    );
}
