//! The port of this machine to which a browser is sent back after a person's consent, open while
//! `mcp.rs` waits for it. The library checks the result and gets the tokens.

use crate::failure::Failure;
use crate::terminal::Terminal;
use futures_util::future::BoxFuture;
use lastword::mcp::{Consent, ConsentRequest};
use lastword::text;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Bytes of a request's beginning.
const HEAD_MAX: usize = 16 << 10;
/// How long one request may take. Browsers open connections that they do not use.
const REQUEST_MAX: Duration = Duration::from_secs(20);
/// Connections at the same time.
const CONNECTIONS_MAX: usize = 16;
/// The page that a browser is sent back to.
const PAGE: &str = "/callback";

/// A port that listens on this machine alone.
pub(crate) struct Loopback {
    listener: Arc<TcpListener>,
    address: String,
    terminal: Terminal,
}

impl Loopback {
    /// Listens; 0 is a free port.
    pub(crate) async fn listen(port: u16, terminal: Terminal) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| {
            Failure::failed(format!(
                "cannot listen on port {port} of this machine: {error}; choose another with `--port`"
            ))
        };

        let listener = TcpListener::bind(("127.0.0.1", port)).await;
        let listener = listener.map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        Ok(Self {
            listener: Arc::new(listener),
            address: format!("http://127.0.0.1:{port}{PAGE}"),
            terminal,
        })
    }
}

impl Consent for Loopback {
    fn redirect_uri(&self) -> String {
        self.address.clone()
    }

    fn consent(&self, request: ConsentRequest) -> BoxFuture<'static, Result<String, String>> {
        let (listener, page) = (Arc::clone(&self.listener), self.address.clone());
        self.terminal.tell(&format!(
            "To let lastword use {} for you, open this in a browser on this machine:\n\n  {}\n",
            text::line(&request.server),
            text::line(&request.address)
        ));
        Box::pin(async move {
            let state = state_of(&request.address).ok_or("its address has no state")?;
            let query = wait(&listener, state).await?;
            Ok(format!("{page}?{query}"))
        })
    }
}

/// Returns the state that the authorization server has to send back. Requests without it are ignored.
fn state_of(address: &str) -> Option<&str> {
    let query = address.split_once('?')?.1;
    query
        .split('&')
        .find_map(|pair| pair.strip_prefix("state="))
}

/// Waits for the request with this state, and returns its query.
async fn wait(listener: &TcpListener, state: &str) -> Result<String, String> {
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if open.len() < CONNECTIONS_MAX => {
                let (stream, _) = accepted.map_err(|error| error.to_string())?;
                let answer = answer(stream, state.to_owned());
                open.spawn(tokio::time::timeout(REQUEST_MAX, answer));
            }
            Some(answered) = open.join_next() => {
                if let Ok(Ok(Ok(Some(query)))) = answered {
                    return Ok(query);
                }
            }
        }
    }
}

/// Serves one request, and returns its query if it has the expected state.
async fn answer(mut stream: TcpStream, state: String) -> std::io::Result<Option<String>> {
    let mut head = Vec::new();
    while !head.windows(2).any(|end| end == b"\r\n") && head.len() < HEAD_MAX {
        if stream.read_buf(&mut head).await? == 0 {
            break;
        }
    }

    let query = query_of(&String::from_utf8_lossy(&head), &state);
    let (status, text) = if query.is_some() {
        (
            "200 OK",
            "You can close this page and go back to the terminal.",
        )
    } else {
        ("404 Not Found", "Nobody waits for this page.")
    };

    let length = text.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{text}"
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    Ok(query)
}

fn query_of(head: &str, state: &str) -> Option<String> {
    let target = head.strip_prefix("GET ")?.split(' ').next()?;
    let query = target.strip_prefix(PAGE)?.strip_prefix('?')?;
    let meant = query
        .split('&')
        .any(|pair| pair.strip_prefix("state=") == Some(state));
    meant.then(|| query.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_request_that_is_waited_for_counts() {
        let query = |head: &str| query_of(head, "s1");
        let meant = "GET /callback?code=c&state=s1 HTTP/1.1\r\n";
        assert_eq!(query(meant).as_deref(), Some("code=c&state=s1"));
        for other in [
            "GET /callback?code=c&state=s2 HTTP/1.1\r\n",
            "GET /callback?code=c HTTP/1.1\r\n",
            "GET /favicon.ico?state=s1 HTTP/1.1\r\n",
            "POST /callback?state=s1 HTTP/1.1\r\n",
            "",
        ] {
            assert_eq!(query(other), None, "{other}");
        }
        let address = "https://as.example/authorize?a=b&state=s1&c=d";
        assert_eq!(state_of(address), Some("s1"));
    }
}
