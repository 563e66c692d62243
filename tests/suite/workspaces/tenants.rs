//! Two tenants whose directories have names that differ in one byte that is no UTF-8: each has a
//! workspace of its own, by its own bytes, also in what earlier versions kept.

use super::{Bench, name};
use lastword::session::WorkspaceKind;
use lastword::{Agent, Capability, Host, HostError, Session, Workspace};
use lastword::{Prompt, RunState, WorkspaceKey, WorkspaceOptions};
use lastword_tests::fixture::{builder, wait_until_said};
use lastword_tests::guests::guest;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

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
        let kind = host.known_workspace(ids[at]).await.unwrap().kind;
        let kinds = [WorkspaceKind::DirectoryBytes, WorkspaceKind::DirectoryBytes];
        assert_eq!(kind, *kinds.get(at).unwrap_or(&WorkspaceKind::Directory));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_kept_of_a_name_in_part_is_the_workspace_of_neither() {
    let bench = Bench::new().await;
    let folder = bench.folder.path().to_owned();
    let (plain, unclear) = (directory(&folder, b"plain"), directory(&folder, b"t\xff"));
    let (stays, _) = open(&bench.host, &bench.agent, &plain).await;
    let (lost, session) = open(&bench.host, &bench.agent, &unclear).await;
    assert_eq!(said(&session).await, "of \"t\\xFF\"");
    let (stays, lost, session) = (stays.id(), lost.id(), session.id());
    assert_eq!(bench.host.shutdown().await.len(), 0);

    // As the format before kept it.
    let database = rusqlite::Connection::open(bench.data().join("lastword.db")).unwrap();
    let key = format!("dir:{}", unclear.display());
    let old = r#"{"grants":["read-files"],"denied":[],"asks":false,"concurrent_runs":null,"deadline_ms":5000}"#;
    let of = lost.as_bytes().to_vec();
    let changed = database.execute(
        "UPDATE workspace SET key = ?1, options = ?2 WHERE id = ?3",
        rusqlite::params![key, old, of],
    );
    assert_eq!(changed.unwrap(), 1);
    let none = old.replace("5000", "null");
    let of = stays.as_bytes().to_vec();
    let changed = database.execute(
        "UPDATE workspace SET options = ?1 WHERE id = ?2",
        (none, of),
    );
    assert_eq!(changed.unwrap(), 1);
    database.pragma_update(None, "user_version", 3).unwrap();
    drop(database);

    let host = builder(&folder).build().await.unwrap();
    let agent = host.load_agent("probe", guest("probe")).await.unwrap();
    assert_eq!(open(&host, &agent, &plain).await.0.id(), stays);
    let as_shown = directory(&folder, "t\u{FFFD}".as_bytes());
    for directory in [&unclear, &as_shown] {
        let (workspace, _) = open(&host, &agent, directory).await;
        assert_ne!(workspace.id(), lost);
        let foreign = workspace.session(session, &agent).await;
        assert!(matches!(foreign, Err(HostError::OtherWorkspace(_))));
    }
    let record = host.known_workspace(lost).await.unwrap();
    assert_eq!(record.kind, WorkspaceKind::DirectoryLossy);
    let kept = host.session(session).await.unwrap();
    assert_eq!(kept.messages().await.unwrap().len(), 2, "it can be read");
    assert_eq!(
        name(kept.prompt("read /workspace/own").await),
        "unknown-workspace"
    );
    let database = rusqlite::Connection::open(bench.data().join("lastword.db")).unwrap();
    let of = lost.as_bytes().to_vec();
    let limits: String = database
        .query_row(
            "SELECT options -> '$.limits' FROM workspace WHERE id = ?1",
            [of],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(limits, r#"{"deadline_us":5000000}"#);
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
