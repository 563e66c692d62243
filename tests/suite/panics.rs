//! An embedder's extension panics inside the host: this costs only the run for which it was called,
//! at worst the ability to write, and no caller waits forever.

use futures_util::future::{BoxFuture, join_all};
use lastword::RunState;
use lastword::clock::{Clock, UnixMillis};
use lastword::event::Position;
use lastword_tests::clock::ManualClock;
use lastword_tests::fixture::Plan;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A clock that one thread of a name cannot read, once, when it is told to fail.
#[derive(Clone)]
struct FailingClock {
    clock: ManualClock,
    threads: &'static str,
    fails: Arc<AtomicBool>,
}

impl FailingClock {
    fn on(threads: &'static str) -> Self {
        Self {
            clock: ManualClock::default(),
            threads,
            fails: Arc::default(),
        }
    }
}

impl Clock for FailingClock {
    fn now(&self) -> UnixMillis {
        let there = std::thread::current().name() == Some(self.threads);
        assert!(
            !(there && self.fails.swap(false, Ordering::SeqCst)),
            "on purpose"
        );
        self.clock.now()
    }

    fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.clock.sleep(duration)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_fails_with_what_it_had_said_and_strands_nobody() {
    let clock = FailingClock::on("lastword-guest");
    let brought = Arc::new(clock.clone());
    let plan = Plan::new().host(|host| host.clock(brought).concurrent_runs(1));
    let fixture = plan.build().await;
    let run = fixture.start_until("flood", "x").await;
    let behind = fixture.start("echo next").await;
    clock.fails.store(true, Ordering::SeqCst);
    let receipt = run.ended().await.unwrap();
    assert_eq!(
        (receipt.state, &*receipt.cause.name(), receipt.persisted),
        (RunState::Failed, "trap(host)", true)
    );
    let detail = receipt.detail.clone().unwrap();
    assert!(detail.contains("its log says why"), "{detail}");
    let said = fixture.outcome(&run, receipt).await;
    assert!(said.text().starts_with('x'));
    assert_eq!(said.text(), said.streamed());
    let receipt = behind.ended().await.unwrap();
    assert_eq!(fixture.outcome(&behind, receipt).await.text(), "next");
    assert_eq!(fixture.workspace.close().await, []);
    assert_eq!(fixture.violations(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_fails_says_so_to_everybody() {
    let clock = FailingClock::on("lastword-write");
    let brought = Arc::new(clock.clone());
    let plan = Plan::new().host(|host| host.clock(brought));
    let fixture = plan.build().await;
    let run = fixture.start_until("spin before", "before").await;
    let waiting = fixture.start("echo never").await;
    let mut follower = fixture.host.events(Position(0));
    clock.fails.store(true, Ordering::SeqCst);
    let asked = ["echo a", "echo b", "echo c"].map(|prompt| fixture.session.prompt(prompt));
    for asked in join_all(asked).await {
        assert_eq!(asked.unwrap_err().name(), "store-unavailable");
    }
    let later = fixture.session.prompt("echo later").await;
    assert_eq!(later.unwrap_err().name(), "store-unavailable");
    // It reads what there is, is told why there is no more, and ends.
    while follower.next().await.is_some() {}
    assert!(!run.cancel().await.unwrap().persisted);
    assert!(run.ended().await.is_err());
    assert!(waiting.ended().await.is_err());
    let mut left = fixture.host.shutdown().await;
    left.sort();
    assert_eq!(left, [run.id(), waiting.id()]);
}

lastword_tests::also_in_memory![
    a_run_fails_with_what_it_had_said_and_strands_nobody,
    a_writer_that_fails_says_so_to_everybody,
];
