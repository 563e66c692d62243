//! What a client asked for stands, whatever becomes of the client.

use super::harness::{Feed, Server, json, kinds};
use lastword::{RunState, WorkspaceOptions};
use lastword_tests::check::violations;
use lastword_tests::fixture::{Fixture, builder};
use lastword_tests::guests::guest;
use reqwest::{Method, StatusCode};
use serde_json::json;
use std::collections::HashSet;
use tokio::io::AsyncWriteExt;

#[tokio::test(flavor = "multi_thread")]
async fn a_key_names_one_run_however_often_it_is_sent() {
    let server = Server::new().await;
    let path = format!("{}/runs", server.session());
    let asked = (0..50).map(|_| {
        let request = server.post(&path, &json!({ "prompt": "echo once" }));
        json(request.header("idempotency-key", "k"))
    });
    let answers = futures_util::future::join_all(asked).await;
    assert!(
        answers
            .iter()
            .all(|(status, _)| *status == StatusCode::ACCEPTED)
    );
    let runs: HashSet<_> = answers
        .iter()
        .map(|(_, run)| run["run"].to_string())
        .collect();
    assert_eq!(runs.len(), 1, "{runs:?}");
    let unkeyed = server.prompt("echo once").await;
    assert!(!runs.contains(&format!("\"{}\"", &unkeyed["/runs/".len()..])));
    let other = server.post(&path, &json!({ "prompt": "echo twice" }));
    let (status, refused) = json(other.header("idempotency-key", "k")).await;
    assert_eq!(
        (status.as_u16(), &refused["name"]),
        (409, &json!("key-conflict"))
    );
    assert_eq!(violations(&server.fixture.data()), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_that_was_sent_whole_runs_though_its_sender_hung_up() {
    let server = Server::new().await;
    let session = server.session();
    let mut feed = Feed::open(server.get(&format!("{session}/events"))).await;
    feed.until("session.created").await;
    let body = r#"{"prompt":"echo alone"}"#;
    let request = format!(
        "POST /v1{session}/runs HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        server.token.as_str(),
        body.len(),
    );
    for _ in 0..20 {
        let mut caller = tokio::net::TcpStream::connect(server.address)
            .await
            .unwrap();
        caller.write_all(request.as_bytes()).await.unwrap();
        drop(caller);
    }
    // Whether a request is read at all once its sender is gone is the system's business, so
    // one more is sent whose answer is waited for: what was accepted before it has its end.
    server.prompt("echo last").await;
    loop {
        let seen = feed.until("run.ended").await;
        let said = seen
            .iter()
            .filter(|event| event.event.as_deref() == Some("text.delta"));
        if said.into_iter().any(|event| {
            event
                .data
                .as_deref()
                .is_some_and(|data| data.contains("last"))
        }) {
            break;
        }
        assert_eq!(kinds(&seen).last(), Some(&"run.ended"));
    }
    assert_eq!(violations(&server.fixture.data()), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_session_waits_for_is_taken_back_with_a_receipt() {
    let server = Server::new().await;
    let workspace = server.fixture.workspace.id();
    let closing = format!("/workspaces/{workspace}");
    for (state, cause) in [("cancelled", "user"), ("interrupted", "shutdown")] {
        let run = server.prompt("wait 3600000").await;
        Feed::open(server.get(&format!("{run}/events")))
            .await
            .until("run.ended")
            .await;
        // Its end is told before the host has let go of it.
        while !server.fixture.host.live_runs(None).is_empty() {
            tokio::task::yield_now().await;
        }
        let taken_back = match cause {
            "user" => {
                let path = format!("{}/cancel", server.session());
                json(server.post(&path, &json!({}))).await.1
            }
            _ => json(server.request(Method::DELETE, &closing)).await.1["taken_back"].take(),
        };
        let [receipt] = &taken_back.as_array().expect("receipts")[..] else {
            panic!("one: {taken_back}");
        };
        assert_eq!(receipt["state"], state);
        assert_eq!(receipt["cause"], cause);
        assert!(
            receipt["detail"]
                .as_str()
                .expect("a detail")
                .contains("waited")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_lets_go_of_streams_and_keeps_runs() {
    let mut server = Server::with(lastword_tests::fixture::Plan::new(), |options| {
        options.drain = std::time::Duration::ZERO;
    })
    .await;
    let run = server.prompt("spin before").await;
    let mut feed = Feed::open(server.get(&format!("{run}/events"))).await;
    feed.until("text.delta").await;
    server.stop().await;
    assert!(feed.next().await.is_none(), "the stream broke off");
    let running = server.fixture.host.live_runs(None);
    assert_eq!(running.len(), 1, "the run is the workspace's");
    running[0].cancel().await.unwrap();
}

/// Uploads the probe.
async fn upload(server: &Server, name: &str) {
    let sent = server
        .request(Method::POST, &format!("/agents?name={name}"))
        .header("content-type", "application/wasm")
        .body(std::fs::read(guest("probe")).unwrap());
    let (status, agent) = json(sent).await;
    assert_eq!(status, StatusCode::CREATED, "{agent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_was_uploaded_is_there_after_a_restart() {
    let mut server = Server::new().await;
    for name in ["uploaded", "forgotten", "rotten"] {
        upload(&server, name).await;
    }
    let file = json!({ "name": "from-a-file", "path": guest("probe") });
    let (status, _) = json(server.post("/agents", &file)).await;
    assert_eq!(status, StatusCode::CREATED);
    let gone = server.delete("/agents/forgotten").send().await.unwrap();
    assert_eq!(gone.status(), StatusCode::NO_CONTENT);
    let path = format!("{}/sessions", server.workspace());
    let (_, begun) = json(server.post(&path, &json!({ "agent": "uploaded" }))).await;
    let session = begun["id"].as_str().unwrap().parse().unwrap();
    server.stop().await;
    let data = server.fixture.data();
    let Fixture {
        host,
        workspace,
        folder,
        ..
    } = server.fixture;
    host.shutdown().await;
    let key = workspace.key().clone();
    drop((
        host,
        workspace,
        server.fixture.agent,
        server.fixture.session,
    ));
    let conn = rusqlite::Connection::open(data.join("lastword.db")).unwrap();
    // Whole, by its digest, and no component.
    let rot = "UPDATE agent SET wasm = x'00', digest = ?1 WHERE name = 'rotten'";
    let digest = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d";
    assert_eq!(conn.execute(rot, [digest]).unwrap(), 1);
    drop(conn);

    let host = builder(folder.path()).build().await.unwrap();
    let kept = host.load_kept_agents().await.unwrap();
    let names: Vec<_> = kept
        .iter()
        .map(|(id, loaded)| (id.as_str(), loaded.as_ref().err().map(|error| error.name())))
        .collect();
    assert_eq!(
        names,
        [("rotten", Some("invalid-agent")), ("uploaded", None)]
    );
    let opened = host.open_workspace(key, WorkspaceOptions::new()).await;
    let _keeps_open = opened.unwrap();
    let session = host.session(session).await.unwrap();
    let run = session.prompt("echo again").await.unwrap();
    assert_eq!(run.ended().await.unwrap().state, RunState::Completed);
    let rotten = &kept[0].0;
    assert!(host.forget_agent(rotten).await.unwrap(), "it was kept only");
    assert!(!host.forget_agent(rotten).await.unwrap());
    host.shutdown().await;
    assert_eq!(violations(&data), [""; 0]);
}
