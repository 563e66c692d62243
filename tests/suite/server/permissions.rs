//! Questions, answers and grants over HTTP: who waits is seen, the first answer counts, and what
//! it grants is listed and can be taken back.

use super::harness::{Feed, Server, json, problem};
use lastword_server::ServerOptions;
use lastword_tests::fixture::Plan;
use lastword_tests::tools::TestTools;
use reqwest::StatusCode;
use serde_json::{Value, json};

const CHANGE: &str = r#"tool test.change {"text":"done"}"#;
const CLIENT: &str = "7b0f6a52-6b0c-4a57-9d75-2a8f0f6d0001";

/// A host whose tools are not granted, and whose questions a person can answer.
async fn served(change: impl FnOnce(&mut ServerOptions)) -> Server {
    let plan = Plan::new()
        .host(|host| host.tools(TestTools::default()))
        .options(|options| options.ask(true));
    Server::with(plan, change).await
}

/// Prompts, and answers the path of the run, its stream, and the question that it asks.
async fn asked(server: &Server, prompt: &str) -> (String, Feed, Value) {
    let run = server.prompt(prompt).await;
    let mut feed = Feed::open(server.get(&format!("{run}/events"))).await;
    let seen = feed.until("question.asked").await;
    let event = seen.last().and_then(|event| event.data.clone()).unwrap();
    let event: Value = serde_json::from_str(&event).unwrap();
    (run, feed, event["question"].clone())
}

fn path(question: &Value) -> String {
    format!("/permissions/{}", question["id"].as_str().unwrap())
}

