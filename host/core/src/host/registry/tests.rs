//! Claims, their timers, and workspaces that the host itself opens, at the edges of the registry's
//! lock. The tests control time: they end the timers themselves.

use super::*;
use crate::host::Host;
use futures_util::future::poll_immediate;
use lastword_types::permission::Capability;
use std::path::PathBuf;
use std::pin::pin;

/// A host without agents, in a directory that is deleted with it.
struct Bench {
    host: Host,
    place: PathBuf,
    key: WorkspaceKey,
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _left_to_the_system = std::fs::remove_dir_all(&self.place);
    }
}

impl Bench {
    async fn new() -> Self {
        let place = std::env::temp_dir().join(format!("lastword-{}", uuid::Uuid::now_v7()));
        let builder = Host::builder()
            .data_dir(place.join("data"))
            .cache_dir(place.join("cache"))
            .concurrent_runs(1)
            .hold(Duration::from_secs(3600));
        let host = builder.build().await.expect("a host");
        let key = WorkspaceKey::name("one");
        Self { host, place, key }
    }

    async fn claim(&self, client: ClientId) -> WorkspaceId {
        let claimed = self.host.claim_workspace(client, self.key.clone(), None);
        claimed.await.expect("a workspace").id()
    }

    /// Ends every timer of a workspace.
    fn end_timers(&self, id: WorkspaceId) {
        let kept: Vec<Timer> = {
            let timers = self.host.inner.workspaces.timers();
            timers.values().map(|begun| begun.timer).collect()
        };
        for timer in kept {
            self.host.inner.expired(id, timer);
        }
    }

    fn is_closed(&self, id: WorkspaceId) -> bool {
        self.host.inner.workspaces.lock().find(id).is_none()
    }
}

#[tokio::test]
async fn clients_that_expire_leave_no_timers() {
    let bench = Bench::new().await;
    let opened = bench
        .host
        .open_workspace(bench.key.clone(), WorkspaceOptions::new());
    let opened = opened.await.expect("a workspace");
    let id = opened.id();
    for _ in 0..100 {
        assert_eq!(bench.claim(ClientId::generate()).await, id);
    }
    assert_eq!(bench.host.inner.workspaces.timers().len(), 100);
    bench.end_timers(id);
    assert_eq!(bench.host.inner.workspaces.timers().len(), 0);
}

#[tokio::test]
async fn the_timer_that_is_kept_is_that_of_the_claim() {
    let bench = Bench::new().await;
    let client = ClientId::generate();
    for round in 0..40 {
        let id = bench.claim(client).await;
        let inner = &bench.host.inner;
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let _timers_need_it = inner.dispatcher.embedder.enter();
                    for _ in 0..50 {
                        let (stream, _) = inner.attach(id, client).expect("it is open");
                        inner.detach(id, stream);
                    }
                });
            }
        });
        bench.end_timers(id);
        assert!(bench.is_closed(id), "in round {round} the claim stayed");
    }
}

#[tokio::test]
async fn the_host_changes_no_options_of_what_is_open() {
    let bench = Bench::new().await;
    let (host, inner) = (&bench.host, &bench.host.inner);
    let granted = WorkspaceOptions::new().grant(Capability::State);
    let before = host.open_workspace(bench.key.clone(), granted.clone());
    let before = before.await.expect("a workspace");
    let id = before.id();
    assert!(before.close().await.is_empty());

    // Whichever call opens it, the requested options apply.
    let nothing = WorkspaceOptions::new();
    let opened = host.open_workspace(bench.key.clone(), nothing.clone());
    let (kept, opened) = tokio::join!(inner.reopen(id), opened);
    let (kept, opened) = (kept.expect("it opens"), opened.expect("it opens"));
    assert_eq!(opened.inner.stored_options(), nothing.stored());
    drop(kept);
    assert!(opened.close().await.is_empty());

    // The host itself opens it with its last options, which granted nothing.
    let kept = inner.reopen(id).await.expect("it opens");
    let again = host.workspace(id).expect("it is open");
    assert_eq!(again.inner.stored_options(), nothing.stored());
    drop(kept);
    assert!(bench.is_closed(id));
}

#[tokio::test]
async fn what_is_set_while_a_workspace_is_opened_again_holds_there() {
    let bench = Bench::new().await;
    let (host, inner) = (&bench.host, &bench.host.inner);
    let granted = WorkspaceOptions::new().grant(Capability::State);
    for round in 0..60 {
        let handle = host.open_workspace(bench.key.clone(), granted.clone());
        let handle = handle.await.expect("a workspace");
        let id = handle.id();
        assert!(handle.close().await.is_empty());
        let mut reopening = pin!(inner.reopen(id));
        // Stops the call at a different point each time, including the one at which it has read the
        // last options.
        let mut kept = None;
        for _ in 0..round {
            if kept.is_none() {
                kept = poll_immediate(reopening.as_mut()).await;
            }
            tokio::task::yield_now().await;
        }
        let setting = handle.set_options(WorkspaceOptions::new());
        let reopened = async {
            match kept {
                Some(kept) => kept,
                None => reopening.await,
            }
        };
        let (set, kept) = tokio::join!(setting, reopened);
        set.expect("it is set");
        let kept = kept.expect("it opens");
        let open = host.workspace(id).expect("it is open");
        let nothing = WorkspaceOptions::new().stored();
        assert_eq!(open.inner.stored_options(), nothing, "round {round}");
        drop(kept);
        assert!(bench.is_closed(id));
    }
}
