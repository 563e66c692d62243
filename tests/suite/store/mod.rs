//! What becomes of a data directory that is damaged, taken away, copied or read by others, and what
//! its host says of it.

mod causes;
mod copies;
mod differential;
mod log;
mod places;
mod private;

use lastword::clock::SystemClock;
use lastword::id::{AgentId, SessionId, WorkspaceId};
use lastword::store::{CreateSession, OpenWorkspace, RenameSession, Store, StoredOptions};
use lastword::{Archive, Missing, Notice};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A store in a folder of its own, and what it acknowledged.
struct Bench {
    folder: TempDir,
    store: Store,
    workspace: WorkspaceId,
    /// Sessions and the titles that they were given.
    given: Vec<(SessionId, String)>,
}

impl Bench {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder for temporary files");
        let store = open(&folder.path().join("data"));
        let workspace = workspace(&store, None).await;
        Self {
            folder,
            store,
            workspace,
            given: Vec::new(),
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Begins sessions, each with a title of its own.
    async fn write(&mut self, sessions: usize) {
        for _ in 0..sessions {
            let id = SessionId::generate();
            let create = CreateSession {
                id,
                workspace: self.workspace,
                agent: AgentId::new("tester").expect("a name"),
                parent: None,
                key: None,
            };
            self.store.execute(create).await.expect("a session");
            let title = format!("session {}", self.given.len());
            let rename = RenameSession {
                session: id,
                title: title.clone(),
            };
            let renamed = self.store.execute(rename).await;
            renamed.expect("it takes a title");
            self.given.push((id, title));
        }
    }

    /// Ends the host in order, and starts another.
    async fn restart(&mut self) {
        self.store.close();
        self.store = open(&self.data());
        self.workspace = workspace(&self.store, None).await;
    }

    /// A copy of what a power cut would leave now.
    fn image(&self, name: &str) -> PathBuf {
        let image = self.folder.path().join(name);
        copy(&self.data(), &image);
        image
    }

    /// How many of the sessions from some place on a data directory has not, or not with their
    /// titles.
    fn lost(&self, data: &Path) -> usize {
        let archive = Archive::open(data).expect("a database");
        let there = |(id, title): &&(SessionId, String)| {
            let session = archive.session(*id);
            session.is_ok_and(|session| session.record.title.as_ref() == Some(title))
        };
        self.given.len() - self.given.iter().filter(there).count()
    }
}

async fn workspace(store: &Store, options: Option<StoredOptions>) -> WorkspaceId {
    let open = OpenWorkspace {
        id: WorkspaceId::generate(),
        key: "w".to_owned(),
        options,
    };
    store.execute(open).await.expect("a workspace").id
}

fn open(data: &Path) -> Store {
    Store::open(data, SystemClock::shared()).expect("it starts")
}

/// Copies a data directory as another program does: a descriptor of ours that is closed would
/// take SQLite's locks with it.
fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-r").arg(from).arg(to).status();
    assert!(copied.expect("cp runs").success());
    // It would not survive a power cut, and is made anew.
    std::fs::remove_file(to.join("lastword.db-shm")).expect("there is one");
}

fn missing(notices: &[Notice]) -> Option<&Missing> {
    notices.iter().find_map(|notice| match notice {
        Notice::Missing(missing) => Some(missing),
        _ => None,
    })
}
