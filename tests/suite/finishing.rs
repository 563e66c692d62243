//! The finishing write: its own deadline, its own owner, one end, nothing left open.

use crate::models::parked;
use futures_util::future::{join_all, poll_immediate};
use lastword::event::EventBody;
use lastword::session::{PartBody, Role};
use lastword::{Host, Limits, RunState};
use lastword_tests::check::violations;
use lastword_tests::clock::ManualClock;
use lastword_tests::fixture::{Fixture, Outcome, Plan, builder, wait_until, wait_until_started};
use lastword_tests::locked::Locked;
use rusqlite::Connection;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// Prompts that would fill a stack, if each start that is refused led to the next one.
const WAITING: u32 = 1000;

fn has_ended(fixture: &Fixture) -> bool {
    let conn = Connection::open(fixture.data().join("lastword.db")).unwrap();
    let ends: i64 = conn
        .query_row(
            "SELECT count(*) FROM event WHERE body LIKE '%run.ended%'",
            [],
            |r| r.get(0),
        )
        .unwrap();
    ends > 0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_store_bounds_the_waiter_and_not_the_write() {
    let clock = ManualClock::default();
    let plan = Plan::new().host(|host| host.clock(Arc::new(clock.clone())));
    let fixture = plan.build().await;
    let run = fixture.start_until("spin before", "before").await;
    let locked = Locked::hold(&fixture.data());
    let deadline = Limits::default().finish_deadline;
    let begun = clock.begun_for(deadline);
    let (provisional, ()) = tokio::join!(run.cancel(), async {
        // The caller waits for the guest's end, and then for the finish. A guest that is gone at
        // once leaves it the second wait alone.
        let both = clock.asleep_for(deadline, begun + 2);
        let _single = tokio::time::timeout(Duration::from_secs(10), both).await;
        clock.advance(Duration::from_secs(6));
    });
    let provisional = provisional.unwrap();
    assert_eq!(
        (provisional.state, provisional.persisted),
        (RunState::Finishing, false)
    );
    assert_eq!(
        (
            &*provisional.cause.name(),
            provisional.finish_deadline_expired
        ),
        ("user", true)
    );
    assert!(!has_ended(&fixture), "reported as ended before it was");
    assert!(run.try_ended().is_none());
    assert_eq!(run.state().await.unwrap(), RunState::Finishing);
    let listed = fixture.session.list_runs(1, None).await.unwrap().items;
    assert_eq!(listed[0].state, RunState::Finishing);
    let exported = fixture.session.export().await.unwrap();
    assert_eq!(exported.runs[0].state, RunState::Finishing);

    locked.release();
    let receipt = run.ended().await.unwrap();
    assert_eq!(
        (receipt.state, receipt.persisted),
        (RunState::Cancelled, true)
    );
    assert_eq!(run.state().await.unwrap(), RunState::Cancelled);
    assert!(
        receipt.finish_deadline_expired && receipt.persist_us >= 6_000_000,
        "{receipt:?}"
    );
    assert_eq!(fixture.outcome(&run, receipt).await.text(), "before");
    assert_eq!(fixture.violations(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_this_process_cannot_finish_is_finished_by_the_next() {
    let clock = ManualClock::default();
    let plan = Plan::new().host(|host| host.clock(Arc::new(clock.clone())));
    let fixture = plan.build().await;
    let run = fixture.start_until("spin before", "before").await;
    let locked = Locked::hold(&fixture.data());
    let limits = Limits::default();
    let a_second = Duration::from_secs(1);
    let patience = limits.finish_deadline + limits.grace + limits.epilogue + a_second;
    let begun = clock.begun_for(patience);
    let (left, ()) = tokio::join!(fixture.host.shutdown(), async {
        clock.asleep_for(patience, begun + 1).await;
        clock.advance(patience);
    });
    assert_eq!(
        left,
        [run.id()],
        "shutdown names the run whose end is not on disk"
    );
    assert!(
        run.ended().await.is_err(),
        "and nobody is told that it has ended"
    );
    locked.release();
    let Fixture { folder, .. } = fixture;

    let host = builder(folder.path()).build().await.unwrap();
    assert_eq!((host.recovered().ended, host.recovered().held), (1, 0));
    assert_eq!(violations(&folder.path().join("data")), [""; 0]);
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_for_good_has_every_run_named() {
    let limits = Limits::default().queue(WAITING);
    let plan = Plan::new().limits(limits);
    let fixture = plan.host(|host| host.concurrent_runs(1)).build().await;
    let busy = fixture.start_until("spin before", "before").await;
    let waiting = join_all((0..WAITING).map(|_| fixture.start("echo never"))).await;
    let conn = Connection::open(fixture.data().join("lastword.db")).unwrap();
    conn.execute("UPDATE owner SET epoch = epoch + 1", [])
        .unwrap();
    assert!(!busy.cancel().await.unwrap().persisted);
    let runs: Vec<_> = std::iter::once(&busy).chain(&waiting).collect();
    for run in &runs {
        assert!(run.ended().await.is_err(), "each is refused its start");
    }
    let mut left = fixture.host.shutdown().await;
    let mut ids: Vec<_> = runs.iter().map(|run| run.id()).collect();
    left.sort();
    ids.sort();
    assert_eq!(left, ids);
    let status = fixture.workspace.status().unwrap();
    assert!(status.closing, "it is not free before they have their ends");
    fixture.host.idle(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_content_that_the_store_rejects_does_not_strand_the_queue() {
    let fixture = Fixture::new().await;
    let conn = Connection::open(fixture.data().join("lastword.db")).unwrap();
    conn.execute_batch(
        "CREATE TRIGGER reject BEFORE INSERT ON message WHEN NEW.role = 'assistant'
           AND NEW.parts LIKE '%poison%'
         BEGIN SELECT RAISE(ABORT, 'rejected on purpose'); END",
    )
    .unwrap();
    let poisoned = fixture.start("echo poison").await;
    let behind = fixture.start("echo fine").await;
    let receipt = poisoned.ended().await.unwrap();
    assert_eq!(
        (receipt.state, receipt.persisted),
        (RunState::Completed, true)
    );
    assert!(receipt.detail.unwrap().contains("rejected on purpose"));
    let receipt = behind.ended().await.unwrap();
    assert_eq!(fixture.outcome(&behind, receipt).await.text(), "fine");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_open_is_closed() {
    let plan = Plan::new().host(|host| host.model(parked()));
    let fixture = plan.build().await;

    let run = fixture.start("think aloud").await;
    wait_until(&run, |body| {
        matches!(body, EventBody::ReasoningDelta { .. })
    })
    .await;
    let receipt = run.cancel().await.unwrap();
    let outcome = fixture.outcome(&run, receipt).await;
    let parts = &assistant(&outcome).parts;
    assert!(
        matches!(&parts[0].body, PartBody::Reasoning { text, ended_ms: Some(_), .. } if text == "aloud"),
        "{parts:?}"
    );

    let run = fixture.start("half-call").await;
    wait_until(&run, |body| matches!(body, EventBody::PartAdded { .. })).await;
    let receipt = run.cancel().await.unwrap();
    let outcome = fixture.outcome(&run, receipt).await;
    let PartBody::ToolCall(call) = &assistant(&outcome).parts[0].body else {
        panic!("{outcome:?}");
    };
    assert_eq!((call.finished, call.input.as_str()), (true, "{}"));
    let tool = outcome
        .messages
        .iter()
        .find(|message| message.role == Role::Tool)
        .unwrap();
    let PartBody::ToolResult(result) = &tool.parts[0].body else {
        panic!("{tool:?}");
    };
    assert_eq!((result.call_id.as_str(), result.is_error), ("c1", true));
    let content = serde_json::to_string(&result.content).unwrap();
    assert!(
        content.contains("Tool call cancelled by the user"),
        "{content}"
    );
    assert_eq!(fixture.violations(), [""; 0]);
}

fn assistant(outcome: &Outcome) -> &lastword::session::Message {
    let mut messages = outcome.messages.iter();
    messages
        .find(|message| message.role == Role::Assistant)
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_said_nothing_has_a_message_all_the_same() {
    let fixture = Fixture::new().await;
    let outcome = fixture.run("nothing").await;
    let message = assistant(&outcome);
    assert_eq!(message.finish.unwrap().as_str(), "end_turn");
    assert!(
        matches!(message.parts[..], [ref part] if matches!(part.body, PartBody::Finish { .. }))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_events_of_a_run_stand_in_their_order() {
    let fixture = Fixture::new().await;
    let outcome = fixture.run("two-steps").await;
    assert_eq!(
        outcome.kinds(),
        [
            "run.queued",
            "message.created",
            "run.started",
            "message.created",
            "text.delta",
            "part.added",
            "message.created",
            "tool.result",
            "message.finished",
            "message.finished",
            "message.created",
            "text.delta",
            "message.finished",
            "run.ended",
        ]
    );
    let seqs: Vec<_> = outcome.events.iter().map(|event| event.seq.0).collect();
    assert!(
        seqs.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "{seqs:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn finish_reasons_are_the_agents_own() {
    let fixture = Fixture::new().await;
    for (said, kept) in [
        ("max_tokens", "max_tokens"),
        ("waiting", "waiting"),
        ("content_filter", "content_filter"),
        ("something-new", "unknown"),
    ] {
        let receipt = fixture.run(&format!("finish {said}")).await.receipt;
        assert_eq!(
            (receipt.state, receipt.finish_reason.as_str()),
            (RunState::Completed, kept)
        );
    }
}

/// Polls a future so many times and drops it.
async fn drop_after<F: Future>(polls: usize, future: F) {
    let mut future = pin!(future);
    for _ in 0..polls {
        if poll_immediate(&mut future).await.is_some() {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn futures_dropped_at_any_await_lose_nothing() {
    let fixture = Fixture::new().await;
    for polls in 0..12 {
        drop_after(polls, fixture.session.prompt("echo dropped")).await;
        let run = fixture.start("spin before").await;
        drop_after(polls, run.ended()).await;
        drop_after(polls, run.events().next()).await;
        drop_after(polls, run.cancel()).await;
        // Whatever became of those, this one stops it.
        let receipt = run.cancel().await.unwrap();
        assert_eq!((&*receipt.cause.name(), receipt.persisted), ("user", true));
    }
    let last = fixture.run("echo last").await;
    assert_eq!(last.text(), "last", "everything before it has its end");
    assert!(fixture.host.live_runs(None).is_empty());
    assert_eq!(fixture.violations(), [""; 0]);
    let conn = Connection::open(fixture.data().join("lastword.db")).unwrap();
    let open: i64 = conn
        .query_row(
            "SELECT count(*) FROM run WHERE ended_ms IS NULL",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(open, 0);
}

/// The control: with the compare-and-set undone from outside, recovery ends a run again, and
/// the check that every other test relies on says so.
#[tokio::test(flavor = "multi_thread")]
async fn control_without_the_compare_and_set_there_are_two_ends() {
    let fixture = Fixture::new().await;
    let conn = Connection::open(fixture.data().join("lastword.db")).unwrap();
    conn.execute_batch(
        "CREATE TRIGGER undo AFTER INSERT ON run_terminal BEGIN
           UPDATE run SET state = 'running' WHERE no = NEW.run;
           DELETE FROM run_terminal WHERE run = NEW.run;
         END",
    )
    .unwrap();
    fixture.run("echo once").await;
    fixture.host.shutdown().await;
    conn.execute_batch("DROP TRIGGER undo").unwrap();
    let Fixture { folder, .. } = fixture;
    let host: Host = builder(folder.path()).build().await.unwrap();
    host.shutdown().await;
    let found = violations(&folder.path().join("data")).join("\n");
    assert!(found.contains("another number of ends than one"), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn output_is_bounded_and_the_bound_is_an_answer() {
    let plan = Plan::new().limits(Limits::default().output_bytes(1000));
    let fixture = plan.build().await;
    let outcome = fixture.run("appends 1000").await;
    assert_eq!(outcome.receipt.cause, "agent-error");
    assert!(
        outcome.receipt.detail.clone().unwrap().contains("(limit)"),
        "{outcome:?}"
    );
    assert_eq!(outcome.text().len(), 1000);
    let run = fixture.start("spin before").await;
    wait_until_started(&run).await;
    assert_eq!(run.cancel().await.unwrap().cause, "user");
}

lastword_tests::also_in_memory![
    whatever_is_open_is_closed,
    a_run_that_said_nothing_has_a_message_all_the_same,
    the_events_of_a_run_stand_in_their_order,
    finish_reasons_are_the_agents_own,
    output_is_bounded_and_the_bound_is_an_answer,
];
