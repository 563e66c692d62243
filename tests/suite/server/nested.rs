//! The API inside an embedder's own router, whose other addresses stay the embedder's.

use super::harness::{Feed, client, json, kinds, problem};
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use lastword::HostBuilder;
use lastword_server::{BearerToken, Listener, ServerOptions, Token, router, serve};
use lastword_tests::fixture::{Fixture, Plan};
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// An embedder's program: its own routes with the API inside, served as the guide of the crate does.
struct Embedder {
    fixture: Fixture,
    token: Token,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Embedder {
    async fn start(builder: impl FnOnce(HostBuilder) -> HostBuilder) -> Self {
        let fixture = Plan::new().host(builder).build().await;
        let token = Token::generate().unwrap();
        let authorizer = Arc::new(BearerToken::new(&token));
        let options = ServerOptions::default();
        let loopback = "127.0.0.1:0".parse().unwrap();
        let listener = Listener::tcp(loopback, &*authorizer).await.unwrap();
        let address = listener.address().unwrap();
        let api = router(fixture.host.clone(), authorizer, options.clone());
        let app = Router::new()
            .route("/own", get(async || "my own"))
            .nest("/agents/{tenant}", api)
            .fallback(async || (StatusCode::IM_A_TEAPOT, "my own fallback"));

        let host = fixture.host.clone();
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(async move {
            let stopping = async {
                drop(stopped.await);
                host.drain().await;
            };
            let serving = serve(vec![listener], app, &options, host.drained());
            tokio::join!(serving, stopping);
            options.tasks.close();
            options.tasks.wait().await;
            host.shutdown().await;
        });

        Self {
            fixture,
            token,
            address,
            stop,
            serving,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nested_in_another_router_it_leaves_all_other_addresses_alone() {
    let embedder = Embedder::start(|builder| builder.retention(Some(Duration::ZERO))).await;
    let (fixture, token) = (&embedder.fixture, &embedder.token);
    let http = client(|builder| builder);
    let url = |path: &str| embedder.url(path);
    for (path, status, text) in [
        ("/own", 200, "my own"),
        ("/", 418, "my own fallback"),
        ("/v1/health", 418, "my own fallback"),
        ("/v1/workspaces", 418, "my own fallback"),
    ] {
        let answer = http.get(url(path)).send().await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(answer.text().await.unwrap(), text, "{path}");
    }
    let lost = http.get(url("/agents/acme/v1/nothing"));
    let (status, lost) = json(lost).await;
    assert_eq!(
        (status.as_u16(), &lost["name"]),
        (404, &json!("unknown-route"))
    );
    let detail = lost["detail"].as_str().unwrap();
    for address in [
        "`/agents/acme/v1/nothing`",
        "`/agents/acme/v1/openapi.json`",
    ] {
        assert!(detail.contains(address), "{detail}");
    }
    let health = http.get(url("/agents/acme/v1/health"));
    assert_eq!(json(health).await.0, StatusCode::OK);
    let prompt = format!("/agents/acme/v1/sessions/{}/runs", fixture.session.id());
    let ask = || http.post(url(&prompt)).json(&json!({ "prompt": "echo x" }));
    assert_eq!(problem(ask()).await.0, 401);
    let made = ask().bearer_auth(token.as_str()).send().await.unwrap();
    assert_eq!(made.status(), StatusCode::ACCEPTED);
    let location = made.headers()["location"].to_str().unwrap().to_owned();
    assert!(location.starts_with("/agents/acme/v1/runs/"), "{location}");
    let run = http.get(url(&location)).bearer_auth(token.as_str());
    assert_eq!(json(run).await.0, StatusCode::OK, "{location}");

    let id = location.rsplit_once('/').unwrap().1.parse().unwrap();
    let run = fixture.host.run(id).await.unwrap();
    run.ended().await.unwrap();
    fixture.host.prune_events().await.unwrap();
    let session = format!("/agents/acme/v1/sessions/{}", fixture.session.id());
    let events = http.get(url(&format!("{session}/events")));
    let (status, gone) = json(events.bearer_auth(token.as_str())).await;
    assert_eq!(
        (status, &gone["messages"]),
        (StatusCode::GONE, &json!(format!("{session}/messages")))
    );
}

/// While runs have time to end, the server takes new connections, says that it is closing, and
/// streams report every end before they end themselves.
#[tokio::test(flavor = "multi_thread")]
async fn until_the_runs_have_ended_streams_report_them() {
    let embedder = Embedder::start(|builder| builder.drain(Duration::from_secs(3600))).await;
    let (host, token) = (embedder.fixture.host.clone(), embedder.token.clone());
    let run = embedder
        .fixture
        .session
        .prompt("spin before")
        .await
        .unwrap();
    let events = embedder.url(&format!("/agents/acme/v1/runs/{}/events", run.id()));
    let follow = async || {
        let request = client(|builder| builder).get(&events);
        let mut feed = Feed::open(request.bearer_auth(token.as_str())).await;
        feed.until("text.delta").await;
        feed
    };

    let earlier = follow().await;
    let health = embedder.url("/agents/acme/v1/health");
    drop(embedder.stop);
    host.closing().await;

    let (status, body) = json(client(|builder| builder).get(&health)).await;
    assert_eq!((status.as_u16(), &body["status"]), (503, &json!("closing")));
    let later = follow().await;
    run.cancel().await.unwrap();
    for feed in [earlier, later] {
        assert_eq!(kinds(&feed.rest().await).last(), Some(&"run.ended"));
    }
    embedder.serving.await.unwrap();
}
