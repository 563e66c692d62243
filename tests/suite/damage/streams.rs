//! What is told of damage: by streams, lists, errors over HTTP, and commands.

use super::Template;
use lastword::event::{Event, EventBody, Position, Seq};
use lastword::{Events, Host, HostError, WorkspaceKey, WorkspaceOptions};
use lastword_tests::guests::{guest, root};

async fn host(case: &super::Case) -> Host {
    Host::builder()
        .data_dir(case.data())
        .cache_dir(root().join("target/lastword-test-cache"))
        .concurrent_runs(4)
        .build()
        .await
        .expect("the host starts")
}

async fn all(events: Events) -> Vec<Event> {
    let mut events = events.stored();
    let mut read = Vec::new();
    while let Some(event) = events.next().await {
        read.push(event.expect("the stream goes on"));
    }
    read
}

fn damaged(events: &[Event]) -> Vec<u64> {
    let told = |event: &&Event| matches!(event.body, EventBody::LogDamaged { .. });
    events
        .iter()
        .filter(told)
        .map(|event| event.seq.0)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_event_is_told_in_its_place_and_the_streams_go_on() {
    let template = Template::make().await;
    let case = template.copy();
    let session = template.hurt_session();
    case.damage(&format!(
        "UPDATE event SET body = '{{' WHERE session = {session} AND seq = 7"
    ));
    case.damage(&format!(
        "DELETE FROM event WHERE session = {session} AND seq = 9"
    ));
    let host = host(&case).await;
    let session = host.session(template.hurt).await.unwrap();
    let log = all(session.events(Seq(0))).await;
    assert_eq!(damaged(&log), [7, 9]);
    let numbers: Vec<u64> = log.iter().map(|event| event.seq.0).collect();
    assert!(
        numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "{numbers:?}"
    );
    let run = log[6].run.expect("the run can be told");
    let of_run = all(host.run(run).await.unwrap().events()).await;
    assert!(matches!(
        of_run.last().unwrap().body,
        EventBody::RunEnded { .. }
    ));
    assert_eq!(damaged(&of_run)[0], 7);
    for events in [
        host.events(Position(0)),
        host.workspace_events(session.workspace_id(), Position(0)),
    ] {
        let events = all(events).await;
        assert_eq!(damaged(&events), [7]);
        let behind = |event: &Event| event.session == template.hurt && event.seq.0 > 9;
        assert!(events.iter().any(behind));
    }
    let damage = host.damaged();
    let row = damage.iter().find(|damage| damage.table == "event");
    let row = row.expect("it is named");
    assert_eq!((row.session, row.run), (Some(template.hurt), Some(run)));
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_an_error_of_its_own() {
    let template = Template::make().await;
    let case = template.copy();
    case.damage("UPDATE run_terminal SET receipt = '{'");
    let host = host(&case).await;
    let session = host.session(template.hurt).await.unwrap();
    let run = session.runs().await.unwrap()[0].id;
    let error = host.run(run).await.unwrap().receipt().await.unwrap_err();
    assert_eq!(error.name(), "store-damaged");
    let HostError::Damaged(damage) = error else {
        panic!("{error}");
    };
    assert_eq!(damage.table, "run_terminal");
    assert_eq!(damage.run, Some(run));
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_goes_on_in_a_session_with_a_damaged_message() {
    let template = Template::make().await;
    let case = template.copy();
    let session = template.hurt_session();
    case.damage(&format!(
        "UPDATE message SET parts = '[' WHERE ordinal = 1 AND session = {session}"
    ));
    let host = host(&case).await;
    let agent = host.load_agent("probe", guest("probe")).await.unwrap();
    let session = host.session(template.hurt).await.unwrap();
    let key = host
        .workspace_record(session.workspace_id())
        .await
        .unwrap()
        .key;
    let key = WorkspaceKey::Directory(key.into());
    let options = WorkspaceOptions::new();
    let workspace = host.open_workspace(key, options).await.unwrap();
    let session = workspace.session(template.hurt, &agent).await.unwrap();
    let run = session.prompt("history").await.unwrap();
    let receipt = run.ended().await.unwrap();
    assert_eq!(receipt.cause, "returned", "{receipt:?}");
    let messages = session.messages().await.unwrap();
    assert_eq!(messages[0].ordinal, Some(1));
    let stands = serde_json::to_string(&messages[0].parts).unwrap();
    assert!(stands.contains("damaged"), "{stands}");
    let last = session.export().await.unwrap().runs.len();
    assert!(last > 4);
    host.shutdown().await;
}
