//! Two tenants whose directories have names that differ in one byte that is no UTF-8: each has a
//! workspace of its own, by its own bytes, also in what earlier versions kept.

use super::{Bench, name};
use lastword::id::{ClientId, SessionId, WorkspaceId};
use lastword::session::WorkspaceKind;
use lastword::{Agent, Capability, Host, HostError, Session, Workspace};
use lastword::{Prompt, RunState, WorkspaceKey, WorkspaceOptions};
use lastword_tests::fixture::{builder, wait_until_said};
use lastword_tests::guests::guest;
use rusqlite::{Connection, params};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What makes the third format.
const FORMATS: [&str; 3] = [
    include_str!("../../../host/store/src/sqlite/migrations/0001.sql"),
    include_str!("../../../host/store/src/sqlite/migrations/0002.sql"),
    include_str!("../../../host/store/src/sqlite/migrations/0003.sql"),
];

fn directory(folder: &Path, name: &[u8]) -> PathBuf {
    let directory = folder.join(OsStr::from_bytes(name));
    std::fs::create_dir_all(&directory).unwrap();
    let whose = format!("of {:?}", OsStr::from_bytes(name));
    std::fs::write(directory.join("own"), whose).unwrap();
    directory
}

async fn open(host: &Host, agent: &Agent, directory: &Path) -> (Workspace, Session) {
    let key = WorkspaceKey::directory(directory).unwrap();
    let options = WorkspaceOptions::new().grant(Capability::ReadFiles);
    let workspace = host.open_workspace(key, options).await.unwrap();
    let session = workspace.new_session(agent).await.unwrap();
    (workspace, session)
}

