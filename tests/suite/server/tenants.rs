//! Tenants of one server: each sees and does what its authorizer lets it, and what is not its
//! own does not exist for it.

use super::harness::{Feed, Server, json, problem};
use lastword::{Capability, WorkspaceKey, WorkspaceOptions};
use lastword_server::{Action, Arrival, Authorizer, Principal, Token, Unauthenticated};
use lastword_tests::fixture::{Fixture, Plan};
use lastword_tests::tools::TestTools;
use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use std::sync::Arc;

async fn served() -> Server {
    let token = Token::generate().unwrap();
    Server::of(
        Plan::new()
            .host(|host| host.tools(TestTools::default()))
            .build()
            .await,
        token,
        Arc::new(Tenants),
        |_| {},
    )
    .await
}

fn ask(server: &Server, who: &str, method: Method, path: &str) -> RequestBuilder {
    let request = server.http.request(method, server.url(path));
    request.header("x-tenant", who)
}

fn open(server: &Server, who: &str, name: &str, grants: &Value) -> RequestBuilder {
    let client = "7b0f6a52-6b0c-4a57-9d75-2a8f0f6d0001";
    let body = json!({ "client_id": client, "name": name, "grants": grants });
    ask(server, who, Method::POST, "/workspaces").json(&body)
}

/// Tenants by the name that they send: each sees the workspaces whose names begin with its
/// own, and may do what the second word says.
struct Tenants;

#[async_trait::async_trait]
impl Authorizer for Tenants {
    async fn authenticate(
        &self,
        headers: &HeaderMap,
        _: &Arrival,
    ) -> Result<Principal, Unauthenticated> {
        let name = headers.get("x-tenant").and_then(|name| name.to_str().ok());
        let name = name.ok_or_else(|| Unauthenticated("say who you are".to_owned()))?;
        Ok(Principal::new(name).with_details(name.to_owned()))
    }

