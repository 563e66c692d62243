//! A server over a fixture's host, on a real socket, and a client of it.
//! Knows how to ask; not what the answers should be.

use futures_util::StreamExt;
use lastword_server::{Authorizer, BearerToken, Listener, ServerOptions, Token, router, serve};
use lastword_tests::fixture::{Fixture, Plan};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use sse_stream::{Sse, SseStream};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A server that listens, and what it serves.
pub(super) struct Server {
    pub(super) fixture: Fixture,
    pub(super) address: SocketAddr,
    pub(super) token: Token,
    pub(super) http: Client,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
}

impl Server {
    pub(super) async fn new() -> Self {
        Self::with(Plan::new(), |_| {}).await
    }

    /// Another host, or other settings.
    pub(super) async fn with(plan: Plan, change: impl FnOnce(&mut ServerOptions)) -> Self {
        let token = Token::generate().unwrap();
        let bearer = Arc::new(BearerToken::new(&token));
        Self::of(plan.build().await, token, bearer, change).await
    }

    /// Another way to let clients in.
    pub(super) async fn of(
        fixture: Fixture,
        token: Token,
        authorizer: Arc<dyn Authorizer>,
        change: impl FnOnce(&mut ServerOptions),
    ) -> Self {
        let loopback = "127.0.0.1:0".parse().unwrap();
        let listener = Listener::tcp(loopback, &*authorizer).await.unwrap();
        let address = listener.address().unwrap();
        let mut options = ServerOptions {
            roots: vec![fixture.folder.path().to_owned()],
            ..ServerOptions::default()
        };
        change(&mut options);
        let router = router(fixture.host.clone(), authorizer, options.clone());
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(async move {
            let shutdown = async { drop(stopped.await) };
            serve(vec![listener], router, &options, shutdown).await;
        });
        Self {
            fixture,
            address,
            token,
            http: client(|builder| builder),
            stop: Some(stop),
            serving,
        }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}/v1{path}", self.address)
    }

    /// A request with the token.
    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, self.url(path));
        request.bearer_auth(self.token.as_str())
    }

    pub(super) fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        self.request(Method::POST, path).json(body)
    }

    pub(super) fn patch(&self, path: &str, body: &Value) -> RequestBuilder {
        self.request(Method::PATCH, path).json(body)
    }

    pub(super) fn delete(&self, path: &str) -> RequestBuilder {
        self.request(Method::DELETE, path)
    }

    /// The path of the fixture's session.
    pub(super) fn session(&self) -> String {
        format!("/sessions/{}", self.fixture.session.id())
    }

    /// The path of the fixture's workspace.
    pub(super) fn workspace(&self) -> String {
        format!("/workspaces/{}", self.fixture.workspace.id())
    }

    /// Prompts, and answers the path of the run.
    pub(super) async fn prompt(&self, text: &str) -> String {
        let body = serde_json::json!({ "prompt": text });
        let path = format!("{}/runs", self.session());
        let (status, run) = json(self.post(&path, &body)).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{run}");
        format!("/runs/{}", run["run"].as_str().unwrap())
    }

    /// Tells the server to stop, and waits until it has.
    pub(super) async fn stop(&mut self) {
        drop(self.stop.take());
        (&mut self.serving).await.unwrap();
    }
}

/// A client that goes through no proxy.
pub(super) fn client(
    change: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
) -> Client {
    // One is enough for all tests of this binary.
    drop(rustls::crypto::ring::default_provider().install_default());
    let builder = Client::builder().no_proxy();
    change(builder).build().unwrap()
}

/// The status and the JSON of an answer.
pub(super) async fn json(request: RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.unwrap();
    let status = response.status();
    let text = response.text().await.unwrap();
    let body = serde_json::from_str(&text);
    (
        status,
        body.unwrap_or_else(|_| panic!("{status} {text:?} is no JSON")),
    )
}

/// The status and name of a problem.
pub(super) async fn problem(request: RequestBuilder) -> (u16, String) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let media_type = response.headers().get("content-type").cloned();
    assert!(response.headers().contains_key("x-request-id"));
    let text = response.text().await.unwrap();
    let media_type = media_type.unwrap_or_else(|| panic!("{status} without a media type"));
    assert_eq!(media_type, "application/problem+json", "{status} {text}");
    let body: Value = serde_json::from_str(&text).unwrap();
    let name = body["name"].as_str().unwrap().to_owned();
    assert_eq!(body["status"], status);
    assert_eq!(body["type"], format!("urn:lastword:error:{name}"));
    assert!(
        body["detail"]
            .as_str()
            .is_some_and(|detail| !detail.is_empty())
    );
    (status, name)
}

/// An event stream as a client reads it.
pub(super) struct Feed {
    events: std::pin::Pin<Box<dyn futures_util::Stream<Item = Option<Sse>> + Send>>,
}

impl Feed {
    pub(super) async fn open(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        Self::of(response)
    }

    pub(super) fn of(response: Response) -> Self {
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let events = SseStream::from_bytes_stream(response.bytes_stream()).map(Result::ok);
        Self {
            events: Box::pin(events),
        }
    }

    /// The next event; none at the end of the stream.
    pub(super) async fn next(&mut self) -> Option<Sse> {
        self.events.next().await.flatten()
    }

    /// Reads until an event of this kind, and answers what came up to it.
    pub(super) async fn until(&mut self, kind: &str) -> Vec<Sse> {
        let mut seen = Vec::new();
        while let Some(event) = self.next().await {
            let last = event.event.as_deref() == Some(kind);
            seen.push(event);
            if last {
                return seen;
            }
        }
        panic!("the stream ended after {:?}, without {kind}", kinds(&seen));
    }

    /// Everything to the end.
    pub(super) async fn rest(mut self) -> Vec<Sse> {
        let mut seen = Vec::new();
        while let Some(event) = self.next().await {
            seen.push(event);
        }
        seen
    }
}

/// The kinds of events.
pub(super) fn kinds(events: &[Sse]) -> Vec<&str> {
    events
        .iter()
        .filter_map(|event| event.event.as_deref())
        .collect()
}

/// The ids of events.
pub(super) fn ids(events: &[Sse]) -> Vec<u64> {
    let ids = events.iter().filter_map(|event| event.id.as_deref());
    ids.map(|id| id.parse().unwrap()).collect()
}
