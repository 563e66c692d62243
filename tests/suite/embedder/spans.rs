//! A run's span stands by itself and follows from the span in which the run was asked for, so that
//! a trace of the embedder's own work leads to the run.

use lastword::{Capability, RunState, SessionFilter};
use lastword_tests::fixture::{Fixture, Plan};
use lastword_tests::heard::Heard;
use serde_json::json;
use tracing::Instrument;

/// The links of the spans that follow from others, so far.
fn links(heard: &Heard, run: &str) -> Vec<String> {
    let found = heard.found().into_iter();
    let links = found.filter_map(|line| Some(line.split_once(": run run=")?.1.to_owned()));
    links.filter(|line| line.starts_with(run)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_follows_from_what_asked_for_it_even_if_it_waited_meanwhile() {
    let heard = Heard::listen(vec![" follows from ".to_owned()]);
    let fixture = Fixture::new().await;
    let busy = fixture.start_until("spin before", "before").await;

    let asking = tracing::info_span!("asking", work = "a prompt that waits");
    let queued = fixture.start("echo done").instrument(asking).await;
    let queued_id = queued.id().to_string();
    assert_eq!(links(&heard, &queued_id), [""; 0], "it waits");
    busy.cancel().await.expect("the run ends");
    queued.ended().await.expect("the run ends");

    let links = links(&heard, &queued_id);
    let [link] = &links[..] else {
        panic!("one link: {links:?}");
    };
    let whole = " in nothing follows from asking work=a prompt that waits";
    assert!(link.ends_with(whole), "{link}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resumed_run_follows_from_what_resumed_it() {
    let heard = Heard::listen(vec![" follows from ".to_owned()]);
    let fixture = Fixture::new().await;
    let first = fixture.start_until("spin before", "before").await;
    first.cancel().await.expect("the run ends");

    let resuming = tracing::info_span!("resuming", work = "an end that came early");
    let resumed = fixture.session.resume(first.id()).instrument(resuming);
    let resumed = resumed.await.expect("it goes on");
    resumed.cancel().await.expect("the run ends");

    let links = links(&heard, &resumed.id().to_string());
    let [link] = &links[..] else {
        panic!("one link: {links:?}");
    };
    let whole = " in nothing follows from resuming work=an end that came early";
    assert!(link.ends_with(whole), "{link}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_follows_from_the_run_that_began_it() {
    let heard = Heard::listen(vec![" follows from ".to_owned()]);
    let plan = Plan::new().options(|options| options.grant(Capability::RunAgents));
    let fixture = plan.build().await;
    let arguments = json!({ "agent": "probe", "prompt": "origin hello" });
    let outcome = fixture.run(&format!("tool run_agent {arguments}")).await;
    assert_eq!(outcome.receipt.state, RunState::Completed);

    let filter = SessionFilter {
        parent: Some(fixture.session.id()),
        ..SessionFilter::default()
    };
    let children = fixture.host.list_sessions(filter).await;
    let children = children.expect("the sessions").items;
    let [child] = &children[..] else {
        panic!("one child: {children:?}");
    };
    let child = fixture.host.session(child.id).await.expect("the session");
    let messages = child.messages().await.expect("its messages");

    let links = links(&heard, &messages[0].run.to_string());
    let [link] = &links[..] else {
        panic!("one link: {links:?}");
    };
    let parent = format!(" in nothing follows from run run={}", outcome.receipt.run);
    assert!(link.contains(&parent), "{link}");
}
