//! Whatever is sent that cannot be taken is refused under its name, and changes nothing.

use super::harness::{Server, problem};
use lastword_tests::guests::guest;
use reqwest::Method;
use serde_json::{Value, json};

const NOBODY: &str = "01990b6e-7c1d-7aa0-9f2e-0c5a4d1b7e55";
pub(super) const CLIENT: &str = "7b0f6a52-6b0c-4a57-9d75-2a8f0f6d0001";

/// Routes with an id in them: a method, a path, a body, and what is unknown.
const ROUTES: &[(Method, &str, &str, &str)] = &[
    (Method::GET, "/workspaces/{}", "", "unknown-workspace"),
    (Method::DELETE, "/workspaces/{}", "", "unknown-workspace"),
    (
        Method::DELETE,
        "/workspaces/{}?purge=true",
        "",
        "unknown-workspace",
    ),
    (
        Method::GET,
        "/workspaces/{}/events",
        "",
        "unknown-workspace",
    ),
    (
        Method::GET,
        "/workspaces/{}/sessions",
        "",
        "unknown-workspace",
    ),
    (
        Method::POST,
        "/workspaces/{}/sessions",
        r#"{ "agent": "probe" }"#,
        "unknown-workspace",
    ),
    (Method::GET, "/sessions/{}", "", "unknown-session"),
    (
        Method::PATCH,
        "/sessions/{}",
        r#"{ "title": "x" }"#,
        "unknown-session",
    ),
    (Method::DELETE, "/sessions/{}", "", "unknown-session"),
    (Method::GET, "/sessions/{}/events", "", "unknown-session"),
    (Method::GET, "/sessions/{}/messages", "", "unknown-session"),
    (Method::GET, "/sessions/{}/runs", "", "unknown-session"),
    (
        Method::POST,
        "/sessions/{}/runs",
        r#"{ "prompt": "echo x" }"#,
        "unknown-session",
    ),
    (Method::POST, "/sessions/{}/cancel", "", "unknown-session"),
    (
        Method::POST,
        "/sessions/{}/fork",
        r#"{ "message": "01990b6e-7c1d-7aa0-9f2e-0c5a4d1b7e55" }"#,
        "unknown-session",
    ),
    (Method::GET, "/sessions/{}/export", "", "unknown-session"),
    (Method::GET, "/sessions/{}/queue", "", "unknown-session"),
    (
        Method::GET,
        "/workspaces/{}/grants",
        "",
        "unknown-workspace",
    ),
    (Method::GET, "/permissions/{}", "", "unknown-question"),
    (
        Method::POST,
        "/permissions/{}",
        r#"{ "answer": "allow" }"#,
        "unknown-question",
    ),
    (Method::DELETE, "/grants/{}", "", "unknown-grant"),
    (Method::GET, "/runs/{}", "", "unknown-run"),
    (Method::GET, "/runs/{}/events", "", "unknown-run"),
    (Method::POST, "/runs/{}/cancel", "", "unknown-run"),
    (Method::POST, "/runs/{}/resume", "", "unknown-run"),
];

/// Everything that a client could have changed.
pub(super) async fn state(server: &Server) -> Value {
    let mut all = Vec::new();
    for path in ["/workspaces", "/sessions", "/agents"] {
        all.push(super::harness::json(server.get(path)).await.1);
    }
    for path in ["", "/runs", "/queue", "/messages"] {
        let path = format!("{}{path}", server.session());
        all.push(super::harness::json(server.get(&path)).await.1);
    }
    Value::Array(all)
}

