//! Claims of embedders: each opening is one, which ends with the last clone of its handle or with a
//! close, and never takes a run or another claim along.

use super::{Bench, name};
use futures_util::future::poll_immediate;
use lastword::id::ClientId;
use lastword::{
    Capability, CloseReason, HostError, Lifecycle, OnLastClient, Run, RunState, Session,
};
use lastword::{Workspace, WorkspaceKey, WorkspaceOptions};
use lastword_tests::check::violations;
use lastword_tests::fixture::{drop_at, wait_until_said};

async fn open(bench: &Bench, name: &str) -> Workspace {
    let key = WorkspaceKey::name(name);
    let opened = bench.host.open_workspace(key, WorkspaceOptions::new());
    opened.await.unwrap()
}

/// A run that goes on until it is stopped.
async fn busy(session: &Session) -> Run {
    let run = session.prompt("spin before").await.unwrap();
    wait_until_said(&run, "before").await;
    run
}

fn openers(workspace: &Workspace) -> Option<u32> {
    workspace.status().map(|status| status.openers)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_opening_is_a_claim_that_its_clones_share() {
    let mut bench = Bench::new().await;
    let first = open(&bench, "w").await;
    let second = open(&bench, "w").await;
    assert!(first.was_opened() && !second.was_opened());
    assert_eq!(openers(&first), Some(2));

    let clone = first.clone();
    assert!(clone.has_claim());
    drop(first);
    assert_eq!(openers(&clone), Some(2), "a clone holds it");
    drop(clone);
    assert_eq!(openers(&second), Some(1));
    let session = bench.session(&second).await;
    let run = session.prompt("echo still open").await.unwrap();
    assert_eq!(run.ended().await.unwrap().state, RunState::Completed);

    let unclaimed = bench.host.workspace(second.id()).unwrap();
    assert!(!unclaimed.has_claim());
    drop(second);
    let seen = bench.until_closed(&unclaimed).await;
    let closing = Lifecycle::Closing {
        workspace: unclaimed.id(),
        reason: CloseReason::Unclaimed,
    };
    assert!(seen.contains(&closing), "{seen:?}");
    assert_eq!(openers(&unclaimed), None);
}

/// As git does with a worktree, or a build with its folder. The run that goes on keeps what it has.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_was_made_again_is_the_one_that_later_runs_see() {
    let bench = Bench::new().await;
    let path = bench.folder.path().join("again");
    let make = |content: &str| {
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("file"), content).unwrap();
    };
    make("one");
    let key = WorkspaceKey::directory(&path).unwrap();
    let options = || WorkspaceOptions::new().grant(Capability::ReadFiles);
    let opened = bench.host.open_workspace(key.clone(), options());
    let workspace = opened.await.unwrap();
    let stays = bench.session(&workspace).await;
    let stays = busy(&stays).await;

    // Beside the first one, so that the file system cannot give it the same number.
    std::fs::rename(&path, bench.folder.path().join("before")).unwrap();
    make("two");
    let again = bench.host.open_workspace(key.clone(), options());
    let again = again.await.unwrap();
    assert_eq!((again.id(), again.was_opened()), (workspace.id(), false));
    let session = bench.session(&workspace).await;
    let call = r#"tool read_file {"path":"file"}"#;
    let run = session.prompt(call).await.unwrap();
    assert_eq!(run.ended().await.unwrap().state, RunState::Completed);
    let said = session.messages().await.unwrap().pop().unwrap().text();
    assert_eq!(said, "two");

    // One that was removed is noticed by the next prompt, without another opener.
    std::fs::remove_dir_all(&path).unwrap();
    let nowhere = session.prompt(call).await;
    let nowhere = nowhere.map(|_| ()).unwrap_err().to_string();
    assert!(nowhere.contains(path.to_str().unwrap()), "{nowhere}");
    make("three");
    let run = session.prompt(call).await.unwrap();
    assert_eq!(run.ended().await.unwrap().state, RunState::Completed);
    let said = session.messages().await.unwrap().pop().unwrap().text();
    assert_eq!(said, "three");

    std::fs::remove_dir_all(&path).unwrap();
    let gone = bench.host.open_workspace(key, options()).await;
    let gone = gone.map(|_| ()).unwrap_err().to_string();
    assert!(gone.contains(path.to_str().unwrap()), "{gone}");
    stays.cancel().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_ends_one_claim_and_the_last_one_closes() {
    let bench = Bench::new().await;
    let first = open(&bench, "w").await;
    let second = open(&bench, "w").await;
    let session = bench.session(&first).await;
    let run = busy(&session).await;

    let clone = first.clone();
    assert_eq!(first.close().await, []);
    assert_eq!(clone.close().await, [], "its clones share what has ended");
    assert_eq!(openers(&second), Some(1));
    drop((first, clone));
    assert_eq!(openers(&second), Some(1), "it ended before");
    assert!(run.try_ended().is_none(), "it belongs to the workspace");

    assert_eq!(second.close().await, []);
    assert_eq!(run.ended().await.unwrap().cause, "shutdown");
    assert_eq!(openers(&second), None);
    assert_eq!(violations(&bench.data()), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_leaves_a_client_its_claim() {
    let bench = Bench::new().await;
    let client = ClientId::generate();
    let claimed = bench.claim(client, "w").await.unwrap();
    assert!(!claimed.has_claim(), "the client has it, not the handle");
    let workspace = open(&bench, "w").await;
    let run = busy(&bench.session(&workspace).await).await;
    assert_eq!(workspace.close().await, []);
    assert_eq!(claimed.close().await, [], "it has no claim to end");
    let status = claimed.status().expect("the client claims it");
    assert_eq!(
        (status.openers, status.clients, status.closing),
        (0, 1, false)
    );
    assert!(run.try_ended().is_none());

    // For everyone.
    bench.close(&claimed).await;
    assert_eq!(run.ended().await.unwrap().cause, "shutdown");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_claim_cuts_off_no_run() {
    for policy in [OnLastClient::KeepRunning, OnLastClient::Cancel] {
        let mut bench = Bench::with(|builder| builder.on_last_client(policy)).await;
        let workspace = open(&bench, "w").await;
        // A client that came and left before is not the last to leave.
        let client = ClientId::generate();
        let unclaimed = bench.claim(client, "w").await.unwrap();
        unclaimed.release(client).unwrap();

        let session = bench.session(&workspace).await;
        let run = busy(&session).await;
        let behind = session.prompt("echo behind").await.unwrap();
        drop(workspace);
        assert_eq!(openers(&unclaimed), Some(0), "runs keep it open");
        assert!(run.try_ended().is_none());
        assert_eq!(run.cancel().await.unwrap().cause, "user");
        assert_eq!(behind.ended().await.unwrap().state, RunState::Completed);
        bench.until_closed(&unclaimed).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_whose_workspace_nobody_claims_is_read_and_not_prompted() {
    let mut bench = Bench::new().await;
    let unclaimed;
    let session = {
        let workspace = open(&bench, "w").await;
        let session = bench.session(&workspace).await;
        let run = session.prompt("echo kept").await.unwrap();
        run.ended().await.unwrap();
        unclaimed = bench.host.workspace(workspace.id()).unwrap();
        session
    };
    bench.until_closed(&unclaimed).await;
    let refused = session.prompt("echo later").await.unwrap_err();
    assert!(matches!(refused, HostError::UnknownWorkspace(_)));
    assert!(
        refused.to_string().contains("as long as it is claimed"),
        "{refused}"
    );
    assert_eq!(session.messages().await.unwrap().len(), 2);

    let _claim = open(&bench, "w").await;
    let run = session.prompt("echo later").await.unwrap();
    assert_eq!(run.ended().await.unwrap().state, RunState::Completed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_outlives_its_workspace_ends_no_later_one() {
    let bench = Bench::new().await;
    let before = open(&bench, "w").await;
    bench.close(&before).await;
    let after = open(&bench, "w").await;
    assert_eq!(before.id(), after.id());
    assert_eq!(before.close().await, []);
    assert_eq!(openers(&after), Some(1));
    drop(before);
    assert_eq!(openers(&after), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opening_that_is_dropped_leaves_no_claim() {
    let mut bench = Bench::new().await;
    for times in 0..8 {
        let key = WorkspaceKey::name("fresh");
        let opening = bench.host.open_workspace(key, WorkspaceOptions::new());
        drop_at(times, opening).await;
        assert!(bench.host.open_workspaces().is_empty(), "after {times}");
    }

    // One that is open gets its options first, which takes a write.
    let workspace = open(&bench, "w").await;
    let locked = bench.lock_store();
    let options = WorkspaceOptions::new().grant(Capability::State);
    let opening = bench.host.open_workspace(workspace.key().clone(), options);
    let mut opening = Box::pin(opening);
    assert!(poll_immediate(&mut opening).await.is_none());
    assert_eq!(openers(&workspace), Some(2));
    drop(opening);
    assert_eq!(openers(&workspace), Some(1));
    drop(locked);

    let unclaimed = bench.host.workspace(workspace.id()).unwrap();
    drop(workspace);
    bench.until_closed(&unclaimed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handle_is_dropped_on_any_thread() {
    let mut bench = Bench::new().await;
    let workspace = open(&bench, "w").await;
    let unclaimed = bench.host.workspace(workspace.id()).unwrap();
    let dropped = std::thread::spawn(move || drop(workspace)).join();
    assert!(dropped.is_ok());
    bench.until_closed(&unclaimed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_neither_delay_a_shutdown_nor_outlive_it() {
    let bench = Bench::new().await;
    let workspace = open(&bench, "w").await;
    let session = bench.session(&workspace).await;
    let run = busy(&session).await;
    let queued = session.prompt("echo later").await.unwrap();
    assert_eq!(bench.host.shutdown().await, []);
    assert_eq!(run.ended().await.unwrap().cause, "shutdown");
    assert!(bench.host.open_workspaces().is_empty());
    let again = bench
        .host
        .open_workspace(workspace.key().clone(), WorkspaceOptions::new());
    assert_eq!(name(again.await), "host-closing");
    assert_eq!(workspace.close().await, []);
    drop(workspace);
    assert_eq!(queued.state().await.unwrap(), RunState::Queued);
}

lastword_tests::also_in_memory![
    each_opening_is_a_claim_that_its_clones_share,
    a_dropped_claim_cuts_off_no_run,
    a_session_whose_workspace_nobody_claims_is_read_and_not_prompted,
    a_claim_that_outlives_its_workspace_ends_no_later_one,
];
