//! Streams of workspaces and of the host: everything that belongs to them, once, in the order
//! in which it was written, however they come and whatever is written meanwhile.

use lastword::event::{Event, Position};
use lastword::id::{SessionId, WorkspaceId};
use lastword::{Events, WorkspaceKey, WorkspaceOptions};
use lastword_tests::fixture::Fixture;
use std::collections::{HashMap, HashSet};
use tokio::task::JoinHandle;

const WORKSPACES: usize = 3;
const SESSIONS: usize = 4;
const PROMPTS: usize = 4;
const FOLLOWERS: usize = 120;

/// What is wrong with what a stream answered; empty if nothing is.
fn wrong(got: &[u64], expected: &[u64]) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(at) = got.windows(2).position(|pair| pair[0] >= pair[1]) {
        found.push(format!("{} came before {}", got[at], got[at + 1]));
    }
    let had: HashSet<_> = got.iter().collect();
    let should: HashSet<_> = expected.iter().collect();
    let missed = should.difference(&had).count();
    let strange = had.difference(&should).count();
    if missed + strange > 0 {
        found.push(format!("{missed} missed, {strange} of somebody else"));
    }
    found
}

/// Reads a stream until its host is shut down.
async fn positions(mut events: Events) -> Vec<u64> {
    let mut read = Vec::new();
    while let Some(event) = events.next().await {
        read.push(event.expect("the log is read").pos.0);
    }
    read
}

/// The next of a row of numbers that looks random and is the same each time.
fn next(state: &mut u64) -> usize {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1);
    (*state >> 33) as usize
}

/// Workspaces, and the sessions of each, which write from now on.
async fn writers(fixture: &Fixture) -> (Vec<WorkspaceId>, Vec<JoinHandle<()>>) {
    let (mut workspaces, mut writers) = (Vec::new(), Vec::new());
    for number in 0..WORKSPACES {
        let key = WorkspaceKey::name(format!("w{number}"));
        let opened = fixture.host.open_workspace(key, WorkspaceOptions::new());
        let workspace = opened.await.unwrap();
        workspaces.push(workspace.id());
        for _ in 0..SESSIONS {
            let session = workspace.new_session(&fixture.agent).await.unwrap();
            let keeps_open = workspace.clone();
            writers.push(tokio::spawn(async move {
                for _ in 0..PROMPTS {
                    let run = session.prompt("appends 50").await.unwrap();
                    run.ended().await.unwrap();
                }
                drop(keeps_open);
            }));
        }
    }
    (workspaces, writers)
}

async fn whole(fixture: &Fixture) -> (Vec<Event>, HashMap<SessionId, WorkspaceId>) {
    let (mut whole, mut of_workspace) = (Vec::new(), HashMap::new());
    let mut log = fixture.host.events(Position(0)).stored();
    while let Some(event) = log.next().await {
        let event = event.unwrap();
        let session = fixture.host.session(event.session).await.unwrap();
        of_workspace.insert(event.session, session.workspace_id());
        whole.push(event);
    }
    (whole, of_workspace)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_stream_has_all_of_its_own_in_order() {
    let fixture = Fixture::new().await;
    let (workspaces, writers) = writers(&fixture).await;
    let stream = |place: Option<WorkspaceId>, after| match place {
        Some(id) => fixture.host.workspace_events(id, after),
        None => fixture.host.events(after),
    };
    let places: Vec<_> = std::iter::once(None)
        .chain(workspaces.into_iter().map(Some))
        .collect();
    // One stream leads; the others begin at places that it has seen.
    let mut leader = stream(None, Position(0));
    let (mut seen, mut followers, mut chance) = (vec![0], Vec::new(), 7);
    while followers.len() < FOLLOWERS {
        let event = leader.next().await.unwrap().unwrap();
        seen.push(event.pos.0);
        let place = places[next(&mut chance) % places.len()];
        let after = seen[next(&mut chance) % seen.len()];
        let events = stream(place, Position(after));
        followers.push((place, after, tokio::spawn(positions(events))));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let (whole, of_workspace) = whole(&fixture).await;
    fixture.host.shutdown().await;
    for (place, after, follower) in followers {
        let got = follower.await.unwrap();
        let own = whole.iter().filter(|event| {
            place.is_none_or(|id| of_workspace[&event.session] == id) && event.pos.0 > after
        });
        let expected: Vec<_> = own.map(|event| event.pos.0).collect();
        assert_eq!(
            wrong(&got, &expected),
            [""; 0],
            "after {after} of {place:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_falls_behind_misses_nothing() {
    let fixture = Fixture::new().await;
    let other = fixture.workspace.new_session(&fixture.agent).await.unwrap();
    let id = fixture.workspace.id();
    let mut followers = [
        fixture.host.workspace_events(id, Position(0)),
        fixture.host.events(Position(0)),
        fixture.host.workspace_events(id, Position(0)),
    ];
    for follower in &mut followers {
        // The two sessions' beginnings: it is at the head, and follows.
        for _ in 0..2 {
            follower.next().await.unwrap().unwrap();
        }
        assert!(
            futures_util::future::poll_immediate(follower.next())
                .await
                .is_none()
        );
    }
    for number in 0..600 {
        let title = format!("title {number}");
        fixture.session.rename(&title).await.unwrap();
        if number % 3 == 0 {
            other.rename(&title).await.unwrap();
        }
    }
    let whole = whole(&fixture).await.0;
    let expected: Vec<_> = whole.iter().skip(2).map(|event| event.pos.0).collect();
    assert_eq!(expected.len(), 800);
    let [behind, of_all, ended] = followers;
    for mut follower in [behind, of_all] {
        let mut got = Vec::new();
        while got.len() < expected.len() {
            got.push(follower.next().await.unwrap().unwrap().pos.0);
        }
        assert_eq!(wrong(&got, &expected), [""; 0]);
    }
    let got = positions(ended.stored()).await;
    assert_eq!(
        wrong(&got, &expected),
        [""; 0],
        "told to end where the log ends"
    );
}

#[test]
fn disorder_is_caught() {
    let cases: [(&[u64], &str); 4] = [
        (&[1, 3, 2, 4], "3 came before 2"),
        (&[1, 2, 2, 3, 4], "2 came before 2"),
        (&[1, 2, 4], "1 missed, 0 of somebody else"),
        (&[1, 2, 3, 4, 5], "0 missed, 1 of somebody else"),
    ];
    for (got, expected) in cases {
        assert_eq!(wrong(got, &[1, 2, 3, 4]), [expected]);
    }
    assert_eq!(wrong(&[1, 2, 3, 4], &[1, 2, 3, 4]), [""; 0]);
}

lastword_tests::also_in_memory![
    every_stream_has_all_of_its_own_in_order,
    a_stream_that_falls_behind_misses_nothing,
    disorder_is_caught,
];
