//! Lists, page by page, while what is listed changes.

use super::{ended, ids};
use lastword::{Origin, RunState, Session, SessionFilter};
use lastword_tests::fixture::Fixture;
use std::collections::HashSet;

#[tokio::test(flavor = "multi_thread")]
async fn pages_cover_every_session_once_while_some_change() {
    let fixture = Fixture::new().await;
    let mut sessions = vec![fixture.session.clone()];
    for _ in 0..20 {
        sessions.push(fixture.workspace.new_session(&fixture.agent).await.unwrap());
    }
    let filter = |after| SessionFilter {
        limit: 4,
        after,
        ..SessionFilter::default()
    };
    let (mut seen, mut begun, mut after) = (Vec::new(), HashSet::new(), None);
    let doomed = sessions.remove(2);
    loop {
        let page = fixture.host.list_sessions(filter(after)).await.unwrap();
        seen.extend(page.items.iter().map(|record| record.id));
        // One that was listed changes, one that was not, one begins, and one goes.
        for session in [
            sessions.iter().rev().find(|s| seen.contains(&s.id())),
            sessions.iter().find(|s| !seen.contains(&s.id())),
        ]
        .into_iter()
        .flatten()
        {
            ended(session, "echo changed").await;
        }
        let new = fixture.workspace.new_session(&fixture.agent).await.unwrap();
        begun.insert(new.id());
        if begun.len() == 2 {
            doomed.delete().await.unwrap();
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let expected: Vec<_> = sessions.iter().rev().map(Session::id).collect();
    assert_eq!(seen, expected, "each once, the newest first");
    let latest = fixture.host.sessions(None, 1).await.unwrap();
    assert!(begun.contains(&latest[0].id), "it changed last");
    let of_nobody = SessionFilter {
        parent: Some(fixture.session.id()),
        ..SessionFilter::default()
    };
    assert_eq!(ids(&fixture.host, of_nobody).await, []);
    for garbage in ["", "x", "1-", "-1", "+1", "1-2", "8000000000000000", "é"] {
        let refused = fixture
            .host
            .list_sessions(filter(Some(garbage.to_owned())))
            .await;
        assert_eq!(refused.unwrap_err().name(), "invalid-cursor", "{garbage}");
    }
    let known = fixture.host.list_workspaces(1, None).await.unwrap();
    let count = (sessions.len() + begun.len()) as u64;
    assert_eq!((known.items[0].sessions, known.next), (count, None));
    assert_eq!(known.items[0].key, fixture.workspace.key().to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_listed_in_the_order_of_acceptance() {
    let fixture = Fixture::new().await;
    let mut accepted = Vec::new();
    for said in ["one", "two", "three"] {
        accepted.push(fixture.run(&format!("echo {said}")).await.receipt.run);
    }
    let going = fixture.start_until("spin before", "before").await;
    accepted.push(going.id());
    accepted.push(fixture.start("echo waits").await.id());
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let page = fixture.session.list_runs(2, after).await.unwrap();
        assert!(page.items.len() <= 2);
        if after_first(&page.items, &accepted) {
            // Accepted during the pass: it comes last.
            accepted.push(fixture.start("echo late").await.id());
        }
        listed.extend(page.items);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let order: Vec<_> = listed.iter().map(|run| run.run).collect();
    assert_eq!(order, accepted);
    let states: Vec<_> = listed.iter().map(|run| run.state).collect();
    use RunState::{Completed, Queued, Running};
    let expected = [Completed, Completed, Completed, Running, Queued, Queued];
    assert_eq!(states, expected);
    let digest = fixture.agent.digest().to_string();
    for run in &listed {
        let alone = fixture.session.run(run.run).summary().await.unwrap();
        assert_eq!(&alone, run, "a run is read as it is listed");
        assert_eq!(run.session, fixture.session.id());
        assert_eq!((&run.origin, &run.digest), (&Origin::User, &digest));
        let ended = run.state == Completed;
        assert_eq!(run.receipt.is_some(), ended);
        assert_eq!(run.ended_ms.is_some(), ended);
        assert_eq!(run.started_ms.is_some(), run.state != Queued);
    }
    let stored = fixture.session.run(accepted[0]).receipt().await.unwrap();
    assert_eq!(listed[0].receipt, Some(stored));
    for garbage in ["", "x", "-1", "é"] {
        let refused = fixture.session.list_runs(1, Some(garbage.to_owned()));
        let refused = refused.await.unwrap_err();
        assert_eq!(refused.name(), "invalid-cursor", "{garbage}");
    }
    fixture.session.delete().await.unwrap();
    let gone = fixture.session.list_runs(1, None).await.unwrap_err();
    assert_eq!(gone.name(), "unknown-session");
}

/// Whether these are the first of those.
fn after_first(page: &[lastword::RunSummary], all: &[lastword::id::RunId]) -> bool {
    page.first().map(|run| run.run) == all.first().copied()
}

lastword_tests::also_in_memory![
    pages_cover_every_session_once_while_some_change,
    runs_are_listed_in_the_order_of_acceptance,
];
