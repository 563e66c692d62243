//! A server on loopback that does whatever a client must survive, and keeps what it was asked;
//! and names that lead to it.

use crate::secrets::forms;
use futures_util::future::BoxFuture;
use lastword::http::Resolver;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// A server that does whatever a guest must survive.
pub(crate) struct Hostile {
    pub(crate) port: u16,
    /// How many connections came.
    met: Arc<AtomicUsize>,
    asked: Arc<watch::Sender<Vec<String>>>,
    /// How many clients have gone away.
    gone: watch::Receiver<usize>,
    task: JoinHandle<()>,
}

impl Hostile {
    pub(crate) async fn serve() -> Self {
        Self::at("127.0.0.1:0", None).await
    }

    /// Listens at an address of its own. With a certificate, it uses TLS with clients that begin
    /// with TLS.
    pub(crate) async fn at(address: &str, secure: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let met = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&met);
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(watch::Sender::new(Vec::new()));
        let (leave, gone) = watch::channel(0);
        let kept = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let (kept, leave) = (Arc::clone(&kept), leave.clone());
                let secure = secure.clone();
                drop(tokio::spawn(async move {
                    let _broken_off = welcome(socket, secure, &kept).await;
                    leave.send_modify(|gone| *gone += 1);
                }));
            }
        });
        Self {
            port,
            met,
            asked,
            gone,
            task,
        }
    }

    /// What it was asked so far: each request's line and headers.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.borrow().clone()
    }

    /// How many connections came, whatever they said.
    pub(crate) fn met(&self) -> usize {
        self.met.load(Ordering::SeqCst)
    }

    /// Waits until so many requests have come.
    pub(crate) async fn until_asked(&self, count: usize) {
        let mut asked = self.asked.subscribe();
        drop(asked.wait_for(|asked| asked.len() >= count).await.unwrap());
    }

    /// Waits until so many clients have gone away.
    pub(crate) fn gone(&self, count: usize) -> impl Future<Output = ()> + Send + use<> {
        let mut gone = self.gone.clone();
        async move { drop(gone.wait_for(|gone| *gone >= count).await.unwrap()) }
    }

    /// The server by a name that leads to it.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://a.example:{}{path}", self.port)
    }

    pub(crate) fn target(&self) -> String {
        format!("a.example:{}", self.port)
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What TLS begins with.
const HANDSHAKE: u8 = 22;

async fn welcome(
    socket: TcpStream,
    secure: Option<TlsAcceptor>,
    kept: &watch::Sender<Vec<String>>,
) -> std::io::Result<()> {
    let mut first = [0];
    socket.peek(&mut first).await?;
    match secure.filter(|_| first == [HANDSHAKE]) {
        Some(secure) => answer(secure.accept(socket).await?, kept).await,
        None => answer(socket, kept).await,
    }
}

async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
    mut socket: S,
    kept: &watch::Sender<Vec<String>>,
) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    let Some(head) = head(&mut socket, &mut bytes).await? else {
        return Ok(());
    };
    let path = head.split(' ').nth(1).unwrap_or_default();
    if path.starts_with("/v1/") {
        let whole = body(&mut socket, bytes).await?;
        kept.send_modify(|kept| kept.push(whole.clone()));
        let count = kept.borrow().len();
        return refuse(socket, &whole, count).await;
    }
    kept.send_modify(|kept| kept.push(head.clone()));
    let status = match path {
        "/redirect" => "302 Found\r\nlocation: http://127.0.0.1/",
        to if to.starts_with("/to?") => &format!("302 Found\r\nlocation: {}", &to[4..]),
        "/headers" => "200 OK\r\nx-first: 1",
        _ => "200 OK",
    };
    socket
        .write_all(format!("HTTP/1.1 {status}\r\n").as_bytes())
        .await?;
    if path == "/headers" {
        loop {
            socket.write_all(b"x-more: 0123456789\r\n").await?;
        }
    }
    let key = header(&head, "x-key: ");
    let echoes = match path {
        "/echo" => vec![key.to_owned()],
        "/forms" => forms::texts(key),
        _ => vec![],
    };
    for echo in &echoes {
        let echo = format!("x-echo: {echo}\r\n");
        socket.write_all(echo.as_bytes()).await?;
    }
    socket.write_all(b"connection: close\r\n\r\n").await?;
    let mut drip = tokio::time::interval(Duration::from_millis(20));
    match path {
        "/endless" => loop {
            socket.write_all(&[b'x'; 8192]).await?;
        },
        "/drip" => loop {
            drip.tick().await;
            socket.write_all(b"x").await?;
        },
        // Until the client goes.
        "/hold" => drop(socket.read_buf(&mut bytes).await?),
        "/forms" => {
            let text = echoes.join("\n");
            socket.write_all(text.as_bytes()).await?;
        }
        "/echo" => {
            for piece in head.as_bytes().chunks(5) {
                socket.write_all(piece).await?;
                tokio::task::yield_now().await;
            }
        }
        _ => socket.write_all(b"hello").await?,
    }
    socket.shutdown().await
}

fn header<'h>(head: &'h str, name: &str) -> &'h str {
    let mut lines = head.lines();
    lines
        .find_map(|line| line.strip_prefix(name))
        .unwrap_or_default()
}

/// A request's line and headers; none if the client goes first.
async fn head(
    socket: &mut (impl AsyncRead + Unpin),
    bytes: &mut Vec<u8>,
) -> std::io::Result<Option<String>> {
    loop {
        let text = String::from_utf8_lossy(bytes).into_owned();
        if text.contains("\r\n\r\n") {
            return Ok(Some(text));
        }
        if socket.read_buf(bytes).await? == 0 {
            return Ok(None);
        }
    }
}

/// A request with all of its body.
async fn body(
    socket: &mut (impl AsyncRead + Unpin),
    mut bytes: Vec<u8>,
) -> std::io::Result<String> {
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_default();
        let length = header(head, "content-length: ").parse().unwrap_or(0);
        if body.len() >= length || socket.read_buf(&mut bytes).await? == 0 {
            return Ok(text);
        }
    }
}

/// As a service of models that knows no such key, and quotes it in another form each time.
async fn refuse(
    mut socket: impl AsyncWrite + Unpin,
    asked: &str,
    count: usize,
) -> std::io::Result<()> {
    let forms = forms::texts(header(asked, "authorization: Bearer "));
    let message = format!("no such key: {}", forms[count % forms.len()]);
    let said = serde_json::json!({ "error": { "message": message } }).to_string();
    let head = "HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\nconnection: close";
    let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{said}", said.len());
    socket.write_all(answer.as_bytes()).await?;
    socket.shutdown().await
}

/// Every name leads to the first of these, then the next, and at last to this machine.
#[derive(Default)]
pub(crate) struct Names {
    pub(crate) first: Vec<IpAddr>,
    pub(crate) asked: AtomicUsize,
}

impl Resolver for Names {
    fn resolve(&self, _: &str) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst);
        let here = vec![IpAddr::from([127, 0, 0, 1])];
        let found = match asked {
            at if at < self.first.len() => vec![self.first[at]],
            _ => here,
        };
        Box::pin(std::future::ready(Ok(found)))
    }
}
