//! Claims: holds, streams, the grace after a lost stream, release and retirement. Time is the
//! test's own.

use super::{Bench, name};
use futures_util::future::{join_all, poll_immediate};
use lastword::clock::SystemClock;
use lastword::id::ClientId;
use lastword::{HostError, Lifecycle, OnLastClient, Prompt, RunState, WorkspaceKey};
use lastword_tests::check::violations;
use lastword_tests::fixture::wait_until_said;
use std::time::Duration;

const HOLD: Duration = Duration::from_secs(30);
const GRACE: Duration = Duration::from_secs(10);
const MOMENT: Duration = Duration::from_millis(1);

#[tokio::test(flavor = "multi_thread")]
async fn parallel_creates_of_one_path_make_one_workspace() {
    let mut bench = Bench::new().await;
    let link = bench.folder.path().join("link");
    let real = bench.folder.path().join("real");
    std::fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let creates = (0..50).map(|n| {
        let path = if n % 2 == 0 { &link } else { &real };
        let key = WorkspaceKey::directory(path).unwrap();
        bench.host.claim_workspace(ClientId::generate(), key, None)
    });
    let made = join_all(creates).await;
    let ids: Vec<_> = made.into_iter().map(|made| made.unwrap().id()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]));
    let opened = Lifecycle::Opened { workspace: ids[0] };
    assert_eq!(bench.notices.so_far(), [opened]);
    let status = bench.host.open_workspaces();
    assert_eq!((status.len(), status[0].clients), (1, 50));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_that_is_dropped_leaves_the_next_one_to_open() {
    let bench = Bench::new().await;
    let locked = bench.lock_store();
    let dropped = poll_immediate(bench.claim(ClientId::generate(), "w")).await;
    assert!(dropped.is_none(), "opening takes a write");
    drop(locked);
    assert!(bench.claim(ClientId::generate(), "w").await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_host_keeps_is_in_no_workspace_and_around_none() {
    let bench = Bench::new().await;
    let link = bench.folder.path().join("link");
    std::os::unix::fs::symlink(bench.folder.path(), &link).unwrap();
    let sessions = bench.data().join("sessions");
    std::fs::create_dir(&sessions).unwrap();
    // The last one holds the cache of the tests.
    let refused = [
        bench.folder.path().to_owned(),
        link.clone(),
        bench.data(),
        sessions,
        lastword_tests::guests::root().to_owned(),
    ];
    for directory in refused {
        let canonical = WorkspaceKey::directory(&directory).unwrap();
        for key in [canonical, WorkspaceKey::Directory(directory)] {
            let made = bench.host.claim_workspace(ClientId::generate(), key, None);
            assert_eq!(name(made.await), "invalid-directory");
        }
    }
    assert!(bench.host.open_workspaces().is_empty());
    let beside = bench.folder.path().join("beside");
    std::fs::create_dir(&beside).unwrap();
    let key = WorkspaceKey::directory(link.join("beside")).unwrap();
    let made = bench.host.claim_workspace(ClientId::generate(), key, None);
    assert_eq!(name(made.await), "no error");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_cannot_be_opened_strands_nobody() {
    let bench = Bench::new().await;
    let missing = WorkspaceKey::directory(bench.folder.path().join("missing")).unwrap();
    let creates = (0..8).map(|_| {
        let client = ClientId::generate();
        bench.host.claim_workspace(client, missing.clone(), None)
    });
    for made in join_all(creates).await {
        assert!(matches!(made, Err(HostError::Io { .. })));
    }
    assert!(bench.host.open_workspaces().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_expires_unless_a_stream_is_attached() {
    let mut bench = Bench::new().await;
    let client = ClientId::generate();
    let held = bench.claim(client, "held").await.unwrap();
    let attached = bench.claim(client, "attached").await.unwrap();
    let _stream = attached.attach(client).unwrap();
    bench.clock.advance(HOLD - MOMENT);
    assert!(held.status().is_some(), "its hold is not over");
    bench.clock.advance(MOMENT);
    bench.until_closed(&held).await;
    assert!(held.status().is_none());
    assert_eq!(name(held.attach(client)), "unknown-workspace");
    assert_eq!(attached.status().map(|status| status.streams), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_create_re_arms_the_hold_and_the_old_timer_cannot_kill_it() {
    let mut bench = Bench::new().await;
    let (client, other) = (ClientId::generate(), ClientId::generate());
    let workspace = bench.claim(client, "w").await.unwrap();
    let witness = bench.claim(other, "witness").await.unwrap();
    bench.clock.advance(HOLD - MOMENT);
    bench.claim(client, "w").await.unwrap();
    bench.clock.advance(MOMENT);
    bench.until_closed(&witness).await;
    assert!(workspace.status().is_some(), "it was held anew");
    bench.clock.advance(HOLD);
    bench.until_closed(&workspace).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_stream_may_come_back_within_the_grace() {
    let mut bench = Bench::new().await;
    let (client, other) = (ClientId::generate(), ClientId::generate());
    let workspace = bench.claim(client, "w").await.unwrap();
    let witness = bench.claim(other, "witness").await.unwrap();
    let lost = workspace.attach(client).unwrap();
    drop(witness.attach(other).unwrap());
    drop(lost);
    bench.clock.advance(GRACE - MOMENT);
    let back = workspace.attach(client).unwrap();
    bench.clock.advance(MOMENT);
    bench.until_closed(&witness).await;
    assert!(workspace.status().is_some(), "it came back in time");
    drop(back);
    bench.clock.advance(GRACE);
    bench.until_closed(&workspace).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_dropped_on_any_thread() {
    // The machine's own clock: a test's needs no runtime.
    let clock = SystemClock::shared();
    let mut bench = Bench::with(|builder| builder.clock(clock).detach_grace(MOMENT)).await;
    let client = ClientId::generate();
    let workspace = bench.claim(client, "w").await.unwrap();
    let stream = workspace.attach(client).unwrap();
    let dropped = std::thread::spawn(move || drop(stream)).join();
    assert!(dropped.is_ok());
    bench.until_closed(&workspace).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_ends_the_claim_and_tells_its_streams() {
    let mut bench = Bench::new().await;
    let (client, other) = (ClientId::generate(), ClientId::generate());
    let workspace = bench.claim(client, "w").await.unwrap();
    let kept = workspace.attach(other).unwrap();
    let streams = [
        workspace.attach(client).unwrap(),
        workspace.attach(client).unwrap(),
    ];
    assert!(poll_immediate(streams[0].released()).await.is_none());
    workspace.release(client).unwrap();
    for stream in &streams {
        assert!(poll_immediate(stream.released()).await.is_some());
    }
    assert!(poll_immediate(kept.released()).await.is_none());
    let status = workspace.status().unwrap();
    assert_eq!((status.clients, status.streams), (1, 1));
    // A new claim is not its old streams', which end late.
    bench.claim(client, "w").await.unwrap();
    drop(streams);
    let stream = workspace.attach(client).unwrap();
    assert!(poll_immediate(stream.released()).await.is_none());
    bench.host.retire_client(client);
    assert!(poll_immediate(stream.released()).await.is_some());
    workspace.release(other).unwrap();
    bench.until_closed(&workspace).await;
    assert!(poll_immediate(kept.released()).await.is_some());
    let workspace = bench.claim(other, "w").await.unwrap();
    let stranger = ClientId::generate();
    assert_eq!(name(workspace.release(stranger)), "client-not-attached");
    workspace.release(other).unwrap();
    bench.until_closed(&workspace).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_clients_loss_is_not_anothers() {
    let mut bench = Bench::new().await;
    let (a, b) = (ClientId::generate(), ClientId::generate());
    let workspace = bench.claim(a, "w").await.unwrap();
    bench.claim(b, "w").await.unwrap();
    let stream = workspace.attach(b).unwrap();
    bench.host.retire_client(a);
    let status = workspace.status().unwrap();
    assert_eq!((status.clients, status.streams), (1, 1));
    drop(stream);
    bench.host.retire_client(b);
    bench.until_closed(&workspace).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retiring_refuses_creates_in_flight_and_later_ones() {
    let mut bench = Bench::new().await;
    let client = ClientId::generate();
    {
        let locked = bench.lock_store();
        let create = bench.claim(client, "w");
        tokio::pin!(create);
        assert!(poll_immediate(&mut create).await.is_none());
        bench.host.retire_client(client);
        drop(locked);
        assert_eq!(name(create.await), "client-retired");
    }
    let seen = bench.until(|n| matches!(n, Lifecycle::Closed { .. })).await;
    assert!(matches!(seen[0], Lifecycle::Opened { .. }));
    assert_eq!(name(bench.claim(client, "w").await), "client-retired");
    assert!(bench.host.open_workspaces().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_opens_while_the_workspace_is_torn_down_is_refused_by_name() {
    let bench = Bench::with(|builder| {
        builder.limits(lastword::Limits::default().grace(Duration::from_secs(5)))
    })
    .await;
    let client = ClientId::generate();
    let workspace = bench.claim(client, "w").await.unwrap();
    let session = bench.session(&workspace).await;
    let run = session.prompt("spin before").await.unwrap();
    wait_until_said(&run, "before").await;
    let close = bench.host.close_workspace(workspace.id());
    tokio::pin!(close);
    assert!(poll_immediate(&mut close).await.is_none(), "a run goes on");
    assert_eq!(name(workspace.attach(client)), "workspace-closing");
    assert_eq!(name(session.prompt("echo x").await), "workspace-closing");
    let again = bench.claim(client, "w");
    tokio::pin!(again);
    assert!(poll_immediate(&mut again).await.is_none(), "it waits");
    bench.clock.advance(Duration::from_secs(5));
    assert_eq!(close.await.unwrap().left, []);
    assert_eq!(run.ended().await.unwrap().state, RunState::Interrupted);
    assert!(again.await.is_ok(), "its path is free");
    assert_eq!(violations(&bench.data()), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_keep_a_workspace_open_that_nobody_claims() {
    let mut bench = Bench::new().await;
    let client = ClientId::generate();
    let workspace = bench.claim(client, "w").await.unwrap();
    let session = bench.session(&workspace).await;
    let run = session.prompt("spin before").await.unwrap();
    let queued = session.prompt("echo after").await.unwrap();
    wait_until_said(&run, "before").await;
    bench.host.retire_client(client);
    let status = workspace.status().unwrap();
    assert_eq!((status.clients, status.running, status.queued), (0, 1, 1));
    run.cancel().await.unwrap();
    let seen = bench.until_closed(&workspace).await;
    let ended = |run: &lastword::Run| {
        let id = run.id();
        seen.iter()
            .position(|n| matches!(n, Lifecycle::Ended { run, .. } if *run == id))
    };
    let closing = seen
        .iter()
        .position(|n| matches!(n, Lifecycle::Closing { .. }));
    assert!(ended(&run) < ended(&queued) && ended(&queued) < closing);
    let receipt = queued.ended().await.unwrap();
    assert_eq!(receipt.state, RunState::Completed);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_client_takes_the_runs_along_if_the_host_says_so() {
    let mut bench = Bench::with(|builder| builder.on_last_client(OnLastClient::Cancel)).await;
    let client = ClientId::generate();
    let workspace = bench.claim(client, "w").await.unwrap();
    let session = bench.session(&workspace).await;
    let run = session.prompt("spin before").await.unwrap();
    let queued = session.prompt("echo after").await.unwrap();
    wait_until_said(&run, "before").await;
    workspace.release(client).unwrap();
    bench.until_closed(&workspace).await;
    let receipt = run.ended().await.unwrap();
    assert_eq!(
        (receipt.state, &*receipt.cause.name()),
        (RunState::Interrupted, "shutdown")
    );
    assert_eq!(name(queued.ended().await), "run-held");
    assert_eq!(queued.state().await.unwrap(), RunState::Held);
    let again = bench.claim(client, "w").await.unwrap();
    let resumed = again.resume_held().await.unwrap();
    assert_eq!(resumed[0].id(), queued.id());
    let receipt = queued.ended().await.unwrap();
    assert_eq!(receipt.state, RunState::Completed);
    assert_eq!(violations(&bench.data()), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_bound_to_a_client_goes_with_it() {
    let bench = Bench::new().await;
    let (client, other) = (ClientId::generate(), ClientId::generate());
    let workspace = bench.claim(client, "w").await.unwrap();
    bench.claim(other, "w").await.unwrap();
    let (bound, free) = (
        bench.session(&workspace).await,
        bench.session(&workspace).await,
    );
    let bound = bound.prompt(Prompt::text("spin before").bound_to(client));
    let bound = bound.await.unwrap();
    let free = free.prompt("spin before").await.unwrap();
    wait_until_said(&bound, "before").await;
    wait_until_said(&free, "before").await;
    bench.host.retire_client(client);
    let receipt = bound.ended().await.unwrap();
    assert_eq!(
        (receipt.state, &*receipt.cause.name()),
        (RunState::Cancelled, "client-gone")
    );
    assert!(free.try_ended().is_none());
    free.cancel().await.unwrap();
}
