//! Workspaces outlive the request that opened them: which claims keep one open, how it closes, and
//! how the host closes with all of them.

mod claims;
mod closing;
mod handover;
mod model;
mod openers;
mod options;
mod plain;
mod reopening;
mod shutdown;
mod tenants;
mod turns;

use lastword::id::ClientId;
use lastword::{Agent, Host, HostBuilder, Lifecycle, LifecycleEvents, Session, Workspace};
use lastword::{Capability, HostError, WorkspaceKey, WorkspaceOptions};
use lastword_tests::clock::ManualClock;
use lastword_tests::fixture::builder;
use lastword_tests::guests::guest;
use std::sync::Arc;
use tempfile::TempDir;

/// The name of what went wrong.
fn name(result: Result<impl Sized, HostError>) -> &'static str {
    result.err().map_or("no error", |error| error.name())
}

/// A host whose time stands still, and what it tells of its life.
struct Bench {
    host: Host,
    agent: Agent,
    clock: ManualClock,
    notices: LifecycleEvents,
    folder: TempDir,
}

impl Bench {
    async fn new() -> Self {
        Self::with(|builder| builder).await
    }

    async fn with(change: impl FnOnce(HostBuilder) -> HostBuilder) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualClock::default();
        let builder = builder(folder.path()).clock(Arc::new(clock.clone()));
        let host = change(builder).build().await.unwrap();
        let agent = host.load_agent("probe", guest("probe")).await.unwrap();
        let notices = host.lifecycle();
        Self {
            host,
            agent,
            clock,
            notices,
            folder,
        }
    }

    async fn claim(&self, client: ClientId, name: &str) -> Result<Workspace, HostError> {
        let key = WorkspaceKey::name(name);
        let options = WorkspaceOptions::new().grant(Capability::State);
        self.host.claim_workspace(client, key, Some(options)).await
    }

    async fn session(&self, workspace: &Workspace) -> Session {
        workspace.new_session(&self.agent).await.unwrap()
    }

    /// Closes a workspace whatever claims it has.
    async fn close(&self, workspace: &Workspace) {
        let closed = self.host.close_workspace(workspace.id()).await.unwrap();
        assert_eq!(closed.left, []);
    }

    /// The notices up to and with the one that is waited for.
    async fn until(&mut self, is_it: impl Fn(&Lifecycle) -> bool) -> Vec<Lifecycle> {
        let mut seen = Vec::new();
        loop {
            let notice = self.notices.next().await.expect("the host is there");
            seen.push(notice);
            if seen.last().is_some_and(&is_it) {
                return seen;
            }
        }
    }

    async fn until_closed(&mut self, workspace: &Workspace) -> Vec<Lifecycle> {
        let closed = Lifecycle::Closed {
            workspace: workspace.id(),
        };
        self.until(|notice| *notice == closed).await
    }

    /// Nothing is written until the answer is dropped.
    fn lock_store(&self) -> rusqlite::Connection {
        let database = self.data().join("lastword.db");
        let connection = rusqlite::Connection::open(database).unwrap();
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        connection
    }

    fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }
}
