//! Test support: a server on loopback with scripted replies, which records its requests; a resolver
//! that changes its answers; and a client that reaches both.

use super::{Guarded, HostPatterns, HttpOptions, Resolver};
use crate::secrets::Secrets;
use futures_util::future::BoxFuture;
use lastword_os::clock::SystemClock;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// How the server replies to a request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// Sends these bytes, each piece in a segment of its own, and closes.
    Pieces(Vec<Vec<u8>>),
    /// Sends these bytes and then nothing.
    Hang(Vec<u8>),
    /// Sends the first bytes once, then the second ones for ever.
    Endless(Vec<u8>, Vec<u8>),
}

/// A response with these header lines, each ending in `\r\n`.
pub(crate) fn ok(headers: &str, body: &str) -> Reply {
    status("200 OK", headers, body)
}

pub(crate) fn status(status: &str, headers: &str, body: &str) -> Reply {
    let length = body.len();
    let text = format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n{body}");
    Reply::Pieces(vec![text.into_bytes()])
}

type Answers = Arc<dyn Fn(&str) -> Reply + Send + Sync>;

/// The server; it stops when it is dropped.
pub(crate) struct HostileServer {
    pub(crate) port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl HostileServer {
    pub(crate) async fn serve(answers: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let recorded = Arc::clone(&asked);
        let answers: Answers = Arc::new(answers);

        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (answers, recorded) = (Arc::clone(&answers), Arc::clone(&recorded));
                drop(tokio::spawn(answer(socket, answers, recorded)));
            }
        });
        Self { port, asked, task }
    }

    /// The requests so far, as received: request line, headers and body.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for HostileServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(mut socket: TcpStream, answers: Answers, recorded: Arc<Mutex<Vec<String>>>) {
    let mut bytes = Vec::new();
    let text = loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let length = text.to_lowercase();
        let length = length.split("content-length: ").nth(1);
        let length = length.and_then(|rest| rest.lines().next()?.parse::<usize>().ok());

        match text.find("\r\n\r\n") {
            Some(end) if text.len() >= end + 4 + length.unwrap_or(0) => break text,
            _ => {}
        }

        if !matches!(socket.read_buf(&mut bytes).await, Ok(1..)) {
            return;
        }
    };
    recorded.lock().unwrap().push(text.clone());

    let (pieces, then) = match answers(&text) {
        Reply::Pieces(pieces) => (pieces, None),
        Reply::Hang(bytes) => (vec![bytes], Some(vec![])),
        Reply::Endless(bytes, again) => (vec![bytes], Some(again)),
    };

    for piece in pieces {
        if socket.write_all(&piece).await.is_err() {
            return;
        }
        tokio::task::yield_now().await;
    }

    match then {
        None => drop(socket.shutdown().await),
        Some(again) if again.is_empty() => drop(socket.read_buf(&mut bytes).await),
        Some(again) => while socket.write_all(&again).await.is_ok() {},
    }
}

/// A resolver that gives these answers in turn, and repeats the last.
pub(crate) struct ChangingResolver {
    answers: Vec<Vec<IpAddr>>,
    asked: AtomicUsize,
}

impl ChangingResolver {
    pub(crate) fn new(answers: &[&[&str]]) -> Arc<Self> {
        let parsed = |addresses: &&[&str]| {
            let addresses = addresses.iter();
            addresses.map(|address| address.parse().unwrap()).collect()
        };
        Arc::new(Self {
            answers: answers.iter().map(parsed).collect(),
            asked: AtomicUsize::new(0),
        })
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Resolver for ChangingResolver {
    fn resolve(&self, _: &str) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> {
        let at = self.asked.fetch_add(1, Ordering::SeqCst);
        let found = self.answers.get(at).or_else(|| self.answers.last());
        let found = found.cloned().unwrap_or_default();
        Box::pin(std::future::ready(Ok(found)))
    }
}

/// A client that resolves every name to this machine, and treats these hosts as private.
pub(crate) fn client(private: &[String], secrets: Secrets) -> Guarded {
    let options = HttpOptions::new().resolver(ChangingResolver::new(&[&["127.0.0.1"]]));
    client_with(options, private, secrets)
}

pub(crate) fn client_with(options: HttpOptions, private: &[String], secrets: Secrets) -> Guarded {
    let private = HostPatterns::new(private).unwrap();
    Guarded::new(options.private(private), secrets, SystemClock::shared())
}
