//! Handles: the last one's end is the host's end, whichever it is, and a provider that holds its
//! host keeps nothing once that is shut down.

use futures_util::future::{BoxFuture, ready};
use lastword::model::CallContext;
use lastword::tools::{Invocation, Tool, ToolError, ToolOutput, ToolProvider};
use lastword::{BackupError, Host, HostError, RunState, WeakHost, WorkspaceKey, WorkspaceOptions};
use lastword_tests::check::violations;
use lastword_tests::fixture::{Fixture, Plan, builder};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// Hosts that are built and shut down one after the other.
const CYCLES: usize = 6;

/// A provider that holds its host.
#[derive(Clone, Default)]
pub(super) struct Holding(pub(super) Arc<OnceLock<Host>>);

impl ToolProvider for Holding {
    fn tools(&self, _: &CallContext) -> BoxFuture<'static, Result<Vec<Tool>, ToolError>> {
        Box::pin(ready(Ok(Vec::new())))
    }

    fn call(&self, _: Invocation) -> BoxFuture<'static, Result<ToolOutput, ToolError>> {
        Box::pin(ready(Ok(ToolOutput::text("never"))))
    }
}

/// Files and directories below a folder that this process has open.
fn open_below(folder: &Path) -> usize {
    let folder = folder.canonicalize().unwrap();
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    let paths = open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    paths.filter(|path| path.starts_with(&folder)).count()
}

/// Waits for what happens on other threads.
pub(super) async fn until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        tokio::task::yield_now().await;
    }
}

