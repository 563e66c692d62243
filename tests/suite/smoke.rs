//! An agent runs and its end is on disk.

use lastword::RunState;
use lastword_tests::check::violations;
use lastword_tests::fixture::Fixture;

#[tokio::test]
async fn an_agent_says_something_and_ends() {
    let fixture = Fixture::new().await;
    let outcome = fixture.run("echo Hello there.").await;
    assert_eq!(outcome.text(), "Hello there.");
    assert_eq!(outcome.receipt.state, RunState::Completed);
    assert_eq!(violations(&fixture.data()), [""; 0]);
    println!("{:#?}", outcome);
}

#[tokio::test]
async fn a_busy_loop_is_cancelled() {
    let fixture = Fixture::new().await;
    let run = fixture.start_until("spin before", "before").await;
    let receipt = run.cancel().await.unwrap();
    println!("{receipt:?}");
    let outcome = fixture.outcome(&run, receipt).await;
    assert_eq!(outcome.text(), "before");
    assert_eq!(violations(&fixture.data()), [""; 0]);
}