async fn said(session: &Session) -> String {
    let run = session.prompt("read /workspace/own").await.unwrap();
    run.ended().await.unwrap();
    session.messages().await.unwrap().last().unwrap().text()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_has_a_workspace_of_its_own_through_a_restart() {
    let bench = Bench::with(|builder| builder.concurrent_runs(1)).await;
    let folder = bench.folder.path().to_owned();
    let names: [&[u8]; 3] = [b"tenant-\xff", b"tenant-\xfe", "tenant-\u{FFFD}".as_bytes()];
    let directories = names.map(|name| directory(&folder, name));
    let mut opened = Vec::new();
    for directory in &directories {
        opened.push(open(&bench.host, &bench.agent, directory).await);
    }
    for (at, (workspace, session)) in opened.iter().enumerate() {
        assert_eq!(
            said(session).await,
            format!("of {:?}", OsStr::from_bytes(names[at]))
        );
        let (other, foreign) = &opened[(at + 1) % 3];
        assert_ne!(workspace.id(), other.id());
        let refused = workspace.session(foreign.id(), &bench.agent).await;
        let refused = refused.err().unwrap().to_string();
        assert!(!refused.contains("tenant"), "{refused}");
    }
    // One prompt of each waits for the next host.
    let busy = opened[0].1.prompt("spin").await.unwrap();
    wait_until_said(&busy, "before").await;
    let mut waiting = Vec::new();
    for (_, session) in &opened {
        waiting.push((
            session.id(),
            session.prompt("read /workspace/own").await.unwrap().id(),
        ));
    }
    let ids: Vec<_> = opened.iter().map(|(workspace, _)| workspace.id()).collect();
    drop((opened, busy));
    assert_eq!(bench.host.shutdown().await.len(), 0);

    let host = builder(&folder).build().await.unwrap();
    let agent = host.load_agent("probe", guest("probe")).await.unwrap();
    host.reopen_held().await.unwrap();
    for (at, (session, run)) in waiting.into_iter().enumerate() {
        let receipt = host.run(run).await.unwrap().ended().await.unwrap();
        assert_eq!(receipt.state, RunState::Completed);
        let session = host.session(session).await.unwrap();
        assert_eq!(session.workspace_id(), ids[at]);
        let last = session.messages().await.unwrap().last().unwrap().text();
        assert_eq!(last, format!("of {:?}", OsStr::from_bytes(names[at])));
        let (workspace, _) = open(&host, &agent, &directories[at]).await;
        assert_eq!(workspace.id(), ids[at]);
        let kind = host.workspace_record(ids[at]).await.unwrap().kind;
        let kinds = [WorkspaceKind::DirectoryBytes, WorkspaceKind::DirectoryBytes];
        assert_eq!(kind, *kinds.get(at).unwrap_or(&WorkspaceKind::Directory));
    }
}

/// What the third format kept of a directory: its path as it is shown, and options with the
/// deadline alone.
fn write(database: &Connection, no: u8, shown: &Path, deadline: Option<u64>) -> WorkspaceId {
    let id = WorkspaceId::generate();
    let options = serde_json::json!({
        "grants": ["read-files"], "denied": [], "asks": false, "concurrent_runs": null,
        "deadline_ms": deadline,
    });
    let written = database.execute(
        "INSERT INTO workspace (no, id, key, created_ms, options) VALUES (?1, ?2, ?3, 1, ?4)",
        params![
            no,
            id.as_bytes(),
            format!("dir:{}", shown.display()),
            options.to_string()
        ],
    );
    assert_eq!(written.unwrap(), 1);
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_kept_of_a_name_in_part_is_the_workspace_of_neither() {
    let folder = tempfile::tempdir().unwrap();
    let (plain, unclear) = (
        directory(folder.path(), b"plain"),
        directory(folder.path(), b"t\xff"),
    );
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let database = Connection::open(data.join("lastword.db")).unwrap();
    for format in FORMATS {
        database.execute_batch(format).unwrap();
    }
    database.pragma_update(None, "user_version", 3).unwrap();
    let stays = write(&database, 1, &plain.canonicalize().unwrap(), Some(5000));
    let lost = write(&database, 2, &unclear.canonicalize().unwrap(), None);
    let session = SessionId::generate();
    let begun = database.execute(
        "INSERT INTO session (no, id, workspace, agent, created_ms, updated_ms)
         VALUES (1, ?1, 2, 'probe', 1, 1)",
        [session.as_bytes()],
    );
    assert_eq!(begun.unwrap(), 1);
    drop(database);

    let host = builder(folder.path()).build().await.unwrap();
    let agent = host.load_agent("probe", guest("probe")).await.unwrap();
    let key = WorkspaceKey::directory(&plain).unwrap();
    let kept = host.claim_workspace(ClientId::generate(), key, None).await;
    let kept = kept.unwrap();
    assert_eq!(kept.id(), stays, "a key that is one directory's stays");
    let limits = host.limits().deadline(Some(Duration::from_secs(5)));
    let options = WorkspaceOptions::new().grant(Capability::ReadFiles);
    let options = options.limits(limits);
    assert_eq!(format!("{:?}", kept.options()), format!("{options:?}"));
    let as_shown = directory(folder.path(), "t\u{FFFD}".as_bytes());
    for directory in [&unclear, &as_shown] {
        let (workspace, _) = open(&host, &agent, directory).await;
        assert_ne!(workspace.id(), lost);
        let foreign = workspace.session(session, &agent).await;
        assert!(matches!(foreign, Err(HostError::OtherWorkspace(_))));
    }
    let record = host.workspace_record(lost).await.unwrap();
    assert_eq!(record.kind, WorkspaceKind::DirectoryLossy);
    let kept = host.session(session).await.unwrap();
    assert_eq!(kept.messages().await.unwrap().len(), 0, "it can be read");
    assert_eq!(name(kept.prompt("echo on").await), "unknown-workspace");
}

#[tokio::test]
async fn what_is_too_long_or_cannot_be_shown_is_refused_at_the_door() {
    let bench = Bench::new().await;
    let host = &bench.host;
    for key in ["a\0b".to_owned(), "n".repeat(1 << 20), String::new()] {
        let options = WorkspaceOptions::new();
        let refused = host.open_workspace(WorkspaceKey::name(key), options).await;
        let refused = refused.err().unwrap();
        assert_eq!(refused.name(), "invalid-value");
        assert!(refused.to_string().contains("1024 bytes"), "{refused}");
    }
    let key = WorkspaceKey::name("w");
    let opened = host.open_workspace(key, WorkspaceOptions::new()).await;
    let session = bench.session(&opened.unwrap()).await;
    for prompt in [
        Prompt::text("x".repeat(200 << 20)),
        Prompt::text("x").key("a\0b"),
        Prompt::text("x").key(""),
        Prompt::text("x").config("x".repeat(1 << 20)),
    ] {
        assert_eq!(name(session.prompt(prompt).await), "invalid-value");
    }
    assert_eq!(session.list_runs(9, None).await.unwrap().items.len(), 0);
}
