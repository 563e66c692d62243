//! Runs that end waiting: a time or an answer queues the session's next run, also in another
//! host.

use lastword::event::{EventBody, Position};
use lastword::session::{Answer, Asked, FinishReason};
use lastword::{HostError, Origin, Receipt, RunState, Session};
use lastword_tests::clock::ManualClock;
use lastword_tests::fixture::{Fixture, Plan};
use std::sync::Arc;
use std::time::Duration;

/// The end of the next run of a fixture's session after the given one.
async fn next_end(fixture: &Fixture, first: &Receipt) -> Receipt {
    let mut events = fixture.host.events(Position(0));
    loop {
        let event = events
            .next()
            .await
            .expect("it goes on")
            .expect("the log is read");
        match event.body {
            EventBody::RunEnded { receipt } if receipt.run != first.run => return receipt,
            _ => {}
        }
    }
}

async fn origin(fixture: &Fixture, receipt: &Receipt) -> Origin {
    let run = fixture.host.run(receipt.run).await.expect("the run");
    let mut events = run.events();
    while let Some(event) = events.next().await {
        if let EventBody::RunQueued { origin, .. } = event.expect("the log is read").body {
            return origin;
        }
    }
    panic!("it was never queued");
}

fn text(text: &str) -> Answer {
    Answer::Text {
        text: text.to_owned(),
    }
}

#[tokio::test]
async fn a_time_queues_the_next_run() {
    let clock = ManualClock::default();
    let time = clock.clone();
    let fixture = Plan::new()
        .host(|host| host.clock(Arc::new(time)))
        .build()
        .await;
    let outcome = fixture.run("wait 60000").await;
    assert_eq!(outcome.receipt.state, RunState::Completed);
    assert_eq!(outcome.receipt.finish_reason, FinishReason::Waiting);
    // It sleeps from the run's end on, or looks at the clock after this.
    clock.advance(Duration::from_secs(61));
    let next = next_end(&fixture, &outcome.receipt).await;
    assert_eq!(origin(&fixture, &next).await, "wake");
    assert_eq!(next.cause, "agent-error", "the probe knows no such command");
}

#[tokio::test]
async fn a_time_that_passed_while_no_host_was_there_queues_it_in_the_next() {
    let clock = ManualClock::default();
    let time = Arc::new(clock.clone());
    let fixture = Plan::new().host(|host| host.clock(time)).build().await;
    let outcome = fixture.run("wait 60000").await;
    let first = outcome.receipt.clone();
    fixture.host.shutdown().await;
    let Fixture { folder, .. } = fixture;
    clock.advance(Duration::from_secs(61));
    let again = Plan::again(folder).host(|host| host.clock(Arc::new(clock)));
    let again = again.build().await;
    let next = next_end(&again, &first).await;
    assert_eq!(origin(&again, &next).await, "wake");
}

#[tokio::test]
async fn an_answer_queues_the_next_run_and_counts_once() {
    let fixture = Plan::new().build().await;
    let outcome = fixture.run("wait-for Which colour?").await;
    assert_eq!(outcome.receipt.finish_reason, FinishReason::Waiting);
    let last = outcome.kinds();
    assert_eq!(last.last(), Some(&"run.ended"));
    assert!(last.contains(&"question.asked") && !last.contains(&"question.dismissed"));
    fixture.host.shutdown().await;
    let Fixture { folder, .. } = fixture;

    let again = Plan::again(folder).build().await;
    let open = again.host.questions().await.expect("the questions");
    let [question] = &open[..] else {
        panic!("one question: {open:?}");
    };
    assert!(matches!(&question.asked, Asked::Input { text, .. } if text == "Which colour?"));
    let answered = again.host.answer(question.id, text("origin blue")).await;
    let run = answered.expect("it counts").run.expect("it queues a run");
    let receipt = run.ended().await.expect("the run ends");
    assert_eq!(receipt.state, RunState::Completed);
    let session = again
        .host
        .session(run.session())
        .await
        .expect("the session");
    let messages = session.messages().await.expect("the messages");
    let last = messages.last().expect("an answer");
    assert_eq!(last.text(), "answer: blue");
    let late = again.host.answer(question.id, text("origin red")).await;
    let Some(HostError::AlreadyAnswered { answer, .. }) = late.err() else {
        panic!("the second learns");
    };
    assert_eq!(answer, text("origin blue"));
    assert!(
        again
            .host
            .questions()
            .await
            .expect("the questions")
            .is_empty()
    );
}