    async fn allows(
        &self,
        who: &Principal,
        action: Action<'_>,
        key: Option<&WorkspaceKey>,
    ) -> bool {
        let name = who.details::<String>().unwrap();
        let (tenant, role) = name.split_once('-').unwrap();
        match (key, role) {
            (_, "owner") if tenant == "all" => true,
            (Some(WorkspaceKey::Name(key)), role) if key.starts_with(tenant) => match role {
                "reader" => action == Action::Read,
                "talker" => !matches!(action, Action::Grant(_)),
                _ => match action {
                    Action::Grant(rule) => rule.capability() != Capability::RunCommands,
                    action => action != Action::Purge,
                },
            },
            _ => false,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_see_and_do_what_is_theirs() {
    let server = served().await;
    let ask = |who: &str, method, path: &str| ask(&server, who, method, path);
    let open = |who: &str, name: &str, grants: Value| open(&server, who, name, &grants);
    let forbidden = (403, "forbidden".to_owned());
    let (status, a) = json(open("a-owner", "a-1", json!(["read-files"]))).await;
    assert_eq!(status, StatusCode::CREATED, "{a}");
    assert_eq!(
        json(open("b-owner", "b-1", json!([]))).await.0,
        StatusCode::CREATED
    );
    assert_eq!(problem(open("a-owner", "b-2", json!([]))).await, forbidden);
    assert_eq!(problem(open("a-reader", "a-1", json!([]))).await, forbidden);
    for rule in ["run-commands", "run-commands=cargo test"] {
        assert_eq!(
            problem(open("a-owner", "a-1", json!([rule]))).await,
            forbidden
        );
    }

    let list = |who: &'static str| {
        let request = ask(who, Method::GET, "/workspaces");
        async move {
            let (_, page) = json(request).await;
            let items = page["items"].as_array().unwrap().clone();
            items
                .iter()
                .map(|item| item["key"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        }
    };
    assert_eq!(list("a-reader").await, ["a-1"]);
    assert_eq!(list("b-owner").await, ["b-1"]);
    assert_eq!(list("all-owner").await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_reach_nothing_of_each_other() {
    let server = served().await;
    let ask = |who: &str, method, path: &str| ask(&server, who, method, path);
    let open = |who: &str, name: &str, grants: Value| open(&server, who, name, &grants);
    let forbidden = (403, "forbidden".to_owned());
    let (_, a) = json(open("a-owner", "a-1", json!([]))).await;
    let workspace = format!("/workspaces/{}", a["id"].as_str().unwrap());
    let sessions = format!("{workspace}/sessions");
    let begin = |who: &str| ask(who, Method::POST, &sessions).json(&json!({ "agent": "probe" }));
    assert_eq!(problem(begin("a-reader")).await, forbidden);
    assert_eq!(
        problem(begin("b-owner")).await,
        (404, "unknown-workspace".to_owned())
    );
    let (status, session) = json(begin("a-owner")).await;
    assert_eq!(status, StatusCode::CREATED);
    let session = format!("/sessions/{}", session["id"].as_str().unwrap());
    let prompt = |who: &str| {
        ask(who, Method::POST, &format!("{session}/runs")).json(&json!({ "prompt": "echo x" }))
    };
    let (_, run) = json(prompt("a-owner")).await;
    let run = format!("/runs/{}", run["run"].as_str().unwrap());
    assert_eq!(problem(prompt("a-reader")).await, forbidden);
    let unknown_session = (404, "unknown-session".to_owned());
    let unknown_run = (404, "unknown-run".to_owned());
    for (method, path, unknown) in [
        (Method::GET, session.clone(), &unknown_session),
        (Method::DELETE, session.clone(), &unknown_session),
        (Method::GET, format!("{session}/events"), &unknown_session),
        (Method::GET, format!("{session}/messages"), &unknown_session),
        (Method::GET, format!("{session}/queue"), &unknown_session),
        (Method::POST, format!("{session}/cancel"), &unknown_session),
        (Method::GET, run.clone(), &unknown_run),
        (Method::GET, format!("{run}/events"), &unknown_run),
        (Method::POST, format!("{run}/cancel"), &unknown_run),
        (Method::POST, format!("{run}/resume"), &unknown_run),
    ] {
        let refused = problem(ask("b-owner", method.clone(), &path)).await;
        assert_eq!(refused, *unknown, "{method} {path}");
        let reads = method == Method::GET && !path.ends_with("/events");
        if reads {
            assert_eq!(json(ask("a-reader", method, &path)).await.0, StatusCode::OK);
        } else if method != Method::GET {
            let refused = problem(ask("a-reader", method.clone(), &path)).await;
            assert_eq!(refused, forbidden, "{method} {path}");
        }
    }
    let purge = ask(
        "a-owner",
        Method::DELETE,
        &format!("{workspace}?purge=true"),
    );
    assert_eq!(problem(purge).await, forbidden);
    assert_eq!(
        problem(ask("a-owner", Method::GET, "/metrics")).await,
        forbidden
    );
    assert_eq!(
        problem(ask("a-owner", Method::GET, "/agents")).await,
        forbidden
    );
    let retire = ask(
        "a-owner",
        Method::DELETE,
        "/clients/7b0f6a52-6b0c-4a57-9d75-2a8f0f6d0001",
    );
    assert_eq!(problem(retire).await, forbidden);
}

/// A run of `a` that asks whether it may call a tool, and the id of its question.
async fn asked(server: &Server) -> (String, String) {
    let client = "7b0f6a52-6b0c-4a57-9d75-2a8f0f6d0002";
    let body = json!({ "client_id": client, "name": "a-1", "ask": true });
    let opened = ask(server, "a-owner", Method::POST, "/workspaces").json(&body);
    let workspace = json(opened).await.1["id"].as_str().unwrap().to_owned();
    let sessions = format!("/workspaces/{workspace}/sessions");
    let begun = ask(server, "a-owner", Method::POST, &sessions).json(&json!({ "agent": "probe" }));
    let session = json(begun).await.1["id"].as_str().unwrap().to_owned();
    let prompt = json!({ "prompt": r#"tool test.change {"text":"done"}"# });
    let runs = format!("/sessions/{session}/runs");
    let (_, run) = json(ask(server, "a-owner", Method::POST, &runs).json(&prompt)).await;
    let events = format!("/runs/{}/events", run["run"].as_str().unwrap());
    let mut feed = Feed::open(ask(server, "a-owner", Method::GET, &events)).await;
    let asked = feed.until("question.asked").await;
    let event: Value = serde_json::from_str(asked.last().unwrap().data.as_ref().unwrap()).unwrap();
    let id = event["question"]["id"].as_str().unwrap().to_owned();
    (workspace, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_answer_and_revoke_what_is_theirs() {
    let server = served().await;
    let (workspace, id) = asked(&server).await;
    let ask = |who: &str, method, path: &str| ask(&server, who, method, path);
    let question = format!("/permissions/{id}");
    let answer = |who: &str, answer: Value| ask(who, Method::POST, &question).json(&answer);
    let allow = || json!({ "answer": "allow", "remember": { "within": "workspace" } });
    let list = |who: &'static str, query: &str| {
        let request = ask(who, Method::GET, &format!("/permissions{query}"));
        async move { json(request).await.1["items"].as_array().unwrap().len() }
    };
    let forbidden = (403, "forbidden".to_owned());
    let unknown = (404, "unknown-question".to_owned());
    assert_eq!(list("a-reader", "").await, 1);
    assert_eq!(list("b-owner", "").await, 0);
    let filtered = ask(
        "b-owner",
        Method::GET,
        &format!("/permissions?workspace={workspace}"),
    );
    assert_eq!(
        problem(filtered).await,
        (404, "unknown-workspace".to_owned())
    );
    assert_eq!(
        problem(ask("b-owner", Method::GET, &question)).await,
        unknown
    );
    assert_eq!(problem(answer("b-owner", allow())).await, unknown);
    assert_eq!(problem(answer("a-reader", allow())).await, forbidden);
    // Whoever may grant nothing lets nothing through, be it once, but may say no.
    for allowed in [json!({ "answer": "allow" }), allow()] {
        assert_eq!(problem(answer("a-talker", allowed)).await, forbidden);
    }
    let (status, answered) = json(answer("a-owner", allow())).await;
    assert_eq!(status, StatusCode::OK, "{answered}");
    assert_eq!(answered["grant"]["rule"], "tools=test.change");

    let grants = format!("/workspaces/{workspace}/grants");
    let (_, page) = json(ask("a-reader", Method::GET, &grants)).await;
    assert_eq!(page["items"][0], answered["grant"]);
    let refused = problem(ask("b-owner", Method::GET, &grants)).await;
    assert_eq!(refused, (404, "unknown-workspace".to_owned()));
    let grant = format!("/grants/{}", answered["grant"]["id"].as_str().unwrap());
    let revoke = |who: &str| ask(who, Method::DELETE, &grant);
    let unknown = (404, "unknown-grant".to_owned());
    assert_eq!(problem(revoke("b-owner")).await, unknown);
    assert_eq!(problem(revoke("a-reader")).await, forbidden);
    let revoked = revoke("a-owner").send().await.unwrap();
    assert_eq!(revoked.status(), StatusCode::NO_CONTENT);
    assert_eq!(problem(revoke("a-owner")).await, unknown);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_grant_nothing_may_still_say_no() {
    let server = served().await;
    let (_, id) = asked(&server).await;
    let path = format!("/permissions/{id}");
    let no = json!({ "answer": "deny", "reason": "no" });
    let denied = ask(&server, "a-talker", Method::POST, &path).json(&no);
    let (status, answered) = json(denied).await;
    assert_eq!(
        (status, answered),
        (StatusCode::OK, json!({ "resolved": true }))
    );
}

/// More questions than a list holds, in a workspace of `b` that is not open.
async fn crowded() -> Server {
    let fixture = Plan::new().build().await;
    let key = WorkspaceKey::name("b-1");
    let host = &fixture.host;
    let workspace = host.open_workspace(key, WorkspaceOptions::new()).await;
    let workspace = workspace.unwrap();
    let session = workspace.new_session(&fixture.agent).await.unwrap();
    let run = session.prompt("wait-for Which colour?").await.unwrap();
    run.ended().await.unwrap();
    fixture.host.shutdown().await;
    let data = fixture.data();
    let Fixture { folder, .. } = fixture;
    let copies =
        "WITH RECURSIVE copy (no) AS (SELECT 1 UNION ALL SELECT no + 1 FROM copy LIMIT 1000)
        INSERT INTO question (id, session, run, body)
        SELECT randomblob(16), session, run, body FROM question, copy";
    let store = lastword_tests::check::open(&data);
    assert_eq!(store.execute(copies, []).unwrap(), 1000);
    drop(store);
    let plan = Plan::again(folder).host(|host| host.tools(TestTools::default()));
    let token = Token::generate().unwrap();
    Server::of(plan.build().await, token, Arc::new(Tenants), |_| {}).await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_tenant_s_questions_hide_those_of_another() {
    let server = crowded().await;
    let (workspace, id) = asked(&server).await;
    let list = |who: &'static str, query: String| {
        let request = ask(&server, who, Method::GET, &format!("/permissions{query}"));
        async move {
            let (_, page) = json(request).await;
            page["items"].as_array().unwrap().clone()
        }
    };
    for query in [String::new(), format!("?workspace={workspace}")] {
        let theirs = list("a-reader", query).await;
        assert_eq!(theirs.len(), 1);
        assert_eq!(theirs[0]["id"], id);
    }
    // The bound stands for what is seen, also of a workspace that is closed.
    assert_eq!(list("b-owner", String::new()).await.len(), 1000);
    let closed = server.fixture.host.asking_workspaces().await.unwrap();
    let closed = closed.iter().find(|asking| asking.to_string() != workspace);
    let query = format!("?workspace={}", closed.unwrap());
    assert_eq!(list("b-owner", query).await.len(), 1000);
}
