//! The queue: fair turns, limits of a workspace, prompts that are listed, edited and taken
//! back while they wait.

use super::{Bench, name};
use lastword::id::ClientId;
use lastword::session::Part;
use lastword::{Lifecycle, RunState, WorkspaceKey, WorkspaceOptions};
use lastword_tests::check::violations;
use lastword_tests::fixture::{wait_until_said, wait_until_started};

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_keeps_to_its_own_limit_and_holds_nobody_else_up() {
    let bench = Bench::new().await;
    let options = WorkspaceOptions::new().concurrent_runs(1);
    let key = WorkspaceKey::name("narrow");
    let narrow = bench.host.open_workspace(key, options).await.unwrap();
    let wide = bench.claim(ClientId::generate(), "wide").await.unwrap();
    let (a, b) = (bench.session(&narrow).await, bench.session(&narrow).await);
    let elsewhere = bench.session(&wide).await;
    let first = a.prompt("spin before").await.unwrap();
    let second = b.prompt("echo b").await.unwrap();
    let other = elsewhere.prompt("echo c").await.unwrap();
    assert_eq!(other.ended().await.unwrap().state, RunState::Completed);
    let status = narrow.status().unwrap();
    assert_eq!((status.running, status.queued), (1, 1));
    assert_eq!(second.state().await.unwrap(), RunState::Queued);
    first.cancel().await.unwrap();
    assert_eq!(second.ended().await.unwrap().state, RunState::Completed);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_sessions_of_one_workspace_do_not_starve_another() {
    let mut bench = Bench::with(|builder| builder.concurrent_runs(1)).await;
    let crowd = bench.claim(ClientId::generate(), "crowd").await.unwrap();
    let lone = bench.claim(ClientId::generate(), "lone").await.unwrap();
    let first = bench.session(&crowd).await;
    let first = first.prompt("spin before").await.unwrap();
    wait_until_started(&first).await;
    let mut waiting = Vec::new();
    for _ in 0..5 {
        let session = bench.session(&crowd).await;
        waiting.push(session.prompt("echo x").await.unwrap());
    }
    let lone = bench.session(&lone).await.prompt("echo y").await.unwrap();
    first.cancel().await.unwrap();
    for run in waiting.iter().chain([&lone]) {
        run.ended().await.unwrap();
    }
    let ended: Vec<_> = bench
        .notices
        .so_far()
        .into_iter()
        .filter_map(|notice| match notice {
            Lifecycle::Ended { run, .. } => Some(run),
            _ => None,
        })
        .collect();
    let place = ended.iter().position(|run| *run == lone.id()).unwrap();
    assert!(place <= 2, "its turn came after {place} others");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_is_listed_edited_and_withdrawn_one_by_one() {
    let bench = Bench::new().await;
    let workspace = bench.claim(ClientId::generate(), "w").await.unwrap();
    let session = bench.session(&workspace).await;
    let busy = session.prompt("spin before").await.unwrap();
    wait_until_said(&busy, "before").await;
    let edited = session.prompt("echo first").await.unwrap();
    let withdrawn = session.prompt("echo second").await.unwrap();
    let kept = session.prompt("echo third").await.unwrap();
    let queue = session.queue().await.unwrap();
    let runs: Vec<_> = queue.iter().map(|queued| queued.run).collect();
    assert_eq!(runs, [edited.id(), withdrawn.id(), kept.id()]);
    assert!(queue.iter().all(|q| q.state == RunState::Queued));

    let parts = vec![Part::text("echo edited")];
    let now = session
        .edit_queued(edited.id(), parts.clone())
        .await
        .unwrap();
    assert_eq!(now.parts, parts);
    let receipt = session.withdraw(withdrawn.id()).await.unwrap();
    assert_eq!(receipt.state, RunState::Cancelled);
    assert_eq!(session.queue().await.unwrap().len(), 2);

    let started = session.edit_queued(busy.id(), parts.clone()).await;
    assert_eq!(name(started), "run-started");
    assert_eq!(name(session.withdraw(busy.id()).await), "run-started");
    let gone = session.withdraw(withdrawn.id()).await;
    assert_eq!(name(gone), "run-started");
    let blank = session.edit_queued(kept.id(), vec![Part::text(" ")]).await;
    assert_eq!(name(blank), "empty-prompt");
    let elsewhere = bench.session(&workspace).await;
    let foreign = elsewhere.edit_queued(kept.id(), parts).await;
    assert_eq!(name(foreign), "unknown-run");

    busy.cancel().await.unwrap();
    for (run, text) in [(&edited, "edited"), (&kept, "third")] {
        assert_eq!(run.ended().await.unwrap().state, RunState::Completed);
        wait_until_said(run, text).await;
    }
    assert_eq!(violations(&bench.data()), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_straight_after_the_accept_is_never_lost() {
    let bench = Bench::new().await;
    let workspace = bench.claim(ClientId::generate(), "w").await.unwrap();
    for _ in 0..50 {
        let session = bench.session(&workspace).await;
        let run = session.prompt("spin before").await.unwrap();
        let receipt = run.cancel().await.unwrap();
        assert_eq!(receipt.state, RunState::Cancelled);
        assert_eq!(receipt.cause, "user");
    }
    assert_eq!(violations(&bench.data()), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_run_is_gone_on_with_and_a_completed_one_is_not() {
    let bench = Bench::new().await;
    let workspace = bench.claim(ClientId::generate(), "w").await.unwrap();
    let session = bench.session(&workspace).await;
    let stopped = session.prompt("spin before").await.unwrap();
    wait_until_said(&stopped, "before").await;
    stopped.cancel().await.unwrap();
    let again = session.resume(stopped.id()).await.unwrap();
    assert_ne!(again.id(), stopped.id());
    wait_until_said(&again, "before").await;
    again.cancel().await.unwrap();
    let whole = session.prompt("echo x").await.unwrap();
    whole.ended().await.unwrap();
    assert_eq!(name(session.resume(whole.id()).await), "not-resumable");
    assert_eq!(violations(&bench.data()), [""; 0]);
}
