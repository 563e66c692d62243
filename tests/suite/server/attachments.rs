//! Bytes that go with a prompt, over HTTP: told as they are, covered by the key, kept or replaced
//! while they wait, and refused by name when they cannot be kept.

use super::harness::{Server, json, problem};
use reqwest::StatusCode;
use serde_json::{Value, json};

/// `the bytes`, as they travel.
const PNG: &str = "dGhlIGJ5dGVz";

fn png(name: &str) -> Value {
    json!({ "media_type": "image/png", "name": name, "data": PNG })
}

async fn accepted(server: &Server, body: &Value) -> String {
    let path = format!("{}/runs", server.session());
    let (status, run) = json(server.post(&path, body)).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{run}");
    run["run"].as_str().unwrap().to_owned()
}

/// All that was said in the session, once a run has its end.
async fn messages(server: &Server, run: &str) -> Vec<Value> {
    let id = run.parse().unwrap();
    server.fixture.session.run(id).ended().await.unwrap();
    let path = format!("{}/messages", server.session());
    let (status, page) = json(server.get(&path)).await;
    assert_eq!(status, StatusCode::OK);
    page["items"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_told_what_is_attached() {
    let server = Server::new().await;
    let body = json!({ "prompt": "attached", "attachments": [
        png("a.png"),
        { "media_type": "text/plain; charset=utf-8", "data": "d29yZHM=" },
    ] });
    let run = accepted(&server, &body).await;
    let said = messages(&server, &run).await;
    let data = &said[0]["parts"][1];
    assert_eq!(data["type"], "data");
    assert_eq!(data["name"], "a.png");
    assert_eq!(data["media_type"], "image/png");
    assert_eq!(data["bytes"], 9);
    assert_eq!(
        said[1]["parts"][0]["text"],
        "image/png a.png the bytes\ntext/plain; charset=utf-8 - words\n"
    );
    let blob = data["blob"].as_str().unwrap();
    let path = format!("{}/blobs/{blob}", server.session());
    let kept = server.get(&path).send().await.unwrap();
    assert_eq!(kept.bytes().await.unwrap(), "the bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn attachments_may_be_all_that_is_asked() {
    let server = Server::new().await;
    let run = accepted(&server, &json!({ "attachments": [png("a.png")] })).await;
    assert_eq!(messages(&server, &run).await[0]["parts"][0]["type"], "data");
    let runs = format!("{}/runs", server.session());
    for nothing in [json!({}), json!({ "attachments": [] })] {
        let refused = problem(server.post(&runs, &nothing)).await;
        assert_eq!(refused, (400, "invalid-body".into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn they_may_be_larger_than_other_bodies() {
    let server = Server::new().await;
    let data = "AAAA".repeat((8 << 20) / 3);
    let large = json!({ "media_type": "a/b", "data": data });
    let body = json!({ "prompt": "echo x", "attachments": [large, large] });
    let run = accepted(&server, &body).await;
    let said = messages(&server, &run).await;
    assert_eq!(said[0]["parts"][2]["bytes"], (8 << 20) / 3 * 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_kept_is_refused() {
    let server = Server::new().await;
    let runs = format!("{}/runs", server.session());
    let of = |attachment: Value| json!({ "prompt": "echo x", "attachments": [attachment] });
    let image = |data: &str| of(json!({ "media_type": "image/png", "data": data }));
    let large = "AAAA".repeat((8 << 20) / 3 + 1);
    let many = vec![png("a"); 65];
    let cases = [
        (image("dGhlIGJ5dGV"), "invalid-body"),
        (image("dGhlIGJ5dGVz=="), "invalid-body"),
        (image("dGhl IGJ5dGVz"), "invalid-body"),
        (image("_-_-"), "invalid-body"),
        (of(json!({ "media_type": "image/png" })), "invalid-body"),
        (of(json!({ "data": PNG })), "invalid-body"),
        (of(json!(["image/png", null, PNG])), "invalid-body"),
        (
            of(json!({ "media_type": "a/b", "data": PNG, "url": "x" })),
            "invalid-body",
        ),
        (
            of(json!({ "media_type": "png", "data": PNG })),
            "invalid-value",
        ),
        (of(png(&"x".repeat(256))), "invalid-value"),
        (image(&large), "invalid-value"),
        (
            json!({ "prompt": "echo x", "attachments": many }),
            "invalid-value",
        ),
    ];
    for (body, name) in cases {
        let refused = problem(server.post(&runs, &body)).await;
        assert_eq!(refused, (400, name.to_owned()));
    }
    assert!(server.fixture.session.messages().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_covers_them() {
    let server = Server::new().await;
    let runs = format!("{}/runs", server.session());
    let ask = |body: &Value| server.post(&runs, body).header("idempotency-key", "k");
    let body = json!({ "prompt": "attached", "attachments": [png("a.png")] });
    let (_, first) = json(ask(&body)).await;
    let (status, again) = json(ask(&body)).await;
    assert_eq!(
        (status, &again["run"]),
        (StatusCode::ACCEPTED, &first["run"])
    );
    for other in [
        json!({ "prompt": "attached" }),
        json!({ "prompt": "attached", "attachments": [png("b.png")] }),
        json!({ "prompt": "attached", "attachments": [
            { "media_type": "image/png", "name": "a.png", "data": "b3RoZXJz" }
        ] }),
    ] {
        let refused = problem(ask(&other)).await;
        assert_eq!(refused, (409, "key-conflict".into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_that_waits_keeps_them_or_gets_others() {
    let server = Server::new().await;
    let busy = server.fixture.start_until("spin before", "before").await;
    let body = json!({ "prompt": "first", "attachments": [png("a.png")] });
    let run = accepted(&server, &body).await;
    let place = format!("{}/queue/{run}", server.session());
    let edit = |body: Value| {
        let request = server.patch(&place, &body);
        async move {
            let (status, now) = json(request).await;
            assert_eq!(status, StatusCode::OK, "{now}");
            let parts = now["parts"].as_array().unwrap().clone();
            let word = |part: &Value| match part["type"].as_str() {
                Some("text") => part["text"].as_str().unwrap().to_owned(),
                _ => part["name"].as_str().unwrap().to_owned(),
            };
            parts.iter().map(word).collect::<Vec<_>>()
        }
    };
    let kept = edit(json!({ "prompt": "attached" })).await;
    assert_eq!(kept, ["attached", "a.png"]);
    let replaced = edit(json!({ "attachments": [png("b.png")] })).await;
    assert_eq!(replaced, ["attached", "b.png"]);
    let bare = edit(json!({ "attachments": [] })).await;
    assert_eq!(bare, ["attached"]);
    let both = edit(json!({ "prompt": "attached", "attachments": [png("c.png")] })).await;
    assert_eq!(both, ["attached", "c.png"]);
    let nothing = problem(server.patch(&place, &json!({}))).await;
    assert_eq!(nothing, (400, "invalid-body".into()));
    let empty = json!({ "prompt": " ", "attachments": [] });
    let empty = problem(server.patch(&place, &empty)).await;
    assert_eq!(empty, (400, "empty-prompt".into()));

    busy.cancel().await.unwrap();
    let said = messages(&server, &run).await;
    let last = said.last().unwrap();
    assert_eq!(last["parts"][0]["text"], "image/png c.png the bytes\n");
}