/// A host over the same folder, as soon as the directory is free.
pub(super) async fn next(folder: &TempDir) -> Host {
    let began = Instant::now();
    loop {
        match builder(folder.path()).build().await {
            Ok(host) => return host,
            Err(HostError::Open(lastword::OpenError::InUse { .. })) => {
                assert!(began.elapsed() < PATIENCE, "it stays in use");
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_holds_its_host_keeps_nothing_of_one_that_is_shut_down() {
    for cycle in 0..CYCLES {
        let folder = tempfile::tempdir().unwrap();
        let holding = Holding::default();
        let brought = holding.clone();
        let host = builder(folder.path()).tools(brought).build().await.unwrap();
        assert!(holding.0.set(host.clone()).is_ok());
        let weak = host.downgrade();
        drop(holding);
        let key = WorkspaceKey::name("w");
        let opened = host.open_workspace(key, WorkspaceOptions::new()).await;
        drop(opened.unwrap());
        host.shutdown().await;
        drop(host);
        let gone = format!("cycle {cycle}: the host is there");
        until(&gone, || weak.upgrade().is_none()).await;
        let gone = format!("cycle {cycle}: its files are open");
        until(&gone, || open_below(folder.path()) == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_weak_handle_is_the_host_as_long_as_there_is_one() {
    assert!(WeakHost::default().upgrade().is_none());
    let fixture = Fixture::new().await;
    let weak = fixture.host.downgrade();
    assert!(weak.upgrade().is_some());
    let Fixture {
        host,
        workspace,
        session,
        agent,
        folder,
        ..
    } = fixture;
    drop((host, workspace));
    assert!(weak.upgrade().is_some(), "the session keeps it");
    drop(session);
    // What the host does by itself may hold it for a moment.
    until("an agent keeps it", || weak.upgrade().is_none()).await;
    let next = next(&folder).await;
    assert_eq!(next.recovered().ended, 0);
    drop(agent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_and_its_events_keep_the_host_until_they_are_dropped() {
    let fixture = Fixture::new().await;
    let run = fixture.start_until("spin before", "before").await;
    let (weak, folder) = (fixture.host.downgrade(), fixture.folder);
    drop((fixture.host, fixture.workspace, fixture.session));
    let mut events = run.events();
    let receipt = run.cancel().await.unwrap();
    assert!(receipt.persisted);
    assert_eq!(run.ended().await.unwrap(), receipt);
    drop(run);
    while let Some(event) = events.next().await {
        event.unwrap();
    }
    assert!(weak.upgrade().is_some());
    drop(events);
    until("it is there without handles", || weak.upgrade().is_none()).await;
    drop(next(&folder).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_handle_ends_what_runs_in_the_order_of_a_shutdown() {
    let fixture = Fixture::new().await;
    let run = fixture.start_until("spin before", "before").await;
    let waiting = fixture.start("echo later").await;
    let (ended, held, folder) = (run.id(), waiting.id(), fixture.folder);
    drop((
        fixture.host,
        fixture.workspace,
        fixture.session,
        run,
        waiting,
    ));
    let host = next(&folder).await;
    assert_eq!(host.recovered().ended, 0, "it had its end before");
    let receipt = host.run(ended).await.unwrap().ended().await.unwrap();
    assert_eq!(receipt.cause, "shutdown");
    assert_eq!(receipt.state, RunState::Interrupted);
    // One that waits is held, and says so instead of being unknown.
    let held = host.run(held).await.unwrap();
    for answer in [held.ended().await, held.receipt().await] {
        assert_eq!(answer.unwrap_err().name(), "run-held");
    }
    host.shutdown().await;
    assert_eq!(violations(&folder.path().join("data")), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_goes_on_says_that_it_has_no_end_yet() {
    let fixture = Fixture::new().await;
    let run = fixture.start_until("spin before", "before").await;
    assert_eq!(run.receipt().await.unwrap_err().name(), "run-not-ended");
    // A handle from before the run was resumed waits for it, too.
    let behind = fixture.start("echo later").await.id();
    assert_eq!(fixture.workspace.close().await, []);
    let key = WorkspaceKey::directory(fixture.files()).unwrap();
    let held = fixture.host.run(behind).await.unwrap();
    assert_eq!(held.ended().await.unwrap_err().name(), "run-held");
    let opened = fixture.host.open_workspace(key, WorkspaceOptions::new());
    opened.await.unwrap().resume_held().await.unwrap();
    assert_eq!(held.ended().await.unwrap().state, RunState::Completed);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_of_a_host_that_is_shut_down_is_answered_so() {
    let fixture = Fixture::new().await;
    let run = fixture.start_until("spin before", "before").await;
    assert_eq!(fixture.host.shutdown().await, []);
    let begun = fixture.workspace.new_session(&fixture.agent).await;
    assert_eq!(begun.unwrap_err().name(), "host-closing");
    let renamed = fixture.session.rename("later").await;
    assert_eq!(renamed.unwrap_err().name(), "host-closing");
    let set = fixture.workspace.set_options(WorkspaceOptions::new()).await;
    assert_eq!(set.unwrap_err().name(), "host-closing");
    assert_eq!(run.cancel().await.unwrap().cause, "shutdown");
    assert_eq!(run.ended().await.unwrap().cause, "shutdown");
}

/// Nothing of a host in memory is there for another, and it leaves no file behind.
#[tokio::test]
async fn a_host_in_memory_keeps_nothing_and_has_no_data_directory() {
    let folder = tempfile::tempdir().unwrap();
    let both = Host::builder().in_memory().data_dir(folder.path());
    let refused = both.build().await.err().unwrap();
    assert_eq!(refused.name(), "invalid-value");
    assert_eq!(folder.path().read_dir().unwrap().count(), 0);

    let host = Host::builder().in_memory().build().await.unwrap();
    let refused = host.backup(folder.path().join("copy")).await.unwrap_err();
    assert!(matches!(refused, BackupError::InMemory), "{refused:?}");
    let key = WorkspaceKey::name("trial");
    let workspace = host.open_workspace(key.clone(), WorkspaceOptions::new());
    let id = workspace.await.unwrap().id();
    host.shutdown().await;

    let next = Host::builder().in_memory().build().await.unwrap();
    let unknown = next.workspace_record(id).await.unwrap_err();
    assert_eq!(unknown.name(), "unknown-workspace");
    next.shutdown().await;
}

#[tokio::test]
async fn a_directory_that_this_process_has_is_not_another_processs() {
    let fixture = Fixture::new().await;
    let second = builder(fixture.folder.path()).build().await;
    let said = second.expect_err("it is in use").to_string();
    assert!(said.contains("of this very process"), "{said}");
    assert!(said.contains("`shutdown`"), "{said}");
}

#[test]
fn a_runtime_without_timers_or_io_is_an_error_of_build() {
    let folder = tempfile::tempdir().unwrap();
    let runtimes: [fn(&mut tokio::runtime::Builder); 3] = [
        |_| {},
        |runtime| _ = runtime.enable_time(),
        |runtime| _ = runtime.enable_io(),
    ];
    for enable in runtimes {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        enable(&mut runtime);
        let built = runtime
            .build()
            .unwrap()
            .block_on(builder(folder.path()).build());
        assert!(matches!(built.err(), Some(HostError::NoRuntime)));
    }
    let outside = futures_util::FutureExt::now_or_never(builder(folder.path()).build());
    assert!(matches!(outside, Some(Err(HostError::NoRuntime))));
}

#[test]
fn a_host_is_used_from_outside_its_runtime() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let fixture = runtime.block_on(Plan::new().build());
    let run = runtime.block_on(fixture.start_until("spin before", "before"));
    let waits = fixture.session.clone();
    // Polled by no runtime at all.
    let used = async {
        assert!(run.cancel().await.unwrap().persisted);
        let bytes = std::fs::read(lastword_tests::guests::guest("probe")).unwrap();
        fixture.host.load_agent("probe", bytes).await.unwrap();
        waits
            .prompt("echo hello")
            .await
            .unwrap()
            .ended()
            .await
            .unwrap();
        assert_eq!(fixture.workspace.close().await, []);
        assert_eq!(fixture.host.shutdown().await, []);
    };
    polled_by_hand(used);
}

/// Polls a future on this thread, without a runtime, until it is done.
fn polled_by_hand<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(output) => return output,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}
