//! For tests: a database whose writer carries out actions of a test before its next batch.

use super::backend::Sqlite;
use crate::backend::{Backend, Batch, CommitError, Committed, Resolution};
use crate::handle::Store;
use crate::{Accept, CreateSession, OpenWorkspace, Probe, PromptRecord, StoreError};
use lastword_os::clock::SystemClock;
use lastword_types::id::{AgentId, RunId, SessionId, WorkspaceId};
use lastword_types::run::Origin;
use lastword_types::session::Part;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc;

type Act = Box<dyn FnOnce(&mut Sqlite) + Send>;

/// The channel for a test's actions.
pub(super) struct Acts(mpsc::Sender<Act>);

struct Acting {
    sqlite: Sqlite,
    acts: mpsc::Receiver<Act>,
}

impl Backend for Acting {
    fn commit(&mut self, batch: &Batch<'_>) -> Result<Committed, CommitError> {
        for act in self.acts.try_iter() {
            act(&mut self.sqlite);
        }
        self.sqlite.commit(batch)
    }

    fn resolve(&mut self, batch: &Batch<'_>) -> Result<Resolution, StoreError> {
        self.sqlite.resolve(batch)
    }
}

/// Opens the database in a directory.
pub(super) fn open(place: &Path) -> (Store, Acts) {
    let clock = SystemClock::shared();
    let (opened, ownership) = super::open::open(place, clock.clone()).expect("a store");
    let (sender, acts) = mpsc::channel();
    let opened = opened.map(|sqlite| Acting { sqlite, acts });
    let store = Store::start(opened, ownership, clock).expect("a thread");
    (store, Acts(sender))
}

impl Acts {
    /// Lets the writer's thread carry out an action, and waits for it and for all earlier work.
    pub(super) async fn act<T: Send + 'static>(
        &self,
        store: &Store,
        act: impl FnOnce(&mut Sqlite) -> T + Send + 'static,
    ) -> T {
        let (sender, done) = mpsc::channel();
        let act = move |sqlite: &mut Sqlite| drop(sender.send(act(sqlite)));
        self.0.send(Box::new(act)).expect("a writer");
        let probed = store.execute(Probe { commit: false }).await;
        probed.expect("it is there");
        done.recv().expect("it was done")
    }
}

/// Opens a workspace.
pub(super) async fn workspace(store: &Store, key: &str) -> WorkspaceId {
    let open = OpenWorkspace {
        id: WorkspaceId::generate(),
        key: key.to_owned(),
        options: None,
    };
    store.execute(open).await.expect("a workspace").id
}

/// Begins a session.
pub(super) async fn session(
    store: &Store,
    workspace: WorkspaceId,
) -> Result<SessionId, StoreError> {
    let create = CreateSession {
        id: SessionId::generate(),
        workspace,
        agent: AgentId::new("tester").expect("a name"),
        parent: None,
        key: None,
    };
    store.execute(create).await
}

/// Accepts a prompt, and starts its run or leaves it in the queue.
pub(super) async fn accept(store: &Store, session: SessionId, start: bool) -> RunId {
    let accept = Accept {
        run: RunId::generate(),
        session,
        prompt: PromptRecord {
            origin: Origin::User,
            parts: vec![Part::text("speak")],
            config: "{}".to_owned(),
            deadline: None,
            carried: None,
            labels: BTreeMap::new(),
        },
        attached: Vec::new(),
        digest: String::new(),
        key: None,
        queue_max: 1,
        start,
        goes_on: None,
        resumes: None,
        parent: None,
    };
    let run = accept.run;
    store.execute(accept).await.expect("it is accepted");
    run
}
