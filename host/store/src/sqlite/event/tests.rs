//! Pages by position, at the limits of what one read looks at and returns.

use super::*;
use crate::sqlite::acting;
use crate::transcript::Entry;
use crate::{Append, Store};
use lastword_types::id::{RunId, WorkspaceId};
use std::path::PathBuf;

/// A store with two workspaces, a session with a run in each.
struct Logs {
    place: PathBuf,
    store: Store,
    workspaces: [WorkspaceId; 2],
    runs: [RunId; 2],
    /// The last position before any event was appended.
    begin: Position,
}

impl Logs {
    async fn begin() -> Self {
        let place = std::env::temp_dir().join(format!("lastword-scan-{}", uuid::Uuid::now_v7()));
        let (store, acts) = acting::open(&place);
        let (mut workspaces, mut runs) = (Vec::new(), Vec::new());
        for key in ["one", "two"] {
            let workspace = acting::workspace(&store, key).await;
            let session = acting::session(&store, workspace).await.expect("a session");
            workspaces.push(workspace);
            runs.push(acting::accept(&store, session, true).await);
        }
        let last = |sqlite: &mut crate::sqlite::backend::Sqlite| sqlite.next_pos - 1;
        let begin = Position(acts.act(&store, last).await as u64);
        Self {
            place,
            store,
            workspaces: workspaces.try_into().expect("two workspaces"),
            runs: runs.try_into().expect("two runs"),
            begin,
        }
    }

    /// Appends events to the log of one of the sessions.
    async fn append(&self, which: usize, count: usize) {
        let event = |number: usize| {
            Entry::Event(EventBody::SessionRenamed {
                title: number.to_string(),
            })
        };
        let append = Append {
            run: self.runs[which],
            entries: (0..count).map(event).collect(),
        };
        self.store.execute(append).await.expect("they are appended");
    }

    /// Returns how many events each page of one workspace has, up to the head of the log, and
    /// whether each page says that it is the last one.
    async fn pages(&self, which: Option<usize>) -> Vec<(usize, bool)> {
        let workspace = which.map(|which| self.workspaces[which]);
        let mut after = self.begin;
        let mut pages = Vec::new();
        loop {
            let page = self.store.positions(workspace, after, pages.is_empty());
            let page = page.await.expect("a page");
            assert!(page.through >= after);
            after = page.through;
            pages.push((page.events.len(), page.head));
            if page.head {
                return pages;
            }
        }
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        self.store.close();
        std::fs::remove_dir_all(&self.place).expect("it was there");
    }
}

#[tokio::test]
async fn a_full_page_is_not_the_head_and_one_event_less_is() {
    for (events, expected) in [
        (0, vec![(0, true)]),
        (PAGE_EVENTS - 1, vec![(PAGE_EVENTS - 1, true)]),
        (PAGE_EVENTS, vec![(PAGE_EVENTS, false), (0, true)]),
        (PAGE_EVENTS + 1, vec![(PAGE_EVENTS, false), (1, true)]),
    ] {
        let logs = Logs::begin().await;
        logs.append(0, events).await;
        assert_eq!(logs.pages(Some(0)).await, expected, "{events} events");
        assert_eq!(logs.pages(None).await, expected, "{events} events of all");
    }
}

#[tokio::test]
async fn what_lies_behind_all_that_one_read_looks_at_is_found_by_the_next() {
    let scanned = SCANNED;
    for (others, expected) in [
        // All events were looked at, and the page says so.
        (scanned - 2, vec![(1, true)]),
        // It may have looked at all events; the next page knows.
        (scanned - 1, vec![(1, false), (0, true)]),
        (scanned, vec![(0, false), (1, true)]),
        (scanned + 1, vec![(0, false), (1, true)]),
    ] {
        let logs = Logs::begin().await;
        logs.append(0, others).await;
        logs.append(1, 1).await;
        assert_eq!(
            logs.pages(Some(1)).await,
            expected,
            "behind {others} events"
        );
    }
}

#[tokio::test]
async fn what_is_new_and_does_not_fit_comes_with_the_next_page() {
    let logs = Logs::begin().await;
    let following = logs.store.follow_workspace(None);
    for (which, count) in [(0, 200), (1, 100), (0, 300)] {
        logs.append(which, count).await;
    }
    let mut changes = following.take().expect("there are events");
    let (mut after, mut seen) = (logs.begin, Vec::new());
    loop {
        let read = logs.store.changes(None, changes, after).await;
        let (page, rest) = read.expect("a page");
        let positions = page.events.iter().map(|event| event.pos);
        seen.extend(positions);
        // A client continues after it: no later event has a smaller position.
        assert!(page.head || seen.last() == Some(&page.through));
        after = page.through;
        if page.head {
            break;
        }
        changes = rest;
    }
    let first = seen[0].0;
    let all: Vec<_> = (first..first + 600).map(Position).collect();
    assert_eq!(seen, all);
}
