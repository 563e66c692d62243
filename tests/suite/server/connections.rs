//! The number of connections and the time for a request's head are bounded, and a connection that
//! is not read delays no other.

use super::harness::{Feed, Server, kinds};
use lastword_server::ServerOptions;
use lastword_tests::fixture::Plan;
use lastword_tests::heard::Heard;
use std::io::ErrorKind;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// The events of so many prompts of this length are more than the system's buffers take.
const LONG: usize = 900_000;
const LONG_PROMPTS: usize = 8;
/// Only answered to whom the server knows: there is no such agent.
const KNOWN: &str = "/agents/nothing";

async fn connect(server: &Server) -> TcpStream {
    TcpStream::connect(server.address).await.unwrap()
}

/// A request's head.
fn head(server: &Server, path: &str) -> String {
    let token = server.token.as_str();
    format!("GET /v1{path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n")
}

/// Asks with the token for what is answered with one flat object, and reads it whole.
async fn ask(server: &Server, stream: &mut TcpStream, path: &str) {
    let request = head(server, path);
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = read_until(stream, "}").await;
    let expected = ["HTTP/1.1 200", "HTTP/1.1 404"];
    let known = expected.iter().any(|status| answer.starts_with(status));
    assert!(known && answer.ends_with('}'), "{answer}");
}

/// Begins an event stream on a connection of its own.
async fn follow(server: &Server, path: &str) -> TcpStream {
    let mut stream = connect(server).await;
    let request = head(server, path);
    stream.write_all(request.as_bytes()).await.unwrap();
    read_until(&mut stream, "session.created").await;
    stream
}

/// Reads until these words have come.
async fn read_until(stream: &mut TcpStream, words: &str) -> String {
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains(words) {
        let more = stream.read_buf(&mut read).await.unwrap();
        assert_ne!(
            more,
            0,
            "it closed after {}",
            String::from_utf8_lossy(&read)
        );
    }
    String::from_utf8(read).unwrap()
}

