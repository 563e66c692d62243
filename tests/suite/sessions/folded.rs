//! A session whose log was folded, next to one whose log was kept: whatever reads them answers
//! the same.

use super::all;
use lastword::event::{Event, EventBody, Seq};
use lastword::session::{Message, PartBody};
use lastword::{Host, HostError, Prompt, Run, RunState, Session};
use lastword_tests::clock::ManualClock;
use lastword_tests::fixture::{Fixture, Plan};
use std::sync::Arc;
use std::time::Duration;

const PROMPTS: [&str; 4] = ["two-steps", "fail no luck", "echo hello", "served-call"];

/// Sessions with the same runs, and a run that was taken back while it waited.
async fn filled(fixture: &Fixture) -> Session {
    let session = fixture.workspace.new_session(&fixture.agent).await.unwrap();
    for prompt in PROMPTS {
        let run = session.prompt(Prompt::text(prompt).key(prompt)).await;
        run.unwrap().ended().await.unwrap();
    }
    let busy = session.prompt("spin on").await.unwrap();
    lastword_tests::fixture::wait_until_said(&busy, "on").await;
    let waiting = session.prompt(Prompt::text("never").key("never")).await;
    waiting.unwrap().cancel().await.unwrap();
    busy.cancel().await.unwrap();
    session
}

/// What is said in a run, whatever the pieces in which it came.
#[derive(Debug, PartialEq)]
enum OutputStats {
    Other(&'static str),
    Text(String),
    Call(String, String),
}

/// A run's events without what only a log has: pieces of texts, and notes between them.
fn heard(events: &[Event]) -> Vec<OutputStats> {
    let mut heard: Vec<OutputStats> = Vec::new();
    for event in events {
        match &event.body {
            EventBody::TextDelta { text, .. } => match heard.last_mut() {
                Some(OutputStats::Text(before)) => before.push_str(text),
                _ => heard.push(OutputStats::Text(text.clone())),
            },
            EventBody::PartAdded { part, .. } => {
                if let PartBody::ToolCall(call) = &part.body {
                    heard.push(OutputStats::Call(call.name.clone(), call.input.clone()));
                }
            }
            EventBody::PartFinished { .. }
            | EventBody::UsageAdded { .. }
            | EventBody::ToolStarted { .. } => {}
            other => heard.push(OutputStats::Other(other.kind())),
        }
    }
    heard
}

async fn follow(run: &Run) -> Vec<Event> {
    let mut events = run.events();
    events.check().await.unwrap();
    let mut read = Vec::new();
    while let Some(event) = events.next().await {
        read.push(event.unwrap());
    }
    read
}

/// What readers get of a session: of each run its stream, its receipt and what its key stands
/// for; the export; a fork.
async fn read(host: &Host, session: &Session) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    let runs = session.runs().await.unwrap();
    for row in &runs {
        let run = host.run(row.id).await.unwrap();
        let events = follow(&run).await;
        assert!(events.iter().all(|event| event.run == Some(row.id)));
        let times = events.iter().map(|event| event.at_ms.0);
        let (first, last) = (times.clone().min(), times.max());
        rows.push(("follow", format!("{first:?} {last:?} {:?}", heard(&events))));
        let receipt = run.ended().await.unwrap();
        let told = events.last().map(|event| event.body.clone());
        assert_eq!(
            told,
            Some(EventBody::RunEnded {
                receipt: receipt.clone()
            })
        );
        rows.push(("receipt", format!("{receipt:?}")));
    }
    rows.push(("runs", format!("{runs:?}")));
    rows.push(("export", session.export().await.unwrap().to_markdown()));
    for key in PROMPTS.iter().chain(&["never"]) {
        let again = session.prompt(Prompt::text(*key).key(*key)).await.unwrap();
        let receipt = again.ended().await.unwrap();
        rows.push(("key", format!("{} {receipt:?}", again.id())));
        let other = session.prompt(Prompt::text("else").key(*key)).await;
        rows.push(("other words", other.unwrap_err().name().to_owned()));
    }
    let last = session.messages().await.unwrap().pop().unwrap();
    let fork = session.fork(last.id).await.unwrap();
    let words = |messages: Vec<Message>| messages.into_iter().map(|message| message.parts);
    let copied: Vec<_> = words(fork.messages().await.unwrap()).collect();
    rows.push(("fork", format!("{copied:?}")));
    fork.delete().await.unwrap();
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folded_session_reads_as_one_that_is_kept() {
    let plan = Plan::new().host(|builder| builder.retention(Some(Duration::ZERO)));
    let fixture = plan.build().await;
    let session = filled(&fixture).await;
    let kept = read(&fixture.host, &session).await;
    assert!(fixture.host.prune_events().await.unwrap() > 0);
    let gone = session.events(Seq(0)).check().await.unwrap_err();
    assert!(matches!(gone, HostError::CursorExpired { .. }), "{gone}");
    let folded = read(&fixture.host, &session).await;
    assert_eq!(folded.len(), kept.len());
    for (folded, kept) in folded.iter().zip(&kept) {
        assert_eq!(folded, kept);
    }

    // A younger run stands in the log, which goes on after what is gone.
    let run = session.prompt("echo young").await.unwrap();
    assert_eq!(run.ended().await.unwrap().state, RunState::Completed);
    let events = follow(&run).await;
    let HostError::CursorExpired { resume_after } = gone else {
        return;
    };
    let log = all(session.events(Seq(resume_after))).await;
    assert_eq!(log.iter().filter(|e| e.run.is_some()).count(), events.len());
    assert!(events.iter().all(|event| event.seq.0 > resume_after));
    assert_eq!(read(&fixture.host, &session).await[..8], kept[..8]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ended_within_the_time_is_kept() {
    let clock = ManualClock::default();
    let hour = Duration::from_secs(3600);
    let own = clock.clone();
    let plan = Plan::new().host(|builder| builder.clock(Arc::new(own)).retention(Some(hour)));
    let fixture = plan.build().await;
    clock.advance(hour * 24);
    let old = fixture.run("echo old").await;
    clock.advance(hour / 2);
    let young = fixture.run("echo young").await;
    // The host may have folded by itself in between.
    fixture.host.prune_events().await.unwrap();
    let before = Seq(old.events[0].seq.0 - 1);
    let log = all(fixture.session.events(before)).await;
    assert_eq!(log, [&old.events[..], &young.events[..]].concat());
    clock.advance(hour / 2 + Duration::from_millis(1));
    fixture.host.prune_events().await.unwrap();
    let gone = fixture.session.events(before).check().await.unwrap_err();
    let HostError::CursorExpired { resume_after } = gone else {
        panic!("{gone}");
    };
    assert_eq!(resume_after, old.events.last().unwrap().seq.0);
    let log = all(fixture.session.events(Seq(resume_after))).await;
    assert_eq!(log, young.events);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_end_is_never_retold() {
    let plan = Plan::new().host(|builder| builder.retention(Some(Duration::ZERO)));
    let fixture = plan.build().await;
    let busy = fixture.start_until("spin words", "words").await;
    fixture.host.prune_events().await.unwrap();
    let mut events = busy.events();
    let first = events.next().await.unwrap().unwrap();
    assert!(first.seq > Seq(0), "{first:?}");
    assert_eq!(first.body.kind(), "run.queued");
    busy.cancel().await.unwrap();
}

lastword_tests::also_in_memory![
    a_folded_session_reads_as_one_that_is_kept,
    what_ended_within_the_time_is_kept,
    what_has_no_end_is_never_retold,
];
