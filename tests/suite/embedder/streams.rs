//! What an embedder follows is a `Stream`, whose items and those of its own `next` are the same
//! ones in turn, and a run can be told to stop from any thread.

use futures_util::future::{poll_immediate, ready};
use futures_util::{StreamExt, TryStreamExt};
use lastword::event::{Event, EventBody};
use lastword::{Cause, Lifecycle, Receipt, WorkspaceStage};
use lastword_tests::check::violations;
use lastword_tests::fixture::{Fixture, wait_until_started};

#[tokio::test(flavor = "multi_thread")]
async fn events_are_a_stream() {
    let fixture = Fixture::new().await;
    let run = fixture.start_until("spin before", "before").await;
    let mut events = run.events();
    let said = |event: &Event| matches!(&event.body, EventBody::TextDelta { .. });
    let mut seen = Vec::new();
    while !seen.last().is_some_and(said) {
        let event = StreamExt::next(&mut events).await;
        seen.push(event.expect("it goes on").expect("it is read"));
    }

    // There is nothing more to say: the stream waits, and what it waits for is given up and asked
    // for anew.
    for _ in 0..2 {
        let waits = poll_immediate(StreamExt::next(&mut events)).await;
        assert!(waits.is_none(), "{waits:?}");
        events.check().await.expect("the log can be read");
    }
    assert!(run.stop());
    seen.push(
        events
            .next()
            .await
            .expect("it goes on")
            .expect("it is read"),
    );
    let rest: Vec<Event> = events.by_ref().try_collect().await.expect("it is read");
    seen.extend(rest);
    assert!(
        StreamExt::next(&mut events).await.is_none(),
        "it stays ended"
    );

    let whole: Vec<Event> = run.events().try_collect().await.expect("it is read");
    assert_eq!(seen, whole);
    assert!(matches!(
        whole.last().map(|event| &event.body),
        Some(EventBody::RunEnded { .. })
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_steps_of_a_host_and_the_stages_of_a_workspace_are_streams() {
    let fixture = Fixture::new().await;
    let (steps, mut same) = (fixture.host.lifecycle(), fixture.host.lifecycle());
    let mut stages = fixture.workspace.stages();
    let waits = poll_immediate(StreamExt::next(&mut stages)).await;
    assert!(waits.is_none(), "nothing happened yet: {waits:?}");

    fixture.workspace.close().await;
    let closed = |stage: &WorkspaceStage| ready(*stage != WorkspaceStage::Closed);
    let on_the_way: Vec<_> = stages.take_while(closed).collect().await;
    let expected = [WorkspaceStage::Closing];
    assert!(expected.ends_with(&on_the_way), "{on_the_way:?}");

    fixture.host.shutdown().await;
    let goes_on = |step: &Lifecycle| ready(*step != Lifecycle::HostClosed);
    let mut seen: Vec<_> = steps.take_while(goes_on).collect().await;
    seen.push(Lifecycle::HostClosed);
    assert_eq!(seen, same.so_far());
    assert_eq!(violations(&fixture.data()), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_told_to_stop_from_a_thread_without_a_runtime() {
    let fixture = Fixture::new().await;
    let busy = fixture.start("spin before").await;
    wait_until_started(&busy).await;
    let waiting = fixture.start("echo never").await;
    let stop = |run: &lastword::Run| {
        let run = run.clone();
        std::thread::spawn(move || run.stop())
            .join()
            .expect("it returns")
    };
    assert!(stop(&waiting));
    assert!(stop(&busy));
    for run in [&busy, &waiting] {
        let receipt: Receipt = run.ended().await.expect("it ends");
        assert_eq!(receipt.cause, Cause::User);
        assert!(!stop(run), "it has its end");
    }
    assert_eq!(violations(&fixture.data()), [""; 0]);
}
