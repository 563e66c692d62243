//! Runs that end waiting: a time or an answer queues the session's next run, also in another
//! host.

use lastword::event::{EventBody, Position};
use lastword::session::{Answer, Asked, FinishReason};
use lastword::{HostError, Receipt, RunState};
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

async fn origin(fixture: &Fixture, receipt: &Receipt) -> String {
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
