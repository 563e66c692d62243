//! A cancel that lands while a tool is in the middle of its work, for every tool that there
//! is: the transcript is whole, nothing is left open, and the work stops. `cases` says for each
//! tool how it is known to be inside.

mod bench;
mod cases;

use super::{calls, results, text};
use bench::Bench;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, poll_immediate};
use lastword::session::SessionRecord;
use lastword::tools::BUILTIN_TOOLS;
use lastword::{Receipt, Run, RunState};
use lastword_tests::check::violations;
use lastword_tests::fixture::Fixture;

/// How often a cancel is tried until it lands inside.
const TRIES: u32 = 16;

/// One tool, and the point of its work at which the cancel lands.
struct Case {
    tool: &'static str,
    point: &'static str,
    /// Starts a run and returns once the tool is there. The number is how often to let others
    /// go on where nothing tells; it doubles until the case proves to have been inside.
    enter: for<'b> fn(&'b mut Bench, u32) -> BoxFuture<'b, Inside>,
}

/// A run whose tool is in the middle of its work.
struct Inside {
    run: Run,
    /// What holds the tool up, let go of once the run is being stopped.
    let_go: Box<dyn FnOnce()>,
    /// Returns once the tool's work has stopped.
    stopped: BoxFuture<'static, ()>,
    /// Inspects the effects once no code of the host is running any more.
    left: Box<dyn FnOnce()>,
    /// Whether these effects prove that the tool was running.
    proven: fn(&SessionRecord) -> bool,
    /// Whether the tool cannot end by itself: on a busy machine, another may be over before the
    /// cancel is there, and is tried again.
    held: bool,
}

impl Inside {
    fn of(run: Run) -> Self {
        Self {
            run,
            let_go: Box::new(|| ()),
            stopped: std::future::ready(()).boxed(),
            left: Box::new(|| ()),
            proven: |_| true,
            held: true,
        }
    }

    fn stopped(self, stopped: impl Future<Output = ()> + Send + 'static) -> Self {
        let stopped = stopped.boxed();
        Self { stopped, ..self }
    }

    fn left(self, left: impl FnOnce() + 'static) -> Self {
        let left = Box::new(left);
        Self { left, ..self }
    }
}

/// Whether the case proved to be inside; panics if anything is not as it has to be.
fn holds(case: &Case, patience: u32) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let (_folder, left, proven) = runtime.block_on(async {
        let mut bench = Bench::new(case.tool).await;
        let inside = (case.enter)(&mut bench, patience).await;
        let run = inside.run;
        let fixture = bench.fixture;
        let mut cancelling = Box::pin(run.cancel());
        let receipt = poll_immediate(cancelling.as_mut()).await;
        (inside.let_go)();
        let receipt = match receipt {
            Some(receipt) => receipt,
            None => cancelling.await,
        };
        let receipt = receipt.expect("the run ends");
        let record = fixture.session.record().await.expect("the session");
        let proven =
            (inside.proven)(&record) && whole(case, &fixture, &run, receipt, inside.held).await;
        inside.stopped.await;
        assert!(fixture.host.shutdown().await.is_empty());
        assert_eq!(violations(&fixture.data()), [""; 0], "{}", case.tool);
        (fixture.folder, inside.left, proven)
    });
    // Waits for everything that the host does on threads that may block.
    drop(runtime);
    left();
    proven
}

/// The transcript has an end, and the open call a result that says so; no question is open. Returns
/// whether the call was open, which only one that nothing holds up may not be.
async fn whole(case: &Case, fixture: &Fixture, run: &Run, receipt: Receipt, held: bool) -> bool {
    let at = format!("{}, {}", case.tool, case.point);
    if !held && receipt.state == RunState::Completed {
        return false;
    }
    assert_eq!(receipt.state, RunState::Cancelled, "{at}");
    assert_eq!(receipt.cause, "user", "{at}");
    assert!(receipt.persisted, "{at}");
    let outcome = fixture.outcome(run, receipt).await;
    assert_eq!(outcome.kinds().last(), Some(&"run.ended"), "{at}");
    let unfinished = outcome.messages.iter().find(|m| m.finish.is_none());
    assert_eq!(
        unfinished.map(|m| m.role),
        Some(lastword::session::Role::User),
        "{at}: only what the user said has no finish"
    );
    let calls = calls(&outcome);
    let call = calls.last().expect("a call");
    assert_eq!(call.name, case.tool, "{at}: it is the last call");
    let results = results(&outcome);
    let results: Vec<_> = results.iter().filter(|r| r.call_id == call.id).collect();
    let [result] = results[..] else {
        panic!("{at}: one result, and not {results:?}");
    };
    if !held && !result.is_error {
        return false;
    }
    assert!(result.is_error, "{at}: {result:?}");
    let says = match call.started {
        true => "Tool call cancelled by the user; it had been started and may have taken effect",
        false => "Tool call cancelled by the user",
    };
    assert_eq!(text(result), says, "{at}");
    let open = fixture.host.questions().await.expect("the questions");
    assert_eq!(open, [], "{at}");
    true
}

#[test]
fn a_cancel_inside_any_tool_leaves_a_whole_transcript_and_stops_its_work() {
    for case in &cases::CASES {
        let began = std::time::Instant::now();
        let mut tries = (0..TRIES).map(|doubled| holds(case, 1 << doubled));
        let inside = tries.any(|inside| inside);
        assert!(inside, "{}, {}: never was inside", case.tool, case.point);
        eprintln!(
            "{}, {}: {} ms",
            case.tool,
            case.point,
            began.elapsed().as_millis()
        );
    }
}

#[test]
fn no_tool_is_left_out() {
    let others = ["test.hang", "it.slow"];
    for tool in BUILTIN_TOOLS.iter().chain(&others) {
        let has_one = cases::CASES.iter().any(|case| case.tool == *tool);
        assert!(has_one, "{tool}: nobody cancels it inside");
    }
}
