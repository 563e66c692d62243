//! Every request that begins a run takes an idempotency key: it may be sent again, at the same time
//! and later, and begins one run.

use super::harness::{Feed, Server, json, kinds, problem};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};

/// The runs that the same request answers with, sent six times at once.
async fn six(request: impl Fn() -> RequestBuilder) -> Vec<String> {
    let sent = (0..6).map(|_| json(request()));
    let answers = futures_util::future::join_all(sent).await;
    let mut runs: Vec<String> = answers
        .into_iter()
        .map(|(status, run)| {
            assert!(status.is_success(), "{status} {run}");
            run["run"].as_str().unwrap().to_owned()
        })
        .collect();
    runs.dedup();
    runs
}

async fn origins(server: &Server) -> Vec<Value> {
    let (_, page) = json(server.get(&format!("{}/runs", server.session()))).await;
    let runs = page["items"].as_array().unwrap();
    runs.iter().map(|run| run["origin"].clone()).collect()
}

async fn to_the_end(server: &Server, run: &str) {
    let events = Feed::open(server.get(&format!("/runs/{run}/events"))).await;
    let seen = events.rest().await;
    assert_eq!(kinds(&seen).last(), Some(&"run.ended"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_run_is_resumed_once_with_and_without_a_key() {
    for key in [None, Some("k")] {
        let server = Server::new().await;
        let failed = server.prompt("panic midway").await;
        to_the_end(&server, &failed["/runs/".len()..]).await;
        let resume = |run: &str| {
            let request = server.post(&format!("{run}/resume"), &json!({}));
            match key {
                Some(key) => request.header("idempotency-key", key),
                None => request,
            }
        };
        // The session is busy, so that the run that goes on has no end meanwhile.
        let busy = server.prompt("spin before").await;
        let runs = six(|| resume(&failed)).await;
        assert_eq!(runs.len(), 1, "{runs:?}");
        assert_eq!(origins(&server).await, ["user", "user", "resume"]);
        json(server.post(&format!("{busy}/cancel"), &json!({}))).await;
        to_the_end(&server, &runs[0]).await;
        let (status, again) = json(resume(&failed)).await;
        match key {
            Some(_) => assert_eq!(
                (status, &again["run"]),
                (StatusCode::ACCEPTED, &json!(runs[0]))
            ),
            None => assert_eq!(
                (status, &again["name"], &again["run"]),
                (
                    StatusCode::CONFLICT,
                    &json!("already-resumed"),
                    &json!(runs[0])
                )
            ),
        }
        if key.is_some() {
            let other = problem(resume(&format!("/runs/{}", runs[0]))).await;
            assert_eq!(other, (409, "key-conflict".to_owned()));
        }
        assert_eq!(origins(&server).await, ["user", "user", "resume"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_begins_a_run_begins_one() {
    let server = Server::new().await;
    let waiting = server.prompt("wait-for Which colour?").await;
    to_the_end(&server, &waiting["/runs/".len()..]).await;
    let (_, open) = json(server.get("/permissions")).await;
    let path = format!("/permissions/{}", open["items"][0]["id"].as_str().unwrap());
    let answer = |text: &str| {
        let body = json!({ "answer": "text", "text": text });
        server.post(&path, &body).header("idempotency-key", "k")
    };
    let runs = six(|| answer("origin blue")).await;
    assert_eq!(runs.len(), 1, "{runs:?}");
    to_the_end(&server, &runs[0]).await;
    assert_eq!(
        six(|| answer("origin blue")).await,
        runs,
        "also after its end"
    );
    let other = problem(answer("origin red")).await;
    assert_eq!(other, (409, "key-conflict".to_owned()));
    let (_, page) = json(server.get(&format!("{}/messages", server.session()))).await;
    let body = json!({ "message": page["items"][0]["id"] });
    let path_of_fork = format!("{}/fork", server.session());
    let fork = || {
        server
            .post(&path_of_fork, &body)
            .header("idempotency-key", "f")
    };
    let (first, second) = (json(fork()).await, json(fork()).await);
    assert_eq!(
        (first.0, &first.1["id"]),
        (StatusCode::CREATED, &second.1["id"])
    );
    let keyless = server.post(&path, &json!({ "answer": "text", "text": "origin blue" }));
    assert_eq!(problem(keyless).await.1, "already-answered");
    assert_eq!(origins(&server).await, ["user", "answer"]);
    for wrong in ["", "\u{e9}"] {
        let resume = server.post(&format!("{waiting}/resume"), &json!({}));
        let refused = problem(resume.header("idempotency-key", wrong)).await;
        assert_eq!(refused, (400, "invalid-key".to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_creates_one_session() {
    let server = Server::new().await;
    let path = format!("{}/sessions", server.workspace());
    let create = |body: Value| server.post(&path, &body).header("idempotency-key", "k");
    let first = || create(json!({ "agent": "probe", "title": "First" }));
    let created = futures_util::future::join_all((0..6).map(|_| json(first()))).await;
    let (status, session) = &created[0];
    assert_eq!(
        (*status, &session["title"]),
        (StatusCode::CREATED, &json!("First"))
    );
    assert!(
        created
            .iter()
            .all(|(_, again)| again["id"] == session["id"])
    );

    let id = session["id"].as_str().unwrap();
    let renamed = server.patch(&format!("/sessions/{id}"), &json!({ "title": "Mine" }));
    assert_eq!(json(renamed).await.0, StatusCode::OK);
    assert_eq!(json(first()).await.1["title"], "Mine", "it stays renamed");

    let child = create(json!({ "agent": "probe", "parent": id }));
    assert_eq!(problem(child).await, (409, "key-conflict".to_owned()));
    let wrong = server.post(&path, &json!({ "agent": "probe" }));
    let refused = problem(wrong.header("idempotency-key", "")).await;
    assert_eq!(refused, (400, "invalid-key".to_owned()));
}
