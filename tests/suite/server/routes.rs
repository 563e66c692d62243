//! What each route answers when all is well.

use super::harness::{Feed, Server, json, kinds, problem};
use lastword_tests::fixture::Plan;
use lastword_tests::guests::guest;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

const CLIENT: &str = "7b0f6a52-6b0c-4a57-9d75-2a8f0f6d0001";

async fn ok(request: reqwest::RequestBuilder) -> Value {
    let (status, body) = json(request).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_shown_as_it_is_listed() {
    let server = Server::new().await;
    let path = server.prompt("echo x").await;
    let events = Feed::open(server.get(&format!("{path}/events"))).await;
    events.rest().await;
    let shown = ok(server.get(&path)).await;
    let listed = ok(server.get(&format!("{}/runs", server.session()))).await;
    assert_eq!(listed["items"], json!([shown]));
    for member in [
        "run",
        "session",
        "state",
        "origin",
        "digest",
        "accepted_ms",
        "started_ms",
        "ended_ms",
        "receipt",
    ] {
        assert!(shown.get(member).is_some(), "no `{member}`: {shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_not_there_is_guessed_at() {
    let server = Server::new().await;
    let sessions = format!("{}/sessions", server.workspace());
    for request in [
        server.post(&sessions, &json!({ "agent": "prboe" })),
        server.get("/agents/Probe"),
    ] {
        let (_, body) = json(request).await;
        assert_eq!(body["name"], "unknown-agent");
        let detail = body["detail"].as_str().unwrap();
        assert!(detail.contains("(did you mean `probe`?)"), "{detail}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_tells_of_itself() {
    let server = Server::new().await;
    assert_eq!(ok(server.get("/health")).await, json!({ "status": "ok" }));
    let version = ok(server.get("/version")).await;
    assert_eq!(version["name"], "lastword");
    assert!(
        version["wit"]
            .as_str()
            .unwrap()
            .starts_with("lastword:agent@")
    );
    // A run that ends here is counted before its handle says so; events come earlier.
    server.fixture.run("echo x").await;
    server.prompt("echo y").await;
    let text = server
        .get("/metrics")
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    for line in [
        "lastword_runs_accepted_total 2",
        "lastword_workspaces_open 1",
        "lastword_http_answers_total{method=\"POST\",route=\"/v1/sessions/{s}/runs\",status=\"202\"} 1",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is not in\n{text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_is_claimed_and_released() {
    let server = Server::new().await;
    let path = server.fixture.folder.path().join("other");
    std::fs::create_dir(&path).unwrap();
    let body = json!({ "client_id": CLIENT, "directory": path, "grants": ["read-files"] });
    let response = server.post("/workspaces", &body).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let made: Value = response.json().await.unwrap();
    assert_eq!(
        (&made["kind"], &made["state"]),
        (&json!("directory"), &json!("open"))
    );
    assert_eq!(made["clients"], 1);
    let address = location.strip_prefix("/v1").unwrap();
    assert_eq!(ok(server.get(address)).await["id"], made["id"]);
    let (status, again) = json(server.post("/workspaces", &body)).await;
    assert_eq!((status, &again["id"]), (StatusCode::OK, &made["id"]));
    let mut closing = server.fixture.host.lifecycle();
    let release = server.delete(&format!("{address}?client_id={CLIENT}"));
    assert_eq!(
        release.send().await.unwrap().status(),
        StatusCode::NO_CONTENT
    );
    while !matches!(
        closing.next().await,
        Some(lastword::Lifecycle::Closed { .. })
    ) {}
    assert_eq!(ok(server.get(address)).await["state"], "closed");
    let page = ok(server.get("/workspaces?limit=200")).await;
    assert_eq!(page["items"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_open_one_name_open_one_workspace() {
    let server = Server::new().await;
    let asked = (0..20).map(|at| {
        let client = format!("7b0f6a52-6b0c-4a57-9d75-2a8f0f6d{at:04}");
        json(server.post(
            "/workspaces",
            &json!({ "client_id": client, "name": "one" }),
        ))
    });
    let answers = futures_util::future::join_all(asked).await;
    let created = answers
        .iter()
        .filter(|(status, _)| *status == StatusCode::CREATED);
    assert_eq!(created.count(), 1);
    assert!(
        answers
            .iter()
            .all(|(_, body)| body["id"] == answers[0].1["id"])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retired_client_is_not_let_in_again() {
    let server = Server::new().await;
    let body = json!({ "client_id": CLIENT, "name": "n" });
    assert_eq!(
        json(server.post("/workspaces", &body)).await.0,
        StatusCode::CREATED
    );
    let retire = || server.delete(&format!("/clients/{CLIENT}")).send();
    assert_eq!(retire().await.unwrap().status(), StatusCode::NO_CONTENT);
    assert_eq!(retire().await.unwrap().status(), StatusCode::NO_CONTENT);
    let (status, refused) = json(server.post("/workspaces", &body)).await;
    assert_eq!(
        (status.as_u16(), &refused["name"]),
        (409, &json!("client-retired"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_are_sent_shown_and_forgotten() {
    let server = Server::new().await;
    let wasm = std::fs::read(guest("probe")).unwrap();
    let send = || {
        let request = server.request(Method::POST, "/agents?name=my%20probe");
        request
            .header("content-type", "application/wasm")
            .body(wasm.clone())
    };
    let (status, sent) = json(send()).await;
    assert_eq!(
        (status, &sent["name"]),
        (StatusCode::CREATED, &json!("my probe"))
    );
    assert_eq!(sent["digest"].as_str().unwrap().len(), 64);
    assert_eq!(sent["manifest"]["name"], "probe");
    let capabilities = sent["capabilities"].as_array().unwrap();
    assert!(capabilities.contains(&json!("model")));
    assert_eq!(json(send()).await.0, StatusCode::OK);
    assert_eq!(ok(server.get("/agents/my%20probe")).await, sent);
    let file = json!({ "name": "from a file", "path": guest("epilogue-probe") });
    assert_eq!(
        json(server.post("/agents", &file)).await.0,
        StatusCode::CREATED
    );
    let all = ok(server.get("/agents")).await;
    let names: Vec<_> = all["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| &a["name"])
        .collect();
    assert_eq!(names, ["from a file", "my probe", "probe"]);
    let forget = || server.delete("/agents/my%20probe");
    assert_eq!(
        forget().send().await.unwrap().status(),
        StatusCode::NO_CONTENT
    );
    let (status, gone) = json(forget()).await;
    assert_eq!(
        (status.as_u16(), &gone["name"]),
        (404, &json!("unknown-agent"))
    );
}

/// A list, read in pages of one.
async fn one_by_one(server: &Server, list: &str) -> Vec<Value> {
    let mut found = Vec::new();
    let mut after = String::new();
    loop {
        let page = ok(server.get(&format!("{list}?limit=1{after}"))).await;
        found.extend(page["items"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else {
            return found;
        };
        after = format!("&after={next}");
    }
}

/// The two messages of a session, read at once and one by one.
async fn messages(server: &Server, path: &str) -> Vec<Value> {
    let messages = ok(server.get(&format!("{path}/messages"))).await;
    let messages = messages["items"].as_array().unwrap().clone();
    assert_eq!(messages.len(), 2);
    let newest = ok(server.get(&format!("{path}/messages?limit=1"))).await;
    assert_eq!(newest["items"][0]["id"], messages[1]["id"]);
    let next = newest["next"].as_str().unwrap();
    let older = ok(server.get(&format!("{path}/messages?limit=1&before={next}"))).await;
    assert_eq!(older["items"][0]["id"], messages[0]["id"]);
    messages
}

/// The session's only run is listed as it is shown, with when it was accepted and ended.
async fn is_listed(server: &Server, path: &str, run: &str) {
    let runs = one_by_one(server, &format!("{path}/runs")).await;
    assert_eq!(runs.len(), 1);
    let shown = ok(server.get(run)).await;
    assert_eq!(runs[0], shown);
    for time in ["accepted_ms", "started_ms", "ended_ms"] {
        assert!(runs[0][time].is_u64(), "{time}");
    }
    for wrong in ["limit=0", "limit=201", "limit=x", "page=1"] {
        let refused = problem(server.get(&format!("{path}/runs?{wrong}"))).await;
        assert_eq!(refused, (400, "invalid-query".to_owned()), "{wrong}");
    }
    let refused = problem(server.get(&format!("{path}/runs?after=x"))).await;
    assert_eq!(refused.1, "invalid-cursor");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_lives_and_dies() {
    let server = Server::new().await;
    let sessions = format!("{}/sessions", server.workspace());
    let new = json!({ "agent": "probe", "title": "Talk" });
    let response = server.post(&sessions, &new).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let session: Value = response.json().await.unwrap();
    assert_eq!(session["title"], "Talk");
    let path = location.strip_prefix("/v1").unwrap();
    assert_eq!(ok(server.get(path)).await, session);

    let (_, run) =
        json(server.post(&format!("{path}/runs"), &json!({ "prompt": "echo hi" }))).await;
    let run = format!("/runs/{}", run["run"].as_str().unwrap());
    Feed::open(server.get(&format!("{run}/events")))
        .await
        .rest()
        .await;
    let before = ok(server.get(path)).await;
    let todo = json!([{ "content": "rest", "status": "in_progress" }]);
    let changed = ok(server.patch(path, &json!({ "todo": todo }))).await;
    assert_eq!(changed["todo"], todo);
    for untouched in ["title", "messages", "usage", "created_ms"] {
        assert_eq!(changed[untouched], before[untouched], "{untouched}");
    }
    assert_eq!(
        ok(server.patch(path, &json!({ "title": "Chat" }))).await["todo"],
        todo
    );
    assert_eq!(ok(server.patch(path, &json!({}))).await["title"], "Chat");

    let messages = messages(&server, path).await;
    is_listed(&server, path, &run).await;

    let fork = json!({ "message": messages[1]["id"] });
    let (status, copy) = json(server.post(&format!("{path}/fork"), &fork)).await;
    assert_eq!(
        (status, &copy["messages"]),
        (StatusCode::CREATED, &json!(2)),
        "{copy}"
    );
    let all = ok(server.get("/sessions?limit=200")).await;
    assert_eq!(all["items"].as_array().unwrap().len(), 3);
    let found = one_by_one(&server, &sessions).await;
    assert_eq!(
        Value::Array(found),
        all["items"],
        "page by page it is the same"
    );

    let export = ok(server.get(&format!("{path}/export"))).await;
    assert!(export.to_string().contains("echo hi"));
    let markdown = server
        .get(&format!("{path}/export?format=markdown"))
        .send()
        .await
        .unwrap();
    assert_eq!(
        markdown.headers()["content-type"],
        "text/markdown; charset=utf-8"
    );
    assert!(markdown.text().await.unwrap().contains("echo hi"));
    assert_eq!(
        server.delete(path).send().await.unwrap().status(),
        StatusCode::NO_CONTENT
    );
    assert_eq!(json(server.get(path)).await.1["name"], "unknown-session");
    assert_eq!(json(server.get(&run)).await.1["name"], "unknown-run");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_an_agent_made_come_as_a_download() {
    let server = Server::new().await;
    let run = server.prompt("data 9").await;
    let events = Feed::open(server.get(&format!("{run}/events")))
        .await
        .rest()
        .await;
    let part = events
        .iter()
        .find(|event| event.event.as_deref() == Some("part.added"))
        .unwrap();
    let part: Value = serde_json::from_str(part.data.as_deref().unwrap()).unwrap();
    let blob = part["part"]["blob"].as_str().unwrap();
    let response = server
        .get(&format!("{}/blobs/{blob}", server.session()))
        .send()
        .await
        .unwrap();
    assert_eq!(
        response.headers()["content-type"],
        "application/octet-stream"
    );
    assert_eq!(response.headers()["content-disposition"], "attachment");
    assert_eq!(response.bytes().await.unwrap(), vec![0x89; 9]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_is_listed_changed_and_taken_back() {
    let server = Server::new().await;
    let busy = server.prompt("spin before").await;
    Feed::open(server.get(&format!("{busy}/events")))
        .await
        .until("text.delta")
        .await;
    let (edited, withdrawn) = (server.prompt("echo a").await, server.prompt("echo b").await);
    let queue = format!("{}/queue", server.session());
    let of = |run: &str| format!("{queue}/{}", &run["/runs/".len()..]);
    let listed = ok(server.get(&queue)).await;
    let listed = listed["items"].as_array().unwrap();
    assert_eq!(listed.len(), 2);
    assert_eq!(
        listed[0]["parts"],
        json!([{ "type": "text", "text": "echo a" }])
    );
    let parts = json!({ "parts": [{ "type": "text", "text": "echo c" }] });
    let changed = ok(server.patch(&of(&edited), &parts)).await;
    assert_eq!(changed["parts"][0]["text"], "echo c");
    let receipt = ok(server.delete(&of(&withdrawn))).await;
    assert_eq!(
        (&receipt["state"], &receipt["cause"]),
        (&json!("cancelled"), &json!("user"))
    );
    for started in [server.patch(&of(&busy), &parts), server.delete(&of(&busy))] {
        let (status, refused) = json(started).await;
        assert_eq!(
            (status.as_u16(), &refused["name"]),
            (409, &json!("run-started"))
        );
    }
    ok(server.post(&format!("{busy}/cancel"), &json!({}))).await;
    let events = Feed::open(server.get(&format!("{edited}/events")))
        .await
        .rest()
        .await;
    assert!(
        events.iter().any(|event| {
            event.event.as_deref() == Some("text.delta")
                && event.data.as_deref().unwrap().contains("\"c\"")
        }),
        "{:?}",
        kinds(&events)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_cancelled_one_by_one_and_all_at_once_and_gone_on_with() {
    let server = Server::new().await;
    let session = server.session();
    let cancel_all = || server.post(&format!("{session}/cancel"), &json!({}));
    assert_eq!(
        ok(cancel_all()).await,
        json!([]),
        "an idle session has nothing to cancel"
    );
    let busy = server.prompt("spin before").await;
    let waiting = server.prompt("echo x").await;
    let ended = ok(cancel_all()).await;
    let ended: Vec<_> = ended
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["run"].as_str().unwrap())
        .collect();
    assert_eq!(ended, [&busy["/runs/".len()..], &waiting["/runs/".len()..]]);
    let cancel = || server.post(&format!("{busy}/cancel"), &json!({}));
    let receipt = ok(cancel()).await;
    assert_eq!(ok(cancel()).await, receipt, "again is the same");
    assert_eq!(receipt["persisted"], true);
    let shown = ok(server.get(&busy)).await;
    assert_eq!(
        (&shown["state"], &shown["receipt"]),
        (&json!("cancelled"), &receipt)
    );

    let (status, resumed) = json(server.post(&format!("{waiting}/resume"), &json!({}))).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{resumed}");
    let again = format!("/runs/{}", resumed["run"].as_str().unwrap());
    assert_ne!(again, waiting);
    Feed::open(server.get(&format!("{again}/events")))
        .await
        .rest()
        .await;
    let (status, refused) = json(server.post(&format!("{again}/resume"), &json!({}))).await;
    assert_eq!(
        (status.as_u16(), &refused["name"]),
        (409, &json!("not-resumable"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_carries_its_deadline_and_configuration() {
    let server = Server::with(Plan::new(), |_| {}).await;
    let runs = format!("{}/runs", server.session());
    let body = json!({ "prompt": "config", "config": { "a": 1 }, "deadline_ms": 60_000 });
    let response = server.post(&runs, &body).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let run = location.strip_prefix("/v1").unwrap();
    let events = Feed::open(server.get(&format!("{run}/events")))
        .await
        .rest()
        .await;
    let said = events
        .iter()
        .find(|event| event.event.as_deref() == Some("text.delta"))
        .unwrap();
    assert!(said.data.as_deref().unwrap().contains(r#"{\"a\":1}"#));
    let shown = ok(server.get(run)).await;
    assert_eq!(shown["receipt"]["run_deadline_ms"], 60_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purged_workspace_is_gone() {
    let server = Server::new().await;
    let run = server.prompt("spin before").await;
    let purge = server.delete(&format!("{}?purge=true", server.workspace()));
    assert_eq!(purge.send().await.unwrap().status(), StatusCode::NO_CONTENT);
    for (path, name) in [
        (server.workspace(), "unknown-workspace"),
        (server.session(), "unknown-session"),
        (run, "unknown-run"),
    ] {
        let (status, gone) = json(server.get(&path)).await;
        assert_eq!((status.as_u16(), &gone["name"]), (404, &json!(name)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_says_why_it_takes_no_work() {
    let server = Server::new().await;
    let data = server.fixture.data();
    let locked = lastword_tests::locked::Locked::hold(&data);
    let (status, health) = json(server.get("/health")).await;
    assert_eq!(
        (status.as_u16(), &health["status"]),
        (503, &json!("cannot-write"))
    );
    assert!(
        health["why"].as_str().unwrap().contains("locked"),
        "{health}"
    );
    locked.release();
    assert_eq!(ok(server.get("/health")).await, json!({ "status": "ok" }));
    std::fs::remove_dir_all(&data).unwrap();
    let anyone = server.http.get(server.url("/health"));
    let (status, health) = json(anyone).await;
    assert_eq!(
        (status.as_u16(), &health["status"]),
        (503, &json!("closed"))
    );
    let why = health["why"].as_str().unwrap();
    assert!(
        why.contains("removed") && !why.contains(data.to_str().unwrap()),
        "{why}"
    );
}
