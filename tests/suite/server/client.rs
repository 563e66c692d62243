//! The typed client against a host: over the memory of this process, and over a socket. What both
//! ways have in common is one test each; what only this process may do is refused over the socket.

use super::harness::Server;
use futures_util::StreamExt;
use lastword::event::{Event, EventBody, Seq};
use lastword::id::ClientId;
use lastword::session::Answer;
use lastword::{Capability, RunState, WorkspaceKey};
use lastword_client::api::{AgentFile, NewRun, NewSession, NewWorkspace};
use lastword_client::{Client, ClientError, Events, Frame, ServiceTransport};
use lastword_server::{Arrival, Authorizer, ServerOptions, ThisProcess, Token, in_process};
use lastword_tests::fixture::{Fixture, Plan};
use lastword_tests::guests::guest;
use lastword_tests::tools::TestTools;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

/// A client of a host in this process, which offers every directory.
fn in_memory(fixture: &Fixture, change: impl FnOnce(&mut ServerOptions)) -> Client {
    let mut options = ServerOptions {
        roots: vec!["/".into()],
        ..ServerOptions::default()
    };
    change(&mut options);
    let service = in_process(fixture.host.clone(), options);
    let client = Client::builder().transport(ServiceTransport(service), "this test");
    client.build().unwrap()
}

/// The same host over a socket, with its token.
fn over_tcp(server: &Server) -> Client {
    let address = format!("http://{}", server.address);
    let client = Client::builder().address(address.parse().unwrap());
    client.token(server.token.as_str()).build().unwrap()
}

async fn event(events: &mut Events) -> Event {
    match events.next().await {
        Some(Ok(Frame::Event(event))) => *event,
        other => panic!("no event came: {other:?}"),
    }
}