/// The open questions, by a query.
async fn open(server: &Server, query: &str) -> Vec<Value> {
    let (status, page) = json(server.get(&format!("/permissions{query}"))).await;
    assert_eq!(status, StatusCode::OK, "{page}");
    page["items"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_listed_shown_and_answered_once() {
    let server = served(|_| {}).await;
    let (run, feed, question) = asked(&server, CHANGE).await;
    let one = std::slice::from_ref(&question);
    assert_eq!(open(&server, "").await, one);
    for filter in [server.workspace(), server.session()] {
        let (kind, id) = filter[1..].split_once('/').unwrap();
        let query = format!("?{}={id}", kind.trim_end_matches('s'));
        assert_eq!(open(&server, &query).await, one, "{query}");
    }
    let text = server.get("/metrics").send().await.unwrap();
    let text = text.text().await.unwrap();
    assert!(text.contains("\nlastword_questions_open 1\n"), "{text}");
    let path = path(&question);
    let (_, shown) = json(server.get(&path)).await;
    assert_eq!(
        (&shown["state"], &shown["question"]),
        (&json!("open"), &question)
    );

    let (status, answered) = json(server.post(&path, &json!({ "answer": "allow" }))).await;
    assert_eq!(
        (status, answered),
        (StatusCode::OK, json!({ "resolved": true }))
    );
    feed.rest().await;
    let (_, ended) = json(server.get(&run)).await;
    assert_eq!(ended["state"], "completed");
    assert!(open(&server, "").await.is_empty());
    let (_, shown) = json(server.get(&path)).await;
    assert_eq!(
        (&shown["state"], &shown["answer"]),
        (&json!("answered"), &json!({ "answer": "allow" }))
    );
    let late = server.post(&path, &json!({ "answer": "deny" }));
    let (status, late) = json(late).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(late["name"], "already-answered");
    assert_eq!(late["answer"], json!({ "answer": "allow" }));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_answers_that_come_together_exactly_one_counts() {
    let server = served(|_| {}).await;
    for _ in 0..8 {
        let (_, feed, question) = asked(&server, CHANGE).await;
        let path = path(&question);
        let answers = (0..6).map(|at| {
            let answer = match at % 2 {
                0 => json!({ "answer": "allow" }),
                _ => json!({ "answer": "deny", "reason": at.to_string() }),
            };
            let request = server.post(&path, &answer);
            async move { (answer, json(request).await) }
        });
        let answers = futures_util::future::join_all(answers).await;
        let (won, lost): (Vec<_>, Vec<_>) = answers
            .into_iter()
            .partition(|(_, (status, _))| *status == StatusCode::OK);
        let [(first, _)] = &won[..] else {
            panic!("one counts: {won:?}");
        };
        for (_, (status, refused)) in lost {
            assert_eq!((status, &refused["answer"]), (StatusCode::CONFLICT, first));
        }
        feed.rest().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_whose_run_is_over_is_dismissed() {
    let server = served(|_| {}).await;
    let (run, feed, question) = asked(&server, CHANGE).await;
    json(server.post(&format!("{run}/cancel"), &json!({}))).await;
    feed.rest().await;
    let path = path(&question);
    let late = problem(server.post(&path, &json!({ "answer": "allow" }))).await;
    assert_eq!(late, (409, "question-dismissed".to_owned()));
    let (_, shown) = json(server.get(&path)).await;
    assert_eq!(shown["state"], "dismissed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_answer_grants_is_listed_and_taken_back() {
    let server = served(|_| {}).await;
    let (_, feed, question) = asked(&server, CHANGE).await;
    let remember = json!({ "within": "session", "rule": "tools=test.*" });
    let answer = json!({ "answer": "allow", "remember": remember });
    let (_, answered) = json(server.post(&path(&question), &answer)).await;
    feed.rest().await;
    let grants = format!("{}/grants", server.workspace());
    let (_, page) = json(server.get(&grants)).await;
    assert_eq!(page, json!({ "items": [answered["grant"]] }));
    let id = answered["grant"]["id"].as_str().unwrap();
    let revoked = server
        .delete(&format!("/grants/{id}"))
        .send()
        .await
        .unwrap();
    assert_eq!(revoked.status(), StatusCode::NO_CONTENT);
    let (_, page) = json(server.get(&grants)).await;
    assert_eq!(page, json!({ "items": [] }));
    asked(&server, CHANGE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_a_run_that_waits_queues_the_next() {
    let server = served(|_| {}).await;
    let (_, feed, question) = asked(&server, "wait-for Which colour?").await;
    feed.rest().await;
    let answer = json!({ "answer": "text", "text": "origin blue" });
    let (status, answered) = json(server.post(&path(&question), &answer)).await;
    assert_eq!(status, StatusCode::OK, "{answered}");
    let run = format!("/runs/{}", answered["run"].as_str().unwrap());
    Feed::open(server.get(&format!("{run}/events")))
        .await
        .rest()
        .await;
    let (_, run) = json(server.get(&run)).await;
    assert_eq!(run["state"], "completed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_does_not_fit_is_refused_and_changes_nothing() {
    let server = served(|_| {}).await;
    let (_, feed, question) = asked(&server, CHANGE).await;
    let path = path(&question);
    let unknown = json!({ "within": "workspace", "rule": "tools" });
    for (body, name) in [
        (json!({}), "invalid-body"),
        (json!(["allow"]), "invalid-body"),
        (json!({ "answer": "maybe" }), "invalid-body"),
        (
            json!({ "answer": "allow", "remember": ["session"] }),
            "invalid-body",
        ),
        (json!({ "answer": "allow", "typo": 1 }), "invalid-body"),
        (json!({ "answer": "text", "text": "yes" }), "invalid-value"),
        (
            json!({ "answer": "allow", "remember": unknown }),
            "invalid-value",
        ),
        (
            json!({ "answer": "deny", "reason": "x".repeat(65 << 10) }),
            "invalid-value",
        ),
    ] {
        let refused = problem(server.post(&path, &body)).await;
        assert_eq!(refused, (400, name.to_owned()), "{body}");
    }
    assert_eq!(open(&server, "").await, [question]);
    json(server.post(&path, &json!({ "answer": "deny" }))).await;
    feed.rest().await;
}

/// What a run of a workspace that is opened with this says.
async fn said(server: &Server, name: &str, permissions: &Value, prompt: &str) -> String {
    let mut body = json!({ "client_id": CLIENT, "name": name });
    let members = body.as_object_mut().unwrap();
    members.extend(permissions.as_object().unwrap().clone());
    let (_, workspace) = json(server.post("/workspaces", &body)).await;
    let sessions = format!("/workspaces/{}/sessions", workspace["id"].as_str().unwrap());
    let (_, session) = json(server.post(&sessions, &json!({ "agent": "probe" }))).await;
    let session = format!("/sessions/{}", session["id"].as_str().unwrap());
    let (_, run) =
        json(server.post(&format!("{session}/runs"), &json!({ "prompt": prompt }))).await;
    let events = format!("/runs/{}/events", run["run"].as_str().unwrap());
    Feed::open(server.get(&events)).await.rest().await;
    let (_, page) = json(server.get(&format!("{session}/messages"))).await;
    let messages = page["items"].as_array().unwrap();
    let texts = messages
        .iter()
        .filter(|message| message["role"] == "assistant");
    let texts = texts.flat_map(|message| message["parts"].as_array().unwrap());
    let texts = texts.filter_map(|part| part["text"].as_str());
    texts.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_is_opened_by_rules() {
    let server = served(|_| {}).await;
    let rules = json!({ "grants": ["tools=test.ch*"] });
    assert_eq!(said(&server, "a", &rules, CHANGE).await, "done");
    let plain = json!({ "grants": ["tools"] });
    assert_eq!(said(&server, "b", &plain, CHANGE).await, "done");
    let other = json!({ "grants": ["tools=test.echo"] });
    let denied = said(&server, "c", &other, CHANGE).await;
    assert!(denied.contains("no person can be asked"), "{denied}");
    let barred = json!({ "grants": ["tools"], "deny": ["tools=test.change"], "ask": true });
    let denied = said(&server, "d", &barred, CHANGE).await;
    assert!(denied.contains("`tools=test.change` denies it"), "{denied}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_host_denies_no_client_grants_and_no_answer() {
    let rule: lastword::permission::Rule = "tools=test.change".parse().expect("a rule");
    let plan = Plan::new()
        .host(|host| host.tools(TestTools::default()).deny(rule))
        .options(|options| options.ask(true));
    let server = Server::with(plan, |_| {}).await;
    for (name, permissions) in [
        ("granted", json!({ "grants": ["tools"] })),
        ("asked", json!({ "ask": true })),
        ("plain", json!({})),
    ] {
        let denied = said(&server, name, &permissions, CHANGE).await;
        assert!(denied.contains("`tools=test.change` denies it"), "{denied}");
    }
    assert!(open(&server, "").await.is_empty());
}
