//! Speaks to a lastword server: addresses, the token, requests and their refusals. Knows HTTP and
//! the names of errors; does not know what the requests are for.

mod error;
mod feed;
mod types;

pub(crate) use error::CallError;
pub(crate) use feed::Feed;
pub(crate) use types::{AgentView, AnsweredView, Page, RunListed, RunView, WorkspaceView};

use crate::failure::Failure;
use crate::place::Holder;
use error::Refusal;
use lastword_server::Token;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::error::Error;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long a server may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// How long it may take to answer; a run that is stopped may have a grace.
const ANSWER: Duration = Duration::from_secs(120);
/// The same for what may be large: an agent, which is also compiled before it is answered, and a
/// prompt with files.
const UPLOAD: Duration = Duration::from_secs(600);
/// How often a request that begins a run is sent when its answer is lost.
const TRIES: u32 = 4;
const BETWEEN_TRIES: Duration = Duration::from_millis(250);
/// Bytes of the longest path that fits into a socket's address.
const SOCKET_PATH_MAX: usize = 100;
const PROBLEM: &str = "application/problem+json";

/// A server, and how to get at it. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    http: Client,
    base: String,
    token: Option<String>,
    /// As people know it.
    place: String,
    /// Who owns the data directory whose socket this is, unless that is this process.
    holder: Option<Holder>,
    /// The socket's directory, if the client goes through its descriptor.
    _directory: Option<Arc<File>>,
}

impl Api {
    /// The server at an address. Without a token of its own it gets the one in `own`, but only
    /// if it is on this machine: no other server may learn it.
    pub(crate) fn at(
        address: &str,
        token: Option<String>,
        own: impl FnOnce() -> Result<Option<String>, Failure>,
    ) -> Result<Self, Failure> {
        let wrong = |why: &str| {
            Failure::usage(format!(
                "`{address}` is no address of a lastword server: {why}; write \
                 `--server http://127.0.0.1:8020`"
            ))
        };
        let url = Url::parse(address).map_err(|error| wrong(&error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(wrong(
                "it must begin with http:// or https:// and name a host",
            ));
        }
        let local = is_loopback(&url);
        let token = match token {
            None if local => own()?,
            given => given,
        };
        let mut builder = builder();
        if local {
            builder = builder.no_proxy();
        }
        Ok(Self {
            http: built(builder)?,
            base: format!("{}/v1", address.trim_end_matches('/')),
            token,
            place: address.to_owned(),
            holder: None,
            _directory: None,
        })
    }

    /// The server behind a unix socket, however long its path is.
    pub(crate) fn behind(socket: &Path, holder: Option<Holder>) -> Result<Self, Failure> {
        use std::os::fd::AsRawFd;
        let (mut path, mut directory) = (socket.to_owned(), None);
        if socket.as_os_str().len() > SOCKET_PATH_MAX
            && let (Some(folder), Some(name)) = (socket.parent(), socket.file_name())
        {
            let opened = File::open(folder).map_err(|error| {
                Failure::usage(format!("cannot open {}: {error}", folder.display()))
            })?;
            path = Path::new(&format!("/proc/self/fd/{}", opened.as_raw_fd())).join(name);
            directory = Some(Arc::new(opened));
        }
        Ok(Self {
            http: built(builder().no_proxy().unix_socket(path))?,
            base: "http://localhost/v1".to_owned(),
            token: None,
            place: socket.display().to_string(),
            holder,
            _directory: directory,
        })
    }

    /// As people know the server.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// Who owns the data directory whose socket this is, unless that is this process.
    pub(crate) fn holder(&self) -> Option<&Holder> {
        self.holder.as_ref()
    }

    /// Whether it answers that it takes nothing new.
    pub(crate) async fn is_closing(&self) -> bool {
        let health = self.request(Method::GET, "/health").send().await;
        health.is_ok_and(|answer| answer.status() == StatusCode::SERVICE_UNAVAILABLE)
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CallError> {
        let response = self.send(self.request(Method::GET, path)).await?;
        self.read(response).await
    }

    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, CallError> {
        let request = self.request(Method::POST, path).json(body);
        let response = self.send(request).await?;
        self.read(response).await
    }

    /// A prompt, which may be sent again: the key says that it is the same.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        key: &str,
    ) -> Result<T, CallError> {
        let request = self.request(Method::POST, path).json(body);
        let request = request.header("idempotency-key", key);
        let response = self.send(request.timeout(UPLOAD)).await?;
        self.read(response).await
    }

    pub(crate) async fn patch<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, CallError> {
        let request = self.request(Method::PATCH, path).json(body);
        let response = self.send(request).await?;
        self.read(response).await
    }

    /// Deletes what answers with a value.
    pub(crate) async fn take<T: DeserializeOwned>(&self, path: &str) -> Result<T, CallError> {
        let response = self.send(self.request(Method::DELETE, path)).await?;
        self.read(response).await
    }

    /// Deletes what answers with nothing.
    pub(crate) async fn delete(&self, path: &str) -> Result<(), CallError> {
        self.send(self.request(Method::DELETE, path))
            .await
            .map(drop)
    }

    /// Sends a component.
    pub(crate) async fn upload<T: DeserializeOwned>(
        &self,
        path: &str,
        wasm: Vec<u8>,
    ) -> Result<T, CallError> {
        let request = self.request(Method::POST, path);
        let request = request.header(CONTENT_TYPE, "application/wasm").body(wasm);
        let response = self.send(request.timeout(UPLOAD)).await?;
        self.read(response).await
    }

    /// All pages of a list.
    pub(crate) async fn all<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, CallError> {
        let mut items = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let cursor = after.map(|after| format!("&after={}", escaped(&after)));
            let path = format!("{path}?limit=200{}", cursor.unwrap_or_default());
            let page: Page<T> = self.get(&path).await?;
            items.extend(page.items);
            after = page.next;
            if after.is_none() {
                return Ok(items);
            }
        }
    }