/// How often a session was gone on with, and whether its question was answered or dismissed.
fn gone_on(fixture: &Fixture, session: &str) -> (i64, i64) {
    let conn = lastword_tests::check::open(&fixture.data());
    let count = |condition: &str| {
        let sql = format!(
            "SELECT count(*) FROM event JOIN session ON session.no = event.session
             WHERE lower(hex(session.id)) = replace(?1, '-', '') AND {condition}"
        );
        conn.query_row(&sql, [session], |row| row.get(0))
            .expect("the log")
    };
    let queued = "json_extract(body, '$.type') = 'run.queued'
        AND json_extract(body, '$.origin') IN ('wake', 'answer')";
    let settled = "json_extract(body, '$.type') IN ('question.answered', 'question.dismissed')";
    (count(queued), count(settled))
}

/// A host, and a session in it whose run waits for a time and for an answer.
async fn waiting_for_both() -> (Fixture, ManualClock) {
    let clock = ManualClock::default();
    let time = Arc::new(clock.clone());
    let fixture = Plan::new().host(|host| host.clock(time)).build().await;
    let outcome = fixture.run("wait-both 60000 Which colour?").await;
    assert_eq!(outcome.receipt.finish_reason, FinishReason::Waiting);
    (fixture, clock)
}

/// Another session of the host waits for the same time: once it was woken, the waker has been
/// at all that were due before.
async fn until_woken(sentinel: &Session) {
    let mut events = sentinel.events(lastword::event::Seq(0));
    loop {
        let event = events
            .next()
            .await
            .expect("it goes on")
            .expect("the log is read");
        match event.body {
            EventBody::RunEnded { receipt } if receipt.cause == "agent-error" => return,
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_time_and_an_answer_that_come_together_queue_one_run() {
    for patience in [0, 10, 100, 1000] {
        let (fixture, clock) = waiting_for_both().await;
        let workspace = &fixture.workspace;
        let sentinel = workspace
            .new_session(&fixture.agent)
            .await
            .expect("a session");
        let waits = sentinel.prompt("wait 60001").await.expect("accepted");
        waits.ended().await.expect("it ends");
        let open = fixture.host.questions().await.expect("the questions");
        let conn = lastword_tests::check::open(&fixture.data());
        // Nothing is accepted meanwhile: both hand over what they want.
        conn.execute_batch("BEGIN IMMEDIATE").expect("it is locked");
        clock.advance(Duration::from_secs(61));
        let answering = fixture.host.answer(open[0].id, text("origin blue"));
        let meanwhile = async {
            for _ in 0..patience {
                tokio::task::yield_now().await;
            }
            drop(conn);
        };
        let (answered, ()) = tokio::join!(answering, meanwhile);
        until_woken(&sentinel).await;
        let session = fixture.session.id().to_string();
        let late = fixture.host.answer(open[0].id, text("origin red")).await;
        assert_eq!(
            gone_on(&fixture, &session),
            (1, 1),
            "{patience}: {:?}",
            answered.err()
        );
        assert!(matches!(
            late.err(),
            Some(HostError::AlreadyAnswered { .. } | HostError::QuestionDismissed(_))
        ));
        assert!(fixture.host.shutdown().await.is_empty());
        assert_eq!(fixture.violations(), [""; 0]);

        // Nor does a later host go on with it.
        let Fixture { folder, .. } = fixture;
        let again = Plan::again(folder).host(|host| host.clock(Arc::new(clock.clone())));
        let again = again.build().await;
        let sentinel = again.session.clone();
        again.run("wait 1").await;
        clock.advance(Duration::from_secs(1));
        until_woken(&sentinel).await;
        assert_eq!(gone_on(&again, &session), (1, 1), "{patience}");
    }
}

#[tokio::test]
async fn what_comes_second_comes_to_nothing() {
    for answer_first in [true, false] {
        let (fixture, clock) = waiting_for_both().await;
        let sentinel = fixture.workspace.new_session(&fixture.agent).await;
        let sentinel = sentinel.expect("a session");
        let waits = sentinel.prompt("wait 60001").await.expect("accepted");
        waits.ended().await.expect("it ends");
        let open = fixture.host.questions().await.expect("the questions");
        let answer = async || fixture.host.answer(open[0].id, text("origin blue")).await;
        if answer_first {
            let answered = answer().await.expect("it counts");
            answered.run.expect("a run").ended().await.expect("it ends");
        }
        clock.advance(Duration::from_secs(61));
        until_woken(&sentinel).await;
        if !answer_first {
            let late = answer().await;
            assert!(matches!(late.err(), Some(HostError::QuestionDismissed(_))));
        }
        let session = fixture.session.id().to_string();
        assert_eq!(gone_on(&fixture, &session), (1, 1), "{answer_first}");
    }
}

lastword_tests::also_in_memory![a_time_queues_the_next_run,];
