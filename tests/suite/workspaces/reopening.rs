//! Workspaces that the host itself reopens for held prompts: their runs continue without a client,
//! and a caller that disconnects neither leaves one open nor loses its prompts.

use super::Bench;
use lastword::event::EventBody;
use lastword::id::{ClientId, RunId};
use lastword::{OnLastClient, Receipt, RunState, Session, Workspace};
use lastword_tests::check::violations;
use lastword_tests::fixture::{drop_at, wait_until_said};
use std::time::Duration;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A prompt that is held, in a workspace that is closed.
async fn held(bench: &Bench, prompt: &str) -> (Workspace, Session, RunId) {
    let workspace = bench.claim(ClientId::generate(), "w").await.unwrap();
    let session = bench.session(&workspace).await;
    let busy = session.prompt("spin before").await.unwrap();
    wait_until_said(&busy, "before").await;
    let queued = session.prompt(prompt).await.unwrap();
    bench.close(&workspace).await;
    assert_eq!(queued.state().await.unwrap(), RunState::Held);
    (workspace, session, queued.id())
}

/// A run's end, from its log.
async fn end(bench: &Bench, run: RunId) -> Receipt {
    let mut events = bench.host.run(run).await.unwrap().events();
    let end = async {
        loop {
            let event = events.next().await.expect("it ends").unwrap();
            if let EventBody::RunEnded { receipt } = event.body {
                return receipt;
            }
        }
    };
    tokio::time::timeout(PATIENCE, end).await.expect("it ends")
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_until_a_client_came_and_left() {
    let mut bench = Bench::with(|builder| builder.on_last_client(OnLastClient::Cancel)).await;
    let (closed, _, first) = held(&bench, "spin on").await;
    let resumed = bench.host.reopen_held().await.unwrap();
    assert_eq!(resumed[0].id(), first);
    wait_until_said(&resumed[0], "on").await;
    assert!(resumed[0].try_ended().is_none());
    // Once a client has come, its leaving is the last client's.
    let _until_now = bench.notices.so_far();
    let client = ClientId::generate();
    let workspace = bench.claim(client, "w").await.unwrap();
    assert_eq!(workspace.id(), closed.id());
    workspace.release(client).unwrap();
    let receipt = resumed[0].ended().await.unwrap();
    assert_eq!(
        (receipt.state, &*receipt.cause.name()),
        (RunState::Interrupted, "shutdown")
    );
    bench.until_closed(&workspace).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_dropped_loses_no_prompt_and_leaves_nothing_open() {
    let bench = Bench::new().await;
    for times in 0..12 {
        let (_, session, run) = held(&bench, "echo on").await;
        drop_at(times, bench.host.reopen_held()).await;
        // It is held still, or goes on by itself.
        while session.run(run).state().await.unwrap() == RunState::Held {
            bench.host.reopen_held().await.unwrap();
        }
        let receipt = end(&bench, run).await;
        assert_eq!(receipt.state, RunState::Completed, "after {times} awaits");
        let closed = bench.host.idle(Duration::ZERO);
        let closed = tokio::time::timeout(PATIENCE, closed).await;
        assert!(closed.is_ok(), "open after {times} awaits");
    }
    assert_eq!(violations(&bench.data()), [""; 0]);
}
