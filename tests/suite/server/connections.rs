//! Connections are bounded, by number and by how long a request's head may take, and one
//! that is not read holds nobody up.

use super::harness::{Feed, Server, kinds};
use lastword_server::ServerOptions;
use lastword_tests::fixture::Plan;
use std::io::ErrorKind;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// The events of so many prompts of this length are more than the system's buffers take.
const LONG: usize = 900_000;
const LONG_PROMPTS: usize = 8;

async fn connect(server: &Server) -> TcpStream {
    TcpStream::connect(server.address).await.unwrap()
}

/// A request's head.
fn head(server: &Server, path: &str) -> String {
    let token = server.token.as_str();
    format!("GET /v1{path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n")
}

/// Asks for the server's health and reads the whole answer.
async fn ask(server: &Server, stream: &mut TcpStream) {
    let request = head(server, "/health");
    stream.write_all(request.as_bytes()).await.unwrap();
    answered(stream).await;
}

async fn answered(stream: &mut TcpStream) {
    let mut answer = Vec::new();
    while !answer.ends_with(br#"{"status":"ok"}"#) {
        assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "it closed");
    }
    assert!(answer.starts_with(b"HTTP/1.1 200"));
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
    ask(&server, &mut second).await;
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
async fn connections_beyond_the_bound_wait_for_a_place() {
    let two = |options: &mut ServerOptions| options.connections_max = 2;
    let server = Server::with(Plan::new(), two).await;
    let (mut first, mut second) = (connect(&server).await, connect(&server).await);
    ask(&server, &mut first).await;
    ask(&server, &mut second).await;
    let mut third = connect(&server).await;
    let request = head(&server, "/health");
    third.write_all(request.as_bytes()).await.unwrap();
    for _ in 0..50 {
        ask(&server, &mut first).await;
        ask(&server, &mut second).await;
    }
    let mut nothing = [0; 1];
    let early = third.try_read(&mut nothing);
    assert_eq!(early.unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(second);
    answered(&mut third).await;
    ask(&server, &mut first).await;
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
