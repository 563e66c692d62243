//! A service on loopback that answers as a test says, one request a connection, and keeps what
//! it was asked.

use lastword::model::{Models, ModelsConfig, ServiceConfig};
use serde_json::Value;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A request as it came.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// `POST /v1/messages`, without the query.
    pub(super) line: String,
    /// Its body, if that is JSON.
    pub(super) body: Value,
}

impl Asked {
    /// Whether it asks for a completion, and not about a model.
    pub(super) fn is_for_completion(&self) -> bool {
        let ends = [
            "/chat/completions",
            "/messages",
            ":streamGenerateContent",
            "/api/chat",
        ];
        self.line.starts_with("POST ") && ends.iter().any(|end| self.line.ends_with(end))
    }
}

/// What is sent back: a head and pieces, between which the connection is flushed.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) content_type: String,
    /// Whole lines.
    pub(super) headers: Vec<String>,
    pub(super) pieces: Vec<Piece>,
}

#[derive(Clone, Debug)]
pub(super) enum Piece {
    Bytes(Vec<u8>),
    /// So much of the host's time passes.
    Pause(Duration),
}

impl Answer {
    /// A whole answer of status 200.
    pub(super) fn ok(content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status: 200,
            content_type: content_type.to_owned(),
            pieces: vec![Piece::Bytes(body.into())],
            ..Self::default()
        }
    }

    /// A refusal.
    pub(super) fn refusal(status: u16, body: &Value) -> Self {
        Self {
            status,
            ..Self::ok("application/json", body.to_string())
        }
    }
}

/// How time passes between two pieces.
pub(super) trait Pause: Clone + Send + Sync + 'static {
    /// How often the host began to wait until now.
    fn begun(&self) -> usize;

    /// Lets time pass once the host has begun to wait so often: it has seen what came before.
    fn pass(&self, length: Duration, begun: usize) -> impl Future<Output = ()> + Send;
}

/// No time passes.
impl Pause for () {
    fn begun(&self) -> usize {
        0
    }

    async fn pass(&self, _: Duration, _: usize) {}
}

/// The service; it stops when dropped.
pub(super) struct Service {
    pub(super) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: JoinHandle<()>,
}

impl Service {
    /// Serves what `answer` says to each request; `pause` lets time pass.
    pub(super) async fn serve(
        answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static,
        pause: impl Pause,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let (kept, answer) = (Arc::clone(&asked), Arc::new(answer));
        let task = tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.expect("a connection");
                let (kept, answer, pause) = (Arc::clone(&kept), Arc::clone(&answer), pause.clone());
                tokio::spawn(async move {
                    let _client_went_away = talk(socket, &kept, &*answer, &pause).await;
                });
            }
        });
        Self { url, asked, task }
    }

    /// The requests for completions so far.
    pub(super) fn completions(&self) -> Vec<Asked> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let completions = asked.iter().filter(|asked| asked.is_for_completion());
        completions.cloned().collect()
    }
}

/// The model `m` of a service on this wire, whose table is this one at that address.
pub(super) fn model(wire: &str, url: &str, table: ServiceConfig) -> Models {
    let table = ServiceConfig {
        base_url: Some(url.to_owned()),
        api_key_env: Some("LASTWORD_NO_SUCH_KEY".to_owned()),
        ..table
    };
    let mut config = ModelsConfig::default();
    match wire {
        "openai" => config.openai = table,
        "anthropic" => config.anthropic = table,
        "gemini" => config.gemini = table,
        _ => config.ollama = table,
    }
    let models = Models::with_config(&config).expect("an address");
    models.model(&format!("{wire}:m")).expect("a model")
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn talk(
    mut socket: TcpStream,
    kept: &Mutex<Vec<Asked>>,
    answer: &(impl Fn(&Asked) -> Answer + Send + Sync),
    pause: &impl Pause,
) -> std::io::Result<()> {
    let Some(asked) = read(&mut socket).await? else {
        return Ok(());
    };
    kept.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(asked.clone());
    let answer = answer(&asked);
    let begun = pause.begun();
    let headers: String = answer
        .headers
        .iter()
        .map(|line| format!("{line}\r\n"))
        .collect();
    let head = format!(
        "HTTP/1.1 {} Answer\r\ncontent-type: {}\r\n{headers}connection: close\r\n\r\n",
        answer.status, answer.content_type
    );
    socket.write_all(head.as_bytes()).await?;
    let mut pauses = 0;
    for piece in answer.pieces {
        match piece {
            Piece::Bytes(bytes) => socket.write_all(&bytes).await?,
            Piece::Pause(length) => {
                pauses += 1;
                pause.pass(length, begun + pauses).await;
            }
        }
        socket.flush().await?;
    }
    socket.shutdown().await
}

async fn read(socket: &mut TcpStream) -> std::io::Result<Option<Asked>> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if socket.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    });
    let length: usize = length.unwrap_or(0);
    while bytes.len() < head + length {
        if socket.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
    let line = text.lines().next().unwrap_or_default();
    let line = line.split(['?']).next().unwrap_or_default();
    Ok(Some(Asked {
        line: line.trim_end_matches(" HTTP/1.1").to_owned(),
        body: serde_json::from_slice(&bytes[head..]).unwrap_or(Value::Null),
    }))
}
