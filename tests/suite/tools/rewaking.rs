//! A session that has itself woken again and again ends at its bound, is stopped by a cancel and
//! by closing its workspace, and goes by the wall clock.

use lastword::event::{EventBody, Seq};
use lastword::session::FinishReason;
use lastword::{HostError, Limits, Prompt, Receipt, RunState};
use lastword_tests::check::open;
use lastword_tests::clock::ManualClock;
use lastword_tests::fixture::{Fixture, Plan, wait_until_said};
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

async fn with(limits: Limits) -> (Fixture, ManualClock) {
    let clock = ManualClock::default();
    let time = Arc::new(clock.clone());
    let plan = Plan::new().limits(limits).host(|host| host.clock(time));
    (plan.build().await, clock)
}

/// Asks for this, and for that whenever the session is woken.
async fn ask(fixture: &Fixture, first: &str, on_wake: &str) -> Receipt {
    let config = serde_json::json!({ "on_wake": on_wake }).to_string();
    let prompt = Prompt::text(first).config(config);
    let run = fixture.session.prompt(prompt).await.expect("it is taken");
    run.ended().await.expect("it ends")
}

/// The end of the session's run of this number, counted from 0, once it has one.
async fn end(fixture: &Fixture, number: usize) -> Receipt {
    let mut events = fixture.session.events(Seq(0));
    let end = async {
        let mut ended = 0;
        loop {
            let event = events.next().await.expect("it goes on").expect("the log");
            match event.body {
                EventBody::RunEnded { receipt } if ended == number => return receipt,
                EventBody::RunEnded { .. } => ended += 1,
                _ => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, end).await.expect("it ends")
}

fn count(fixture: &Fixture, sql: &str) -> i64 {
    let count = open(&fixture.data()).query_row(sql, [], |row| row.get(0));
    count.expect("a count")
}

fn waits(fixture: &Fixture) -> i64 {
    count(fixture, "SELECT count(*) FROM wake")
}

fn runs(fixture: &Fixture) -> i64 {
    count(fixture, "SELECT count(*) FROM run")
}

/// Lets time pass and sees that the session is not woken. Another one waits for the same time:
/// once that was woken, the waker has been at all that were due before.
async fn sleeps_on(fixture: &Fixture, clock: &ManualClock, time: Duration) {
    let sentinel = fixture.workspace.new_session(&fixture.agent).await;
    let sentinel = sentinel.expect("a session");
    let ms = time.as_millis();
    let waiting = sentinel.prompt(format!("wait {ms}").as_str()).await;
    waiting
        .expect("it is taken")
        .ended()
        .await
        .expect("it ends");
    let before = runs(fixture);
    clock.advance(time);
    let mut events = sentinel.events(Seq(0));
    let woken = async {
        loop {
            let event = events.next().await.expect("it goes on").expect("the log");
            if matches!(&event.body, EventBody::RunQueued { origin, .. } if origin == "wake") {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, woken)
        .await
        .expect("it wakes");
    assert_eq!(runs(fixture), before + 1, "the sentinel's alone");
}

#[tokio::test]
async fn its_bound_ends_it_and_a_prompt_begins_anew() {
    let (fixture, clock) = with(Limits::default().wakes(3)).await;
    for (round, first) in [(0, "wait 0"), (1, "wait 0")] {
        ask(&fixture, first, "wait 0").await;
        for number in 1..=3 {
            clock.advance(SECOND);
            let receipt = end(&fixture, round * 4 + number).await;
            match number {
                3 => {
                    assert_eq!(receipt.cause, "limit(wakes)");
                    assert_eq!(receipt.state, RunState::Failed);
                    let detail = receipt.detail.expect("a detail");
                    assert!(detail.contains("3 times in a row"), "{detail}");
                }
                _ => assert_eq!(receipt.finish_reason, FinishReason::Waiting),
            }
        }
        assert_eq!(waits(&fixture), 0);
    }
    assert_eq!(runs(&fixture), 8);
    assert_eq!(fixture.violations(), [""; 0]);
}

#[tokio::test]
async fn a_time_of_zero_is_a_second() {
    let (fixture, _) = with(Limits::default()).await;
    ask(&fixture, "wait 0", "wait 0").await;
    assert_eq!(count(&fixture, "SELECT due_ms FROM wake"), 1000);
}

#[tokio::test]
async fn a_prompt_in_between_runs_at_once_and_leaves_the_time_and_begins_anew() {
    let (fixture, clock) = with(Limits::default().wakes(1)).await;
    ask(&fixture, "wait 1000", "wait 1000").await;
    let asked = fixture.run("echo hello").await;
    assert_eq!(asked.text(), "hello");
    assert_eq!(waits(&fixture), 1, "the time stands");
    clock.advance(SECOND);
    let woken = end(&fixture, 2).await;
    assert_eq!(
        woken.cause, "limit(wakes)",
        "the first wake after the prompt"
    );
    // A person who says that it goes on is one, too.
    ask(&fixture, "wait 1000", "wait 1000").await;
    clock.advance(SECOND);
    let woken = end(&fixture, 4).await;
    assert_eq!(woken.cause, "limit(wakes)");
    let resumed = fixture.session.resume(woken.run).await.expect("it goes on");
    resumed.ended().await.expect("it ends");
}

#[tokio::test]
async fn the_limits_of_one_run_go_on_over_all() {
    let todo = r#"todo {"todo":[]}"#;
    let twice = format!("wait-then 1000 tool-times 2 {todo}");
    let (fixture, clock) = with(Limits::default().tool_calls(3)).await;
    assert_eq!(ask(&fixture, &twice, &twice).await.cause, "returned");
    clock.advance(SECOND);
    let woken = end(&fixture, 1).await;
    assert_eq!(woken.cause, "limit(tool-calls)");
    let detail = woken.detail.expect("a detail");
    assert!(detail.contains("woken 1 times in a row"), "{detail}");
    // After a prompt they begin anew.
    assert_eq!(ask(&fixture, &twice, &twice).await.cause, "returned");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_and_the_bytes_go_on_too() {
    let limits = Limits::default().deadline(Some(PATIENCE)).output_bytes(100);
    let (fixture, clock) = with(limits).await;
    ask(&fixture, "wait-then 1000 echo 0123456789", "spin before").await;
    let carried = count(
        &fixture,
        "SELECT json_extract(carried, '$.output_bytes') FROM wake",
    );
    assert_eq!(carried, 10);
    let used = r#"UPDATE wake SET carried = '{"run_ms":40000}'"#;
    open(&fixture.data())
        .execute_batch(used)
        .expect("it is written");
    clock.advance(SECOND);
    let mut events = fixture.session.events(Seq(0));
    let woken = loop {
        let event = events.next().await.expect("it goes on").expect("the log");
        if matches!(&event.body, EventBody::RunQueued { origin, .. } if origin == "wake") {
            break event.run.expect("a run");
        }
    };
    let woken = fixture.host.run(woken).await.expect("the run");
    wait_until_said(&woken, "before").await;
    clock.advance(19 * SECOND);
    assert!(woken.try_ended().is_none(), "it has a second more");
    clock.advance(2 * SECOND);
    let receipt = woken.ended().await.expect("it ends");
    assert_eq!(receipt.cause, "limit(run-time)");
    assert_eq!(receipt.run_deadline_ms, Some(20_000));
}

#[tokio::test]
async fn a_restart_does_not_begin_anew() {
    let clock = ManualClock::default();
    let time = || Arc::new(clock.clone());
    let limits = Limits::default().wakes(2);
    let plan = Plan::new().limits(limits).host(|host| host.clock(time()));
    let fixture = plan.build().await;
    ask(&fixture, "wait 1000", "wait 1000").await;
    clock.advance(SECOND);
    end(&fixture, 1).await;
    let id = fixture.session.id();
    fixture.host.shutdown().await;
    let Fixture { folder, .. } = fixture;
    clock.advance(SECOND);
    let plan = Plan::again(folder)
        .limits(limits)
        .host(|host| host.clock(time()));
    let mut again = plan.build().await;
    again.session = again.host.session(id).await.expect("the session");
    assert_eq!(end(&again, 2).await.cause, "limit(wakes)");
}

/// What a session waited for was taken back: its receipt, and an end in the log.
async fn check_taken_back(fixture: &Fixture, receipts: &[Receipt], cause: &str, state: RunState) {
    let [receipt] = receipts else {
        panic!("one wait: {receipts:?}");
    };
    assert_eq!((&*receipt.cause.name(), receipt.state), (cause, state));
    assert!(
        receipt
            .detail
            .as_deref()
            .is_some_and(|d| d.contains("waited"))
    );
    assert!(receipt.persisted);
    let run = fixture.host.run(receipt.run).await.expect("the run");
    let mut events = run.events();
    let first = events.next().await.expect("an event").expect("the log");
    assert!(matches!(&first.body, EventBody::RunQueued { origin, .. } if origin == "wake"));
    assert_eq!(run.receipt().await.expect("its end"), *receipt);
}

#[tokio::test]
async fn a_cancel_takes_it_back() {
    let (fixture, clock) = with(Limits::default()).await;
    ask(&fixture, "wait 1000", "wait 1000").await;
    let receipts = fixture.session.cancel().await.expect("it is cancelled");
    check_taken_back(&fixture, &receipts, "user", RunState::Cancelled).await;
    assert_eq!(waits(&fixture), 0);
    sleeps_on(&fixture, &clock, 5 * SECOND).await;
    assert_eq!(fixture.session.cancel().await.expect("again"), []);
    // A user who wants it after all goes on with it.
    let resumed = fixture.session.resume(receipts[0].run).await;
    let resumed = resumed.expect("it goes on").ended().await.expect("it ends");
    assert_eq!(
        resumed.cause, "agent-error",
        "the probe knows no such command"
    );
    assert_eq!(fixture.violations(), [""; 0]);
}

#[tokio::test]
async fn a_cancel_takes_back_a_question_too() {
    let (fixture, _) = with(Limits::default()).await;
    ask(&fixture, "wait-both 1000 Which?", "wait 1000").await;
    let question = fixture
        .session
        .questions()
        .await
        .expect("questions")
        .remove(0);
    let receipts = fixture.session.cancel().await.expect("it is cancelled");
    assert_eq!(receipts.len(), 1);
    let yes = lastword::session::Answer::Text {
        text: "yes".to_owned(),
    };
    let late = fixture.host.answer(question.id, yes).await;
    assert!(matches!(late.err(), Some(HostError::QuestionDismissed(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_at_any_moment_is_the_end_of_it() {
    let (fixture, clock) = with(Limits::default()).await;
    for patience in 0..40 {
        ask(&fixture, "wait 1000", "wait 1000").await;
        clock.advance(SECOND);
        for _ in 0..patience * 10 {
            tokio::task::yield_now().await;
        }
        let cancelled = tokio::time::timeout(PATIENCE, fixture.session.cancel()).await;
        cancelled.expect("it ends").expect("it is cancelled");
        // One that came too late to be accepted may not be refused yet. Had it begun, it would
        // leave something to wait for.
        let refused = async {
            while !fixture.host.live_runs(None).is_empty() {
                tokio::task::yield_now().await;
            }
        };
        let refused = tokio::time::timeout(PATIENCE, refused).await;
        refused.unwrap_or_else(|_| panic!("after {patience}, one goes on"));
        assert_eq!(waits(&fixture), 0, "after {patience}");
    }
    sleeps_on(&fixture, &clock, 5 * SECOND).await;
    assert_eq!(fixture.violations(), [""; 0]);
}

#[tokio::test]
async fn closing_its_workspace_takes_it_back_and_leaves_what_was_asked() {
    let (fixture, clock) = with(Limits::default()).await;
    let id = fixture.workspace.id();
    ask(&fixture, "wait 1000", "wait 1000").await;
    let closed = fixture.host.close_workspace(id).await.expect("it closes");
    check_taken_back(
        &fixture,
        &closed.taken_back,
        "shutdown",
        RunState::Interrupted,
    )
    .await;
    assert_eq!((closed.left.len(), waits(&fixture)), (0, 0));
    let again = fixture.host.close_workspace(id).await;
    assert!(matches!(again, Err(HostError::UnknownWorkspace(_))));

    let key = fixture.workspace.key().clone();
    let options = lastword::WorkspaceOptions::new();
    let opened = fixture.host.open_workspace(key, options).await;
    let mut fixture = fixture;
    fixture.workspace = opened.expect("it opens");
    ask(&fixture, "wait-both 1000 Which?", "origin woken").await;
    let question = fixture
        .session
        .questions()
        .await
        .expect("questions")
        .remove(0);
    assert!(fixture.workspace.close().await.is_empty());
    assert_eq!(count(&fixture, "SELECT count(due_ms) FROM wake"), 0);
    let yes = lastword::session::Answer::Text {
        text: "origin yes".to_owned(),
    };
    let answered = fixture
        .host
        .answer(question.id, yes)
        .await
        .expect("it counts");
    let run = answered.run.expect("it goes on");
    assert_eq!(run.ended().await.expect("it ends").cause, "returned");
    drop(clock);
}

#[tokio::test]
async fn closing_a_workspace_that_is_closed_between_two_wakes_ends_it_too() {
    let (fixture, clock) = with(Limits::default()).await;
    let id = fixture.workspace.id();
    ask(&fixture, "wait 1000", "wait 1000").await;
    fixture.host.shutdown().await;
    let Fixture { folder, .. } = fixture;
    let time = Arc::new(clock.clone());
    let builder = lastword_tests::fixture::builder(folder.path()).clock(time);
    let host = builder.build().await.expect("it starts");
    let closed = host.close_workspace(id).await.expect("its times go");
    assert_eq!(closed.taken_back.len(), 1);
    host.shutdown().await;
}

#[tokio::test]
async fn a_host_that_does_not_wake_by_itself_does_so_when_told() {
    let clock = ManualClock::default();
    let time = Arc::new(clock.clone());
    let plan = Plan::new().host(|host| host.clock(time).wakes(false));
    let fixture = plan.build().await;
    ask(&fixture, "wait 1000", "echo it was told").await;
    let due = fixture.host.wake_due().await.expect("one waits");
    assert_eq!((due.0, runs(&fixture)), (1000, 1));
    clock.advance(5 * SECOND);
    fixture.run("echo it waits to be told").await;
    assert_eq!((runs(&fixture), waits(&fixture)), (2, 1));
    assert_eq!(fixture.host.wake_due().await, None);
    end(&fixture, 2).await;
}

#[tokio::test]
async fn the_wall_clock_decides_and_a_step_back_delays_nothing() {
    let (fixture, clock) = with(Limits::default()).await;
    let hour: i64 = 3_600_000;
    // No time passes that the host could see, as while a machine is asleep.
    ask(&fixture, "wait 3600000", "wait 3600000").await;
    clock.set(hour);
    assert_eq!(end(&fixture, 1).await.finish_reason, FinishReason::Waiting);
    // It is set back by far more than the time that is waited for.
    clock.set(-hour);
    clock.advance(Duration::from_secs(3600));
    assert_eq!(end(&fixture, 2).await.finish_reason, FinishReason::Waiting);
    // However often.
    clock.set(hour / 2);
    clock.set(-hour / 2);
    clock.advance(Duration::from_secs(3600));
    assert_eq!(end(&fixture, 3).await.finish_reason, FinishReason::Waiting);
    assert_eq!(runs(&fixture), 4);
}

#[tokio::test]
async fn a_clock_that_is_put_right_while_no_host_is_there_delays_nothing_either() {
    let (fixture, clock) = with(Limits::default()).await;
    let ten_years: i64 = 315_360_000_000;
    clock.set(ten_years);
    ask(&fixture, "wait 1000", "wait 1000").await;
    let id = fixture.session.id();
    fixture.host.shutdown().await;
    let Fixture { folder, .. } = fixture;
    clock.set(-ten_years);
    let time = Arc::new(clock.clone());
    let again = Plan::again(folder).host(|host| host.clock(time));
    let mut again = again.build().await;
    again.session = again.host.session(id).await.expect("the session");
    let due = || count(&again, "SELECT due_ms FROM wake");
    while due() > ten_years {
        tokio::task::yield_now().await;
    }
    clock.advance(SECOND);
    assert_eq!(end(&again, 1).await.finish_reason, FinishReason::Waiting);
}

lastword_tests::also_in_memory![
    the_limits_of_one_run_go_on_over_all,
    a_cancel_takes_back_a_question_too,
];
