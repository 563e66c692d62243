//! Requests that are not formed as they should be, or come when nothing is taken: each is
//! refused under its name, and changes nothing.

use super::bad_input::{CLIENT, state};
use super::harness::{Server, problem};
use lastword_tests::fixture::Plan;
use reqwest::Method;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_the_wrong_form() {
    let small = |options: &mut lastword_server::ServerOptions| {
        options.body_bytes_max = 1000;
        options.prompt_bytes_max = 3000;
        options.agent_bytes_max = 2000;
    };
    let server = Server::with(Plan::new(), small).await;
    let before = state(&server).await;
    let runs = format!("{}/runs", server.session());
    let name = |request| async move { problem(request).await };
    let words = json!({ "prompt": "x".repeat(1001) });
    let parts = json!({ "parts": [{ "type": "text", "text": "x".repeat(1001) }] });
    let config = json!({ "prompt": "x", "config": { "x": "x".repeat(1000) } });
    let bytes = json!({ "prompt": "x", "attachments": [
        { "media_type": "image/png", "data": "x".repeat(3000) }
    ] });
    for large in [words, parts, config, bytes] {
        assert_eq!(
            name(server.post(&runs, &large)).await,
            (413, "body-too-large".into())
        );
    }
    let agent = |bytes: usize, kind: &str| {
        let request = server
            .request(Method::POST, "/agents?name=a")
            .body(vec![0; bytes]);
        request.header("content-type", kind)
    };
    assert_eq!(
        name(agent(2001, "application/wasm")).await,
        (413, "body-too-large".into())
    );
    assert_eq!(
        name(agent(1500, "application/wasm")).await,
        (400, "invalid-agent".into())
    );
    assert_eq!(
        name(agent(10, "text/plain")).await,
        (415, "unsupported-media-type".into())
    );
    let unnamed = server
        .request(Method::POST, "/agents")
        .header("content-type", "application/wasm");
    assert_eq!(name(unnamed).await, (400, "invalid-query".into()));

    assert_eq!(state(&server).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_keys_and_addresses_of_the_wrong_form() {
    let server = Server::new().await;
    let before = state(&server).await;
    let runs = format!("{}/runs", server.session());
    let name = |request| async move { problem(request).await };
    let text = server
        .request(Method::POST, &runs)
        .body("{\"prompt\":\"echo x\"}");
    assert_eq!(name(text).await, (415, "unsupported-media-type".into()));
    let json = |body: &str| {
        let request = server.request(Method::POST, &runs).body(body.to_owned());
        request.header("content-type", "application/json; charset=utf-8")
    };
    for broken in [
        "",
        "{",
        "{\"prompt\":\"a\"}x",
        "{\"prompt\":\"a\",\"prompt\":\"b\"}",
        "\u{feff}{}",
    ] {
        assert_eq!(
            name(json(broken)).await,
            (400, "invalid-body".into()),
            "{broken}"
        );
    }
    for key in ["", &"k".repeat(256), "\u{e9}"] {
        let keyed = json("{\"prompt\":\"echo x\"}").header("idempotency-key", key);
        assert_eq!(name(keyed).await, (400, "invalid-key".into()), "{key}");
    }
    let root = server.http.get(format!("http://{}/", server.address));
    let root = root.bearer_auth(server.token.as_str());
    assert_eq!(name(root).await, (404, "unknown-route".into()));
    assert_eq!(
        name(server.get("/nothing")).await,
        (404, "unknown-route".into())
    );
    assert_eq!(
        name(server.get("/health/")).await,
        (404, "unknown-route".into())
    );
    let put = server.request(Method::PUT, &server.session());
    assert_eq!(name(put).await, (405, "wrong-method".into()));
    let put = server
        .request(Method::PUT, &server.session())
        .send()
        .await
        .unwrap();
    let allowed = put.headers()["allow"].to_str().unwrap();
    for method in ["GET", "PATCH", "DELETE"] {
        assert!(allowed.contains(method), "{allowed}");
    }
    assert_eq!(state(&server).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_and_a_closing_host_refuse_by_name() {
    let limits = lastword::Limits::default().queue(1);
    let server = Server::with(Plan::new().limits(limits), |_| {}).await;
    let runs = format!("{}/runs", server.session());
    let prompt = || server.post(&runs, &json!({ "prompt": "echo x" }));
    let busy = server.prompt("spin before").await;
    let mut feed = super::harness::Feed::open(server.get(&format!("{busy}/events"))).await;
    feed.until("text.delta").await;
    server.prompt("echo waits").await;
    let before = state(&server).await;
    assert_eq!(problem(prompt()).await, (429, "queue-full".into()));
    assert_eq!(state(&server).await, before);
    let mut steps = server.fixture.host.lifecycle();
    assert!(server.fixture.host.drain().await.is_empty());
    while !matches!(steps.next().await, Some(lastword::Lifecycle::Closed { .. })) {}
    let before = state(&server).await;
    assert_eq!(problem(prompt()).await, (503, "host-closing".into()));
    let open = json!({ "client_id": CLIENT, "name": "late" });
    assert_eq!(
        problem(server.post("/workspaces", &open)).await,
        (503, "host-closing".into())
    );
    assert_eq!(state(&server).await, before);
}