/// A prompt, its events as they come, its end, and the same prompt again.
async fn goes_through_a_run(client: &Client, fixture: &Fixture) {
    let me = ClientId::generate();
    let new = NewWorkspace::new(me, &WorkspaceKey::name("here"));
    let workspace = client.open_workspace(&new).await.unwrap();
    let session = NewSession::with("probe");
    let session = client.new_session(workspace.id, &session).await.unwrap();
    let prompt = NewRun::text("spin before");
    let run = client.prompt(session.id, &prompt, "k").await.unwrap();
    let again = client.prompt(session.id, &prompt, "k").await.unwrap();
    assert_eq!(run.run, again.run);
    let other = NewRun::text("echo x");
    let refused = client.prompt(session.id, &other, "k").await.unwrap_err();
    assert_eq!(refused.name(), Some("key-conflict"));
    assert!(!refused.is_retryable());

    // What the agent says comes while it computes.
    let mut events = client.run_events(run.run);
    let mut seen = Vec::new();
    loop {
        seen.push(event(&mut events).await);
        if let Some(EventBody::TextDelta { text, .. }) = seen.last().map(|event| &event.body) {
            assert_eq!(text, "before");
            break;
        }
    }
    let receipt = client.cancel(run.run).await.unwrap();
    assert_eq!((&*receipt.cause.name(), receipt.persisted), ("user", true));
    let rest = Box::pin(events.into_stream()).map(Result::unwrap);
    let rest: Vec<Frame> = rest.collect().await;
    seen.extend(rest.into_iter().map(|frame| match frame {
        Frame::Event(event) => *event,
        other => panic!("a run has events alone: {other:?}"),
    }));

    let (_, _, mut log) = fixture.host.run_events(run.run, None).await.unwrap();
    let mut logged = Vec::new();
    while seen.len() > logged.len() {
        logged.push(log.next().await.unwrap().unwrap());
    }
    assert_eq!(seen, logged);
    assert!(matches!(
        seen.last().map(|event| &event.body),
        Some(EventBody::RunEnded { receipt: last }) if *last == receipt
    ));
    let after = seen[1].seq.0;
    let mut from_there = client.run_events(run.run).after(after);
    assert_eq!(event(&mut from_there).await.seq, Seq(after + 1));
    assert_eq!(
        client.run(run.run).await.unwrap().state,
        RunState::Cancelled
    );
    client.retire(me).await.unwrap();
    let refused = client.open_workspace(&new).await.unwrap_err();
    assert_eq!(refused.name(), Some("client-retired"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_gone_through_in_memory() {
    let fixture = Plan::new().build().await;
    goes_through_a_run(&in_memory(&fixture, |_| {}), &fixture).await;
    fixture.host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_gone_through_over_a_socket() {
    let mut server = Server::new().await;
    goes_through_a_run(&over_tcp(&server), &server.fixture).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_answered_once() {
    let plan = Plan::new().host(|host| host.tools(TestTools::default()));
    let fixture = plan.options(|options| options.ask(true)).build().await;
    let client = in_memory(&fixture, |_| {});
    let asks = NewRun::text(r#"tool test.change {"text":"done"}"#);
    let session = fixture.session.id();
    let run = client.prompt(session, &asks, "k").await.unwrap();
    let mut events = client.run_events(run.run);
    let question = loop {
        if let EventBody::QuestionAsked { question } = event(&mut events).await.body {
            break question.id;
        }
    };
    let open = client.questions(Some(session)).await.unwrap().items;
    assert_eq!(open.len(), 1);
    let first = Answer::Deny {
        reason: Some("not today".to_owned()),
    };
    assert!(client.answer(question, &first, "a").await.unwrap().resolved);
    let second = Answer::Deny { reason: None };
    let refused = client.answer(question, &second, "b").await.unwrap_err();
    assert_eq!(refused.name(), Some("already-answered"));
    let counts = refused.problem().and_then(|problem| problem.answer.clone());
    assert_eq!(counts, Some(first));
    while events.next().await.is_some() {}
    fixture.host.shutdown().await;
}

/// The authorizer of this process refuses every request that comes through a socket.
#[tokio::test(flavor = "multi_thread")]
async fn the_way_in_of_this_process_is_closed_to_others() {
    let fixture = Plan::new().build().await;
    assert!(in_memory(&fixture, |_| {}).sessions().await.is_ok());
    let token = Token::generate().unwrap();
    let mut server = Server::of(fixture, token, Arc::new(ThisProcess), |_| {}).await;
    let refused = over_tcp(&server).sessions().await.unwrap_err();
    assert_eq!(refused.name(), Some("unauthenticated"));
    let headers = axum::http::HeaderMap::new();
    let known = ThisProcess.authenticate(&headers, &Arrival::InProcess);
    assert!(known.await.is_ok());
    for arrival in [Arrival::Unknown, Arrival::Unix { uid: 0 }] {
        assert!(ThisProcess.authenticate(&headers, &arrival).await.is_err());
    }
    server.stop().await;
}

/// Paths that are not UTF-8, and configurations that are no object, come from this process alone.
#[tokio::test(flavor = "multi_thread")]
async fn what_json_cannot_say_to_others_is_said_in_this_process() {
    let mut server = Server::new().await;
    let folder = server.fixture.folder.path();
    let odd = folder.join(OsStr::from_bytes(b"odd-\xff"));
    std::fs::create_dir(&odd).unwrap();
    let wasm = odd.join("probe.wasm");
    std::fs::copy(guest("probe"), &wasm).unwrap();
    let (near, far) = (in_memory(&server.fixture, |_| {}), over_tcp(&server));
    let new = NewWorkspace {
        grants: Some(vec![Capability::ReadFiles.to_string()]),
        ..NewWorkspace::new(ClientId::generate(), &WorkspaceKey::Directory(odd))
    };
    let file = AgentFile {
        name: "odd".to_owned(),
        path: wasm.into(),
    };
    let refused = |error: ClientError| error.name().map(str::to_owned);
    let far_workspace = far.open_workspace(&new).await.unwrap_err();
    assert_eq!(refused(far_workspace).as_deref(), Some("invalid-directory"));
    let far_agent = far.load_agent(&file).await.unwrap_err();
    assert_eq!(refused(far_agent).as_deref(), Some("invalid-body"));
    let workspace = near.open_workspace(&new).await.unwrap();
    assert_eq!(near.load_agent(&file).await.unwrap().name.as_str(), "odd");

    let session = NewSession::with("odd");
    let session = near.new_session(workspace.id, &session).await.unwrap().id;
    let list = serde_json::value::RawValue::from_string("[ 1 ]".to_owned());
    let prompt = NewRun {
        config: list.ok(),
        ..NewRun::text("config")
    };
    let far_run = far.prompt(session, &prompt, "k").await.unwrap_err();
    assert_eq!(refused(far_run).as_deref(), Some("invalid-body"));
    let run = near.prompt(session, &prompt, "k").await.unwrap();
    let mut events = near.run_events(run.run);
    while events.next().await.is_some() {}
    let messages = near.messages(session).await.unwrap().items;
    let said = messages.last().and_then(|last| last.parts[0].as_text());
    assert_eq!(said, Some("[ 1 ]"), "as it was written");
    server.stop().await;
}

/// The end of a run is told before its stream, which the end of the host ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_tells_the_end_that_its_host_gives() {
    let fixture = Plan::new().build().await;
    let client = in_memory(&fixture, |_| {});
    let prompt = NewRun::text("spin before");
    let run = client.prompt(fixture.session.id(), &prompt, "k").await;
    let mut events = client.run_events(run.unwrap().run);
    while !matches!(event(&mut events).await.body, EventBody::TextDelta { .. }) {}
    fixture.host.shutdown().await;
    let mut last = None;
    while let Some(frame) = events.next().await {
        last = Some(frame);
    }
    assert!(
        matches!(
            last,
            Some(Ok(Frame::Event(event))) if matches!(event.body, EventBody::RunEnded { .. })
        ),
        "its end is told before"
    );
}
