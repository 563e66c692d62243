//! Between one opening of a workspace and the next, and between one host's end and what is asked of
//! it last: opening waits for what is closing, a session that is due follows at once, and a host
//! that ends when it is idle takes a prompt or refuses it, and does not interrupt it.

use super::{Bench, name};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, poll_immediate};
use lastword::event::{EventBody, Position};
use lastword::id::{ClientId, WorkspaceId};
use lastword::model::CallContext;
use lastword::tools::{Invocation, Tool, ToolError, ToolOutput, ToolProvider};
use lastword::{RunState, WorkspaceOptions, WorkspaceStage};
use lastword_tests::check::violations;
use lastword_tests::fixture::wait_until_said;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// A source of tools that closes when it is let.
#[derive(Clone)]
struct Slow(Arc<Semaphore>);

impl ToolProvider for Slow {
    fn tools(&self, _: &CallContext) -> BoxFuture<'static, Result<Vec<Tool>, ToolError>> {
        std::future::ready(Ok(Vec::new())).boxed()
    }

    fn call(&self, _: Invocation) -> BoxFuture<'static, Result<ToolOutput, ToolError>> {
        std::future::pending().boxed()
    }

    fn close(&self, _: WorkspaceId) -> BoxFuture<'static, ()> {
        let turns = Arc::clone(&self.0);
        async move {
            let turn = turns.acquire().await;
            turn.expect("it stays open").forget();
        }
        .boxed()
    }
}

/// A host whose workspaces close one by one, each when a turn is given.
async fn slow() -> (Bench, Arc<Semaphore>) {
    let turns = Arc::new(Semaphore::new(0));
    let tools = Slow(Arc::clone(&turns));
    let bench = Bench::with(|builder| builder.tools(tools)).await;
    (bench, turns)
}

#[tokio::test(flavor = "multi_thread")]
async fn opening_waits_for_the_workspace_that_closes() {
    let (bench, turns) = slow().await;
    let client = ClientId::generate();
    let workspace = bench.claim(client, "w").await.unwrap();
    let mut stages = workspace.stages();
    workspace.release(client).unwrap();
    assert_eq!(stages.next().await, Some(WorkspaceStage::Closing));
    let other = ClientId::generate();
    let claimed = bench.claim(other, "w");
    let opened = bench
        .host
        .open_workspace(workspace.key().clone(), WorkspaceOptions::new());
    tokio::pin!(claimed, opened);
    assert!(poll_immediate(&mut claimed).await.is_none());
    assert!(poll_immediate(&mut opened).await.is_none());
    turns.add_permits(1);
    let (claimed, opened) = tokio::join!(claimed, opened);
    assert_eq!(claimed.unwrap().id(), opened.unwrap().id());
}

/// Longer than what a run and the tools may take to end, no one waits.
#[tokio::test(flavor = "multi_thread")]
async fn opening_waits_no_longer_than_closing_may_take() {
    let bench = Bench::with(|builder| {
        builder.limits(lastword::Limits::default().grace(Duration::from_secs(3600)))
    })
    .await;
    let client = ClientId::generate();
    let workspace = bench.claim(client, "w").await.unwrap();
    let session = bench.session(&workspace).await;
    let run = session.prompt("spin before").await.unwrap();
    wait_until_said(&run, "before").await;
    let locked = bench.lock_store();
    let close = bench.host.close_workspace(workspace.id());
    tokio::pin!(close);
    assert!(poll_immediate(&mut close).await.is_none());
    let claimed = bench.claim(client, "w");
    tokio::pin!(claimed);
    assert!(poll_immediate(&mut claimed).await.is_none());
    bench.clock.advance(Duration::from_secs(2 * 3600));
    assert_eq!(name(claimed.await), "workspace-closing");
    drop(locked);
    close.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_due_while_its_workspace_closes_follows_at_once() {
    let (bench, turns) = slow().await;
    let client = ClientId::generate();
    let workspace = bench.claim(client, "w").await.unwrap();
    let mut stages = workspace.stages();
    let session = bench.session(&workspace).await;
    let run = session.prompt("wait 2000").await.unwrap();
    assert_eq!(run.ended().await.unwrap().state, RunState::Completed);
    workspace.release(client).unwrap();
    assert_eq!(stages.next().await, Some(WorkspaceStage::Closing));
    bench.clock.advance(Duration::from_secs(2));
    // It is tried, in vain, and would be tried again after a minute.
    bench.clock.asleep_for(Duration::from_secs(60), 1).await;
    turns.add_permits(1);
    let mut events = bench.host.events(Position(0));
    loop {
        let event = events.next().await.expect("it goes on").unwrap();
        if matches!(&event.body, EventBody::RunQueued { origin, .. } if origin == "wake") {
            break;
        }
    }
}

/// Whichever comes first: a prompt that is accepted has its end by itself, or it is refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_ends_when_it_is_idle_interrupts_no_prompt() {
    let (mut accepted, mut refused) = (0, 0);
    for round in 0..40 {
        let bench = Bench::new().await;
        let workspace = bench.claim(ClientId::generate(), "w").await.unwrap();
        let session = bench.session(&workspace).await;
        let prompting = tokio::spawn(async move {
            for _ in 0..round {
                tokio::task::yield_now().await;
            }
            session.prompt("echo x").await
        });
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        bench.host.close_when_idle().await;
        let prompted = prompting.await.unwrap();
        bench.host.shutdown().await;
        match prompted {
            Ok(run) => {
                accepted += 1;
                assert_eq!(run.try_ended().unwrap().state, RunState::Completed);
            }
            Err(error) => {
                refused += 1;
                assert!(
                    ["host-closing", "workspace-closing"].contains(&error.name()),
                    "{error}"
                );
            }
        }
        assert_eq!(violations(&bench.data()), [""; 0]);
    }
    assert_eq!(accepted + refused, 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_with_a_run_does_not_end_as_an_idle_one() {
    let bench = Bench::new().await;
    let workspace = bench.claim(ClientId::generate(), "w").await.unwrap();
    let session = bench.session(&workspace).await;
    let run = session.prompt("spin before").await.unwrap();
    wait_until_said(&run, "before").await;
    assert!(!bench.host.close_if_idle() && !bench.host.is_closing());
    let behind = session.prompt("echo behind").await.unwrap();
    run.cancel().await.unwrap();
    assert_eq!(behind.ended().await.unwrap().state, RunState::Completed);
    bench.host.close_when_idle().await;
    assert!(bench.host.is_closing());
    let late = session.prompt("echo late").await;
    assert_eq!(name(late), "host-closing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_knows_when_the_next_session_is_due() {
    let bench = Bench::new().await;
    let workspace = bench.claim(ClientId::generate(), "w").await.unwrap();
    let session = bench.session(&workspace).await;
    assert_eq!(bench.host.next_wake().await.unwrap(), None);
    let run = session.prompt("wait 60000").await.unwrap();
    run.ended().await.unwrap();
    let due = bench.host.next_wake().await.unwrap();
    assert_eq!(due, Some(Duration::from_secs(60)));
    // One that cannot be gone on with keeps no host for long.
    assert!(bench.host.unload_agent(bench.agent.id()));
    bench.clock.advance(Duration::from_secs(61));
    let due = bench.host.next_wake().await.unwrap();
    assert_eq!(due, Some(Duration::ZERO));
    bench.clock.advance(Duration::from_secs(60));
    assert_eq!(bench.host.next_wake().await.unwrap(), None);
}