/// Refuses each, under its name, and nothing has changed after all of them.
async fn refused(server: &Server, cases: Vec<(Method, String, Option<Value>, u16, &str)>) {
    let before = state(server).await;
    for (method, path, body, status, name) in cases {
        let mut request = server.request(method.clone(), &path);
        if let Some(body) = &body {
            request = request.json(body);
        }
        let found = problem(request).await;
        assert_eq!(found, (status, name.to_owned()), "{method} {path} {body:?}");
    }
    assert_eq!(state(server).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_are_none_or_name_nothing() {
    let server = Server::new().await;
    let mut cases = Vec::new();
    for (method, path, body, name) in ROUTES {
        let body: Option<Value> = serde_json::from_str(body).ok();
        let at = |id: &str| path.replace("{}", id);
        cases.push((method.clone(), at(NOBODY), body.clone(), 404, *name));
        for garbage in ["x", "1", "%00", "01990b6e", "a%2Fb", "%ff"] {
            cases.push((method.clone(), at(garbage), body.clone(), 400, "invalid-id"));
        }
    }
    refused(&server, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_and_clients_that_are_none() {
    let server = Server::new().await;
    let (get, delete) = (Method::GET, Method::DELETE);
    let cases = vec![
        (
            get.clone(),
            "/agents/nobody".into(),
            None,
            404,
            "unknown-agent",
        ),
        (
            delete.clone(),
            "/agents/nobody".into(),
            None,
            404,
            "unknown-agent",
        ),
        (get.clone(), "/agents/%0a".into(), None, 400, "invalid-id"),
        (
            delete.clone(),
            "/clients/x".into(),
            None,
            400,
            "invalid-client-id",
        ),
    ];
    refused(&server, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn things_that_a_session_does_not_have() {
    let server = Server::new().await;
    let (get, post, patch, delete) = (Method::GET, Method::POST, Method::PATCH, Method::DELETE);
    let prompt = || Some(json!({ "prompt": "echo x" }));
    let session = server.session();
    let cases = vec![
        (
            get.clone(),
            format!("{session}/blobs/x"),
            None,
            400,
            "invalid-id",
        ),
        (
            get.clone(),
            format!("{session}/blobs/{}", "a".repeat(64)),
            None,
            404,
            "unknown-blob",
        ),
        (
            patch,
            format!("{session}/queue/{NOBODY}"),
            prompt(),
            404,
            "unknown-run",
        ),
        (
            delete,
            format!("{session}/queue/{NOBODY}"),
            None,
            404,
            "unknown-run",
        ),
        (
            post,
            format!("{session}/fork"),
            Some(json!({ "message": NOBODY })),
            404,
            "unknown-message",
        ),
        (
            get,
            format!("{session}/messages?before={NOBODY}"),
            None,
            404,
            "unknown-message",
        ),
    ];
    refused(&server, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_not_what_is_asked_for() {
    let server = Server::new().await;
    let session = server.session();
    let mut cases = Vec::new();
    let mut case = |method: Method, path: &str, body: Value, status: u16, name: &'static str| {
        cases.push((method, path.to_owned(), Some(body), status, name));
    };
    let runs = format!("{session}/runs");
    for body in [
        json!(null),
        json!([]),
        json!("echo"),
        json!({}),
        json!({ "prompt": 1 }),
        json!({ "prompt": null }),
        json!({ "prompt": "a", "parts": [] }),
        json!({ "parts": [{ "type": "data", "text": "a" }] }),
        json!({ "parts": [{ "type": "text" }] }),
        json!({ "parts": [["text", "a"]] }),
        json!(["echo x", null, null, null, null]),
        json!({ "parts": [{ "type": "text", "text": "a", "more": 1 }] }),
        json!({ "prompt": "a", "typo": 1 }),
        json!({ "prompt": "a", "deadline_ms": 0 }),
        json!({ "prompt": "a", "deadline_ms": -1 }),
        json!({ "prompt": "a", "deadline_ms": u64::MAX }),
        json!({ "prompt": "a", "config": "{}" }),
        json!({ "prompt": "a", "bound_to": "x" }),
    ] {
        case(Method::POST, &runs, body, 400, "invalid-body");
    }
    for empty in [
        json!({ "prompt": "" }),
        json!({ "prompt": " \n" }),
        json!({ "parts": [] }),
    ] {
        case(Method::POST, &runs, empty, 400, "empty-prompt");
    }
    for body in [
        json!({ "title": 1 }),
        json!({ "agent": "x" }),
        json!({ "messages": 0 }),
        json!([null, null]),
        json!([]),
    ] {
        case(Method::PATCH, &session, body, 400, "invalid-body");
    }
    for todo in [
        json!([{}]),
        json!([["a", "pending"]]),
        json!([{ "content": "a", "status": "later" }]),
        json!("a"),
    ] {
        case(
            Method::PATCH,
            &session,
            json!({ "todo": todo }),
            400,
            "invalid-body",
        );
    }
    case(
        Method::POST,
        &format!("{session}/fork"),
        json!({}),
        400,
        "invalid-body",
    );
    refused(&server, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_cannot_begin() {
    let server = Server::new().await;
    let workspace = server.workspace();
    let mut cases = Vec::new();
    let mut case = |method: Method, path: &str, body: Value, status: u16, name: &'static str| {
        cases.push((method, path.to_owned(), Some(body), status, name));
    };
    let sessions = format!("{workspace}/sessions");
    case(Method::POST, &sessions, json!({}), 400, "invalid-body");
    case(
        Method::POST,
        &sessions,
        json!({ "agent": "nobody" }),
        404,
        "unknown-agent",
    );
    case(
        Method::POST,
        &sessions,
        json!({ "agent": "" }),
        400,
        "invalid-agent",
    );
    let child = json!({ "agent": "probe", "parent": NOBODY });
    case(Method::POST, &sessions, child, 404, "unknown-session");
    refused(&server, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workspaces_and_agents_that_cannot_be_had() {
    let server = Server::new().await;
    let outside = server.fixture.folder.path().join("..");
    let missing = server.fixture.folder.path().join("missing");
    let opened = |extra: Value| {
        let mut body = json!({ "client_id": CLIENT });
        body.as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        body
    };
    let mut cases = Vec::new();
    let mut case = |method: Method, path: &str, body: Value, status: u16, name: &'static str| {
        cases.push((method, path.to_owned(), Some(body), status, name));
    };
    for body in [
        opened(json!({})),
        opened(json!({ "name": "a", "directory": "/" })),
        opened(json!({ "name": "" })),
        opened(json!({ "name": "a\nb" })),
        opened(json!({ "name": "x".repeat(257) })),
        opened(json!({ "name": "a", "grants": ["everything"] })),
        opened(json!({ "name": "a", "grants": "read-files" })),
        opened(json!({ "name": "a", "grants": [["read-files"]] })),
        opened(json!({ "name": "a", "grants": ["write-files="] })),
        opened(json!({ "name": "a", "grants": ["write-files=a["] })),
        opened(json!({ "name": "a", "grants": [format!("tools={}", "x".repeat(1025))] })),
        opened(json!({ "name": "a", "grants": vec!["tools"; 257] })),
        opened(json!({ "name": "a", "deny": ["everything"] })),
        opened(json!({ "name": "a", "ask": "yes" })),
        opened(json!({ "name": "a", "concurrent_runs": 0 })),
        opened(json!({ "name": "a", "concurrent_runs": 65_537 })),
        opened(json!({ "name": "a", "deadline_ms": 0 })),
        json!({ "name": "a" }),
    ] {
        case(Method::POST, "/workspaces", body, 400, "invalid-body");
    }
    let nobody = json!({ "client_id": "me", "name": "a" });
    case(
        Method::POST,
        "/workspaces",
        nobody,
        400,
        "invalid-client-id",
    );
    for (directory, status, name) in [
        (outside, 403, "outside-roots"),
        ("/".into(), 403, "outside-roots"),
        (missing, 400, "invalid-directory"),
        ("files".into(), 400, "invalid-directory"),
        (server.fixture.data().join("lock"), 400, "invalid-directory"),
    ] {
        let body = opened(json!({ "directory": directory }));
        case(Method::POST, "/workspaces", body, status, name);
    }
    case(
        Method::POST,
        "/agents",
        json!({ "name": "a", "path": "relative" }),
        400,
        "invalid-body",
    );
    let nowhere = json!({ "name": "a", "path": "/no/such.wasm" });
    case(Method::POST, "/agents", nowhere, 400, "invalid-agent");
    let both = json!({ "name": "a", "path": guest("probe") });
    case(Method::POST, "/agents?name=b", both, 400, "invalid-body");
    refused(&server, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_and_cursors_that_make_no_sense() {
    let server = Server::new().await;
    let (session, workspace) = (server.session(), server.workspace());
    let run = server.prompt("echo x").await;
    let events = server.get(&format!("{run}/events")).send().await.unwrap();
    events.bytes().await.unwrap();
    let mut cases = Vec::new();
    let mut case = |path: String, status: u16, name: &'static str| {
        cases.push((Method::GET, path, None, status, name));
    };
    for of in [&session, &workspace, &run] {
        for garbage in ["x", "-1", "1.5", "", "18446744073709551616"] {
            case(
                format!("{of}/events?after={garbage}"),
                400,
                "invalid-cursor",
            );
        }
        for future in ["100000", "9223372036854775807", "18446744073709551615"] {
            case(format!("{of}/events?after={future}"), 400, "invalid-cursor");
        }
        case(format!("{of}/events?follow=maybe"), 400, "invalid-query");
        case(format!("{of}/events?typo=1"), 400, "invalid-query");
    }
    case(
        format!("{workspace}/events?client_id=me"),
        400,
        "invalid-client-id",
    );
    for list in ["/workspaces", "/sessions", &format!("{workspace}/sessions")] {
        for limit in ["0", "201", "-1", "x", "4294967296"] {
            case(format!("{list}?limit={limit}"), 400, "invalid-query");
        }
        case(format!("{list}?typo=1"), 400, "invalid-query");
        case(format!("{list}?after=garbage"), 400, "invalid-cursor");
    }
    case("/sessions?workspace=x".into(), 400, "invalid-query");
    for query in ["workspace=x", "session=x", "typo=1"] {
        case(format!("/permissions?{query}"), 400, "invalid-query");
    }
    let nothing = format!("/permissions?session={NOBODY}");
    case(nothing, 404, "unknown-session");
    let nothing = format!("/permissions?workspace={NOBODY}");
    case(nothing, 404, "unknown-workspace");
    case(format!("{session}/messages?before=x"), 400, "invalid-query");
    case(format!("{session}/messages?limit=0"), 400, "invalid-query");
    case(format!("{session}/export?format=pdf"), 400, "invalid-query");
    refused(&server, cases).await;

    let before = state(&server).await;
    let seen = server
        .get(&format!("{session}/events"))
        .header("last-event-id", "100000");
    assert_eq!(problem(seen).await, (400, "invalid-cursor".to_owned()));
    let both = server.delete(&format!("{workspace}?purge=true&client_id={CLIENT}"));
    assert_eq!(problem(both).await, (400, "invalid-query".to_owned()));
    let stranger = server.delete(&format!("{workspace}?client_id={CLIENT}"));
    assert_eq!(
        problem(stranger).await,
        (404, "client-not-attached".to_owned())
    );
    assert_eq!(state(&server).await, before);
}
