//! Test support: a web server on loopback that responds to each request with the next given text,
//! and records the requests. One connection per request.

use serde_json::Value;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A recorded request.
#[derive(Clone, Debug)]
pub(super) struct RecordedRequest {
    /// The request line and the headers, in lower case.
    pub(super) head: String,
    pub(super) body: Value,
}

/// The server; it stops when it is dropped.
pub(super) struct Loopback {
    pub(super) url: String,
    asked: Arc<Mutex<Vec<RecordedRequest>>>,
    task: JoinHandle<()>,
}

impl Loopback {
    /// Serves these responses, and repeats the last.
    pub(super) async fn serve(answers: impl IntoIterator<Item = String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::<Mutex<Vec<RecordedRequest>>>::default();
        let recorded = asked.clone();
        let answers: Vec<String> = answers.into_iter().collect();

        let task = tokio::spawn(async move {
            let mut open = Vec::new();

            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let Some(request) = read(&mut socket).await else {
                    continue;
                };

                let place = {
                    let mut recorded = recorded.lock().unwrap();
                    recorded.push(request);
                    (recorded.len() - 1).min(answers.len() - 1)
                };
                let _ = socket.write_all(answers[place].as_bytes()).await;

                if answers[place].contains(LEFT_OPEN) {
                    open.push(socket);
                } else {
                    let _ = socket.shutdown().await;
                }
            }
        });
        Self { url, asked, task }
    }

    pub(super) fn asked(&self) -> Vec<RecordedRequest> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A header that keeps the connection open after the response.
const LEFT_OPEN: &str = "x-test: left open";

/// A 200 without an end: the connection stays open.
pub(super) fn without_end(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{LEFT_OPEN}\r\n\r\n{body}")
}

/// A 200 whose body ends with the connection.
pub(super) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{body}")
}

/// A 200 whose body is shorter than its announced length.
pub(super) fn cut_short(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n{body}")
}

/// A failure with extra header lines, each ending in `\r\n`.
pub(super) fn status(code: u16, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {code} Sorry\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}

/// Server-sent events with these data.
pub(super) fn sse<'a>(data: impl IntoIterator<Item = &'a str>) -> String {
    let events = data.into_iter().map(|data| format!("data: {data}\n\n"));
    events.collect()
}

async fn read(socket: &mut TcpStream) -> Option<RecordedRequest> {
    let mut bytes = Vec::new();
    let (head, start) = loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some(end) = text.find("\r\n\r\n") {
            break (text[..end].to_lowercase(), end + 4);
        }
        if socket.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };

    let length = head.split("content-length: ").nth(1).unwrap_or("0");
    let length: usize = length.lines().next()?.trim().parse().ok()?;
    while bytes.len() < start + length {
        if socket.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }

    let body = serde_json::from_slice(&bytes[start..]);
    Some(RecordedRequest {
        head,
        body: body.unwrap_or(Value::Null),
    })
}