    /// A stream of events; it has no end in time.
    async fn open(&self, path: &str, last: Option<u64>) -> Result<Response, CallError> {
        let mut request = self.raw(Method::GET, path);
        if let Some(last) = last {
            request = request.header("last-event-id", last.to_string());
        }
        let answer = tokio::time::timeout(ANSWER, self.send(request)).await;
        answer.unwrap_or_else(|_| Err(self.unreachable("it does not answer", false)))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.raw(method, path).timeout(ANSWER)
    }

    fn raw(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, CallError> {
        let (http, request) = request.build_split();
        let request = request.map_err(|error| self.broke(&error, false))?;
        // What deletes is missed when it is asked for twice.
        let again = *request.method() != Method::DELETE;
        let response = http.execute(request).await;
        let response = response.map_err(|error| self.broke(&error, again))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let kind = response.headers().get(CONTENT_TYPE);
        let is_problem = kind.is_some_and(|kind| kind.as_bytes().starts_with(PROBLEM.as_bytes()));
        let body = response.bytes().await.unwrap_or_default();
        let body: Option<Value> = serde_json::from_slice(&body).ok().filter(|_| is_problem);
        let Some(body) = body else {
            return Err(self.foreign(format!("it answered {status}")));
        };
        let text = |member: &str| body[member].as_str().unwrap_or_default().to_owned();
        Err(CallError::Refused(Box::new(Refusal {
            name: text("name"),
            status: status.as_u16(),
            detail: text("detail"),
            answer: serde_json::from_value(body["answer"].clone()).ok(),
            place: self.place.clone(),
        })))
    }

    async fn read<T: DeserializeOwned>(&self, response: Response) -> Result<T, CallError> {
        let bytes = response.bytes().await;
        let bytes = bytes.map_err(|error| self.broke(&error, false))?;
        let read = serde_json::from_slice(&bytes);
        read.map_err(|error| self.foreign(format!("its answer is not understood: {error}")))
    }

    fn broke(&self, error: &reqwest::Error, again: bool) -> CallError {
        let mut why: &dyn Error = error;
        while let Some(source) = why.source() {
            why = source;
        }
        if error.is_timeout() {
            return self.unreachable("it does not answer", false);
        }
        self.unreachable(&why.to_string(), again || error.is_connect())
    }

    fn unreachable(&self, why: &str, again: bool) -> CallError {
        CallError::Unreachable {
            place: self.place.clone(),
            why: why.to_owned(),
            again,
        }
    }

    fn foreign(&self, what: String) -> CallError {
        CallError::Foreign {
            place: self.place.clone(),
            what,
        }
    }
}

/// Sends what begins a run, until there is an answer: the key lets the host know the same request
/// again.
pub(crate) async fn ask<T: DeserializeOwned>(
    api: &Api,
    path: &str,
    body: &impl Serialize,
    key: &str,
) -> Result<T, CallError> {
    let mut tries = 1;
    loop {
        match api.ask(path, body, key).await {
            // The next owner of the directory knows what became of it.
            Err(error) if api.holder().is_some() && error.is_leaving() => return Err(error),
            Err(error) if error.is_passing() && tries < TRIES => tries += 1,
            answer => return answer,
        }
        tokio::time::sleep(BETWEEN_TRIES * tries).await;
    }
}

/// The token for a server: of the file that was named, or of the environment.
pub(crate) fn token(file: Option<&Path>) -> Result<Option<String>, Failure> {
    if let Some(file) = file {
        return read(file).map(Some);
    }
    let token = std::env::var("LASTWORD_TOKEN").ok();
    Ok(token
        .map(|token| token.trim().to_owned())
        .filter(|token| !token.is_empty()))
}

/// The token that a server on this machine has made, if there is one.
pub(crate) fn own_token(file: &Path) -> Result<Option<String>, Failure> {
    match file.exists() {
        true => read(file).map(Some),
        false => Ok(None),
    }
}

fn read(file: &Path) -> Result<String, Failure> {
    let token = Token::read(file).map_err(|error| Failure::usage(error.to_string()))?;
    Ok(token.as_str().to_owned())
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let address = host.parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn builder() -> reqwest::ClientBuilder {
    install_tls();
    Client::builder()
        .connect_timeout(CONNECT)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("lastword/", env!("CARGO_PKG_VERSION")))
}

fn built(builder: reqwest::ClientBuilder) -> Result<Client, Failure> {
    let failed = |error| Failure::failed(format!("cannot make an HTTP client: {error}"));
    builder.build().map_err(failed)
}

/// Gives HTTPS its cryptography.
pub(crate) fn install_tls() {
    let _installed_already = rustls::crypto::ring::default_provider().install_default();
}

/// A text as one piece of a path or a query.
pub(crate) fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let escape = |byte: u8| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_learns_its_own_token() {
        let own = || Ok(Some("own".to_owned()));
        for (address, token) in [
            ("http://127.0.0.1:8020", Some("own")),
            ("http://[::1]:8020/", Some("own")),
            ("http://localhost:1", Some("own")),
            ("https://example.org", None),
            ("http://127.0.0.1.example.org", None),
        ] {
            let api = Api::at(address, None, own).unwrap();
            assert_eq!(api.token.as_deref(), token, "{address}");
        }
        let given = Api::at("https://example.org", Some("t".to_owned()), own).unwrap();
        assert_eq!(given.token.as_deref(), Some("t"));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for address in [
            "",
            "127.0.0.1:8020",
            "ftp://127.0.0.1",
            "http://",
            "unix:/tmp/s",
        ] {
            assert!(Api::at(address, None, || Ok(None)).is_err(), "{address}");
        }
    }

    #[test]
    fn names_are_escaped() {
        assert_eq!(escaped("a b/ü&"), "a%20b%2F%C3%BC%26");
    }
}