/// Reads until the server closes.
async fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut read = Vec::new();
    match stream.read_to_end(&mut read).await {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
        _ => read,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_does_not_send_a_request_is_let_go() {
    let soon = |options: &mut ServerOptions| options.head_timeout = Duration::from_millis(500);
    let server = Server::with(Plan::new(), soon).await;
    let mut follower = Feed::open(server.get(&format!("{}/events", server.session()))).await;
    follower.until("session.created").await;

    let silent = connect(&server).await;
    let (mut half, mut other) = (connect(&server).await, connect(&server).await);
    half.write_all(b"GET /v1/health HTTP/1.1\r\nhost: loc")
        .await
        .unwrap();
    other.write_all(b"PRI * HTTP/2.0\r\n").await.unwrap();
    let mut second = connect(&server).await;
    ask(&server, &mut second, "/health").await;
    second.write_all(b"GET /v1/hea").await.unwrap();
    for given_up in [silent, half, other, second] {
        let said = rest(given_up).await;
        assert!(!said.windows(6).any(|said| said == b"200 OK"), "{said:?}");
    }

    // What was asked for in time takes as long as it takes.
    server.prompt("echo on").await;
    follower.until("run.ended").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_in_use_keeps_its_place_and_another_waits() {
    let two = |options: &mut ServerOptions| {
        options.connections_max = 2;
        options.streams_max = Some(2);
    };
    let server = Server::with(Plan::new(), two).await;
    let path = format!("{}/events", server.session());
    let (mut first, mut second) = (follow(&server, &path).await, follow(&server, &path).await);
    let mut third = connect(&server).await;
    third
        .write_all(head(&server, "/agents").as_bytes())
        .await
        .unwrap();
    for round in 0..50 {
        server.fixture.run(&format!("echo round {round};")).await;
        let words = format!("round {round};");
        read_until(&mut first, &words).await;
        read_until(&mut second, &words).await;
    }
    let early = third.try_read(&mut [0; 1]);
    assert_eq!(early.unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(second);
    read_until(&mut third, "HTTP/1.1 200").await;
    server.fixture.run("echo to the end;").await;
    read_until(&mut first, "to the end;").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_large_is_answered_while_it_is_sent() {
    // More than the system's buffers take.
    const BYTES: usize = 24 << 20;
    let small = |options: &mut ServerOptions| options.prompt_bytes_max = 1000;
    let server = Server::with(Plan::new(), small).await;
    let mut stream = connect(&server).await;
    let request = format!(
        "POST /v1{}/runs HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: {BYTES}\r\n\r\n",
        server.session(),
        server.token.as_str()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    // A client that reads only once it has sent everything.
    for _ in 0..BYTES >> 20 {
        stream.write_all(&[b'x'; 1 << 20]).await.unwrap();
    }
    let answer = read_until(&mut stream, "body-too-large").await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    read_until(&mut stream, "}").await;
    ask(&server, &mut stream, KNOWN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_streams_of_one_caller_are_bounded() {
    let heard = Heard::listen(vec!["a stream was refused".to_owned()]);
    let two = |options: &mut ServerOptions| options.streams_max = Some(2);
    let server = Server::with(Plan::new(), two).await;
    let path = format!("{}/events", server.session());
    let (first, _second) = (follow(&server, &path).await, follow(&server, &path).await);
    for path in [path.clone(), format!("{}/events", server.workspace())] {
        let refused = server.get(&path).send().await.unwrap();
        assert_eq!(refused.headers()["retry-after"], "1");
        assert_eq!(refused.status().as_u16(), 429);
        let body: serde_json::Value = refused.json().await.unwrap();
        assert_eq!(body["name"], "too-many-streams", "{body}");
    }
    assert!(!heard.found().is_empty(), "the log says it");

    drop(first);
    // The server notices the end of a connection some time after it.
    let again = async {
        while server.get(&path).send().await.unwrap().status() != 200 {
            tokio::task::yield_now().await;
        }
    };
    let again = tokio::time::timeout(Duration::from_secs(60), again).await;
    assert!(again.is_ok(), "its place is free again");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_without_a_token_do_not_keep_the_owner_out() {
    let few = |options: &mut ServerOptions| {
        options.connections_max = 4;
        options.head_timeout = Duration::from_secs(3600);
    };
    let server = Server::with(Plan::new(), few).await;
    let path = format!("{}/events", server.session());
    let mut stream = follow(&server, &path).await;
    let mut used = connect(&server).await;
    ask(&server, &mut used, KNOWN).await;
    let mut strangers = Vec::new();
    for number in 0..30 {
        let mut stranger = connect(&server).await;
        let request = match number % 3 {
            0 => "GET /v1/health HTTP/1.1\r\nhost: localhost\r\n\r\n",
            1 => "GET /v1/agents HTTP/1.1\r\nhost: localhost\r\n\r\n",
            // A body that never comes.
            _ => "POST /v1/agents HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n",
        };
        stranger.write_all(request.as_bytes()).await.unwrap();
        read_until(&mut stranger, "HTTP/1.1 ").await;
        let mut silent = connect(&server).await;
        silent
            .write_all(b"GET /v1/agents HTTP/1.1\r\nho")
            .await
            .unwrap();
        strangers.extend([stranger, silent]);
    }
    // A connection of its own, the one that was used before, and the stream.
    let mut new = connect(&server).await;
    ask(&server, &mut new, KNOWN).await;
    ask(&server, &mut used, KNOWN).await;
    server.fixture.run("echo still here;").await;
    read_until(&mut stream, "still here;").await;
    // Those that were let go first.
    for stranger in strangers.drain(..40) {
        rest(stranger).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_out_of_use_is_closed_and_a_stream_is_not_one() {
    let soon = |options: &mut ServerOptions| options.idle_timeout = Duration::from_millis(300);
    let server = Server::with(Plan::new(), soon).await;
    let path = format!("{}/events", server.session());
    let mut stream = follow(&server, &path).await;
    let mut idle = connect(&server).await;
    // More than its timeout, and always with something to do.
    for _ in 0..100 {
        ask(&server, &mut idle, KNOWN).await;
    }
    let options = ServerOptions::default();
    assert!(options.idle_timeout > options.head_timeout);
    rest(idle).await;
    server.fixture.run("echo still here;").await;
    read_until(&mut stream, "still here;").await;
}

/// With timeouts that would hold it up for an hour each.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_let_in_does_not_delay_the_end() {
    let long = |options: &mut ServerOptions| {
        options.head_timeout = Duration::from_secs(3600);
        options.body_timeout = Duration::from_secs(3600);
        options.drain = Duration::from_secs(3600);
    };
    let mut server = Server::with(Plan::new(), long).await;
    let mut open = Vec::new();
    for request in [
        "",
        "GET /v1/agents HTTP/1.1\r\nho",
        "PRI * HTTP/2.0\r\n",
        "POST /v1/agents HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\nx",
    ] {
        let mut stranger = connect(&server).await;
        stranger.write_all(request.as_bytes()).await.unwrap();
        open.push(stranger);
    }
    // Known, and in the middle of another request.
    let mut half = connect(&server).await;
    ask(&server, &mut half, KNOWN).await;
    half.write_all(b"GET /v1/agents HTTP/1.1\r\nho")
        .await
        .unwrap();
    open.push(half);
    let path = format!("{}/events", server.session());
    let mut stream = follow(&server, &path).await;
    server.fixture.host.shutdown().await;
    let stopped = tokio::time::timeout(Duration::from_secs(120), server.stop()).await;
    assert!(stopped.is_ok(), "it waits");
    // The stream came to its end.
    read_until(&mut stream, "0\r\n\r\n").await;
    for connection in open {
        rest(connection).await;
    }
}

/// Streams that the server has not come to the end of.
async fn streams(server: &Server) -> u64 {
    let answer = server.get("/metrics").send().await.unwrap();
    let text = answer.text().await.unwrap();
    let figure = text
        .lines()
        .find_map(|line| line.strip_prefix("lastword_http_streams "));
    figure.unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_does_not_read_holds_up_nobody() {
    let server = Server::new().await;
    let long = format!("echo {}", "x".repeat(LONG));
    for _ in 0..LONG_PROMPTS {
        server.fixture.run(&long).await;
    }
    let path = format!("{}/events?follow=false", server.session());
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut slow = socket.connect(server.address).await.unwrap();
    let request = head(&server, &path);
    slow.write_all(request.as_bytes()).await.unwrap();
    let mut begin = [0; 12];
    slow.read_exact(&mut begin).await.unwrap();
    assert_eq!(&begin, b"HTTP/1.1 200");

    let others = Feed::open(server.get(&path)).await.rest().await;
    assert_eq!(kinds(&others).last(), Some(&"run.ended"));
    let run = server.prompt("appends 20000").await;
    let events = Feed::open(server.get(&format!("{run}/events"))).await;
    assert_eq!(kinds(&events.rest().await).last(), Some(&"run.ended"));
    // The control: the server is in the middle of the stream that is not read.
    let mut open = streams(&server).await;
    while open > 1 {
        open = streams(&server).await;
    }
    assert_eq!(open, 1, "what was not read fitted into the buffers");
    let mut late = Vec::new();
    while !late.ends_with(b"\r\n0\r\n\r\n") {
        assert_ne!(slow.read_buf(&mut late).await.unwrap(), 0, "it broke off");
    }
    let late = String::from_utf8_lossy(&late);
    let ends = late.matches("event: run.ended\n").count();
    assert!(ends >= LONG_PROMPTS, "{ends}");
    while streams(&server).await > 0 {}
}
