//! The client: sends a request, reads its response, and repeats it if that is safe. `requests.rs`
//! has a method for each request, and `events.rs` the streams.

use crate::api::problem::MEDIA_TYPE;
use crate::api::{PageView, Problem};
use crate::builder::{ClientBuilder, Settings};
use crate::transport::{BodyStream, Transport, TransportError};
use crate::{ClientError, Refusal};
use bytes::{Bytes, BytesMut};
use futures_util::stream::StreamExt;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request, Response, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The pause before a request is sent for the second time. It grows with each repetition.
const BETWEEN_TRIES: Duration = Duration::from_millis(250);
/// The largest number of entries in a page.
const PAGE: u32 = 200;
/// The characters that are escaped in a segment of a path or a query.
const PIECE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// A client of one server. Cheap to clone. For its use, see the [documentation of the
/// crate](crate).
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    transport: Arc<dyn Transport>,
    base: String,
    name: String,
    token: Option<String>,
    settings: Settings,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Client");
        shown
            .field("server", &self.inner.name)
            .finish_non_exhaustive()
    }
}

/// One request.
pub(crate) struct Call {
    method: Method,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
    is_large: bool,
}

impl Call {
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            headers: Vec::new(),
            body: Bytes::new(),
            is_large: false,
        }
    }

    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub(crate) fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path)
    }

    pub(crate) fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Adds a JSON body. Types of the API can always be serialized.
    pub(crate) fn json(mut self, body: &impl Serialize) -> Self {
        self.body = serde_json::to_vec(body).unwrap_or_default().into();
        self.header("content-type", "application/json")
    }

    /// Adds a body of bytes.
    pub(crate) fn bytes(mut self, media_type: &'static str, bytes: impl Into<Bytes>) -> Self {
        self.body = bytes.into();
        self.large().header("content-type", media_type)
    }

    /// Marks the request as large: it may take longer to send and to process.
    pub(crate) fn large(mut self) -> Self {
        self.is_large = true;
        self
    }
}

impl Client {
    /// Returns a builder.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    pub(crate) fn new(
        transport: Arc<dyn Transport>,
        base: String,
        name: String,
        token: Option<String>,
        settings: Settings,
    ) -> Self {
        let inner = Inner {
            transport,
            base,
            name,
            token,
            settings,
        };

        Self {
            inner: Arc::new(inner),
        }
    }

    /// Returns the server's name for people: its address, the path of its socket, or the given
    /// name.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.inner.name
    }

    pub(crate) fn connections(&self) -> u32 {
        self.inner.settings.connections
    }

    /// Sends a request, and parses the JSON of its response.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, call: Call) -> Result<T, ClientError> {
        let body = self.download(call).await?;
        self.read(&body)
    }

    /// Sends a request whose response has no body.
    pub(crate) async fn tell(&self, call: Call) -> Result<(), ClientError> {
        self.download(call).await.map(drop)
    }

    /// Sends a request, and returns the bytes of its response.
    pub(crate) async fn download(&self, call: Call) -> Result<Bytes, ClientError> {
        let (status, is_problem, body) = self.exchange(call).await?;
        if status.is_success() {
            return Ok(body);
        }
        Err(self.not_done(status, is_problem, &body))
    }

    /// Sends a request with an idempotency key, and repeats it until there is a response: the host
    /// recognizes a repeated request by its key.
    pub(crate) async fn ask_with_key<T: DeserializeOwned>(
        &self,
        key: &str,
        call: impl Fn() -> Call,
    ) -> Result<T, ClientError> {
        let Settings {
            tries: tries_max,
            succession,
            ..
        } = self.inner.settings;
        let mut tries = 1;
        loop {
            let call = call().header("idempotency-key", key).large();
            match self.ask(call).await {
                // The caller asks the next owner of the data, which knows the key.
                Err(error) if succession && error.is_leaving() => return Err(error),
                Err(error) if error.is_retryable() && tries < tries_max => tries += 1,
                answer => return answer,
            }
            tokio::time::sleep(BETWEEN_TRIES * tries).await;
        }
    }

    /// Reads all pages of a list, and returns them as one.
    pub(crate) async fn all<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<PageView<T>, ClientError> {
        let mut whole = PageView::whole(Vec::new());
        loop {
            let after = whole.next.take();
            let after = after.map(|after| format!("&after={}", piece(&after)));
            let path = format!("{path}?limit={PAGE}{}", after.unwrap_or_default());
            let page: PageView<T> = self.ask(Call::get(path)).await?;
            whole.items.extend(page.items);
            for damage in page.damaged {
                if !whole.damaged.contains(&damage) {
                    whole.damaged.push(damage);
                }
            }
            whole.next = page.next;
            if whole.next.is_none() {
                return Ok(whole);
            }
        }
    }

    /// Sends a request, and returns its response with any status.
    pub(crate) async fn exchange(
        &self,
        call: Call,
    ) -> Result<(StatusCode, bool, Bytes), ClientError> {
        let settings = self.inner.settings;
        let bound = if call.is_large {
            settings.upload
        } else {
            settings.answer
        };

        within(bound, async {
            let response = self.send(call).await?;
            let (status, is_problem) = (response.status(), is_problem(&response));
            let body = whole(response.into_body()).await;
            let body = body.map_err(|error| self.unreachable(error.to_string(), false))?;
            Ok((status, is_problem, body))
        })
        .await
        .unwrap_or_else(|| Err(self.does_not_answer()))
    }

    /// Opens a stream. Only the wait for its beginning has a time limit.
    pub(crate) async fn open(&self, call: Call) -> Result<BodyStream, ClientError> {
        let opened = within(self.inner.settings.answer, async {
            let response = self.send(call).await?;
            let status = response.status();
            if status.is_success() {
                return Ok(response.into_body());
            }
            let is_problem = is_problem(&response);
            let body = whole(response.into_body()).await.unwrap_or_default();
            Err(self.not_done(status, is_problem, &body))
        });
        opened.await.unwrap_or_else(|| Err(self.does_not_answer()))
    }

    async fn send(&self, call: Call) -> Result<Response<BodyStream>, ClientError> {
        let inner = &*self.inner;
        let uri = format!("{}{}", inner.base, call.path);
        // A repeated DELETE would fail, since the first one may have deleted the thing.
        let repeatable = call.method != Method::DELETE;
        let mut request = Request::builder().method(call.method).uri(uri);
        for (name, value) in call.headers {
            request = request.header(name, value);
        }

        if let Some(token) = &inner.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }

        let request = request.body(call.body);
        let request = request.map_err(|error| self.unreachable(error.to_string(), true))?;

        let response = inner.transport.send(request).await;
        response.map_err(|TransportError { reason, unsent }| {
            self.unreachable(reason, repeatable || unsent)
        })
    }

    fn not_done(&self, status: StatusCode, is_problem: bool, body: &[u8]) -> ClientError {
        let problem = serde_json::from_slice(body).ok().filter(|_| is_problem);
        match problem {
            Some(problem) => self.refused(problem),
            None => self.foreign(format!("it answered {status}")),
        }
    }

    pub(crate) fn read<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, ClientError> {
        let read = serde_json::from_slice(body);
        read.map_err(|error| self.foreign(format!("its answer is not understood: {error}")))
    }

    pub(crate) fn refused(&self, problem: Problem) -> ClientError {
        ClientError::Refused(Box::new(Refusal {
            address: self.inner.name.clone(),
            problem,
        }))
    }

    pub(crate) fn unreachable(&self, reason: impl Into<String>, repeatable: bool) -> ClientError {
        ClientError::Unreachable {
            address: self.inner.name.clone(),
            reason: reason.into(),
            repeatable,
        }
    }

    fn does_not_answer(&self) -> ClientError {
        self.unreachable("it does not answer", false)
    }

    fn foreign(&self, reason: String) -> ClientError {
        ClientError::Foreign {
            address: self.inner.name.clone(),
            reason,
        }
    }
}

/// Escapes a text as one segment of a path or a query.
pub(crate) fn piece(text: &str) -> String {
    utf8_percent_encode(text, PIECE).to_string()
}

fn is_problem<T>(response: &Response<T>) -> bool {
    let kind = response.headers().get(CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(MEDIA_TYPE.as_bytes()))
}

/// Reads a body to its end.
async fn whole(mut body: BodyStream) -> std::io::Result<Bytes> {
    let Some(first) = body.next().await.transpose()? else {
        return Ok(Bytes::new());
    };

    let Some(second) = body.next().await.transpose()? else {
        return Ok(first);
    };

    let mut bytes = BytesMut::from(first);
    bytes.extend_from_slice(&second);
    while let Some(piece) = body.next().await.transpose()? {
        bytes.extend_from_slice(&piece);
    }

    Ok(bytes.freeze())
}

/// Returns the result of the work; `None` if it does not complete in time.
async fn within<T>(bound: Option<Duration>, work: impl Future<Output = T>) -> Option<T> {
    match bound {
        Some(bound) => tokio::time::timeout(bound, work).await.ok(),
        None => Some(work.await),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped() {
        assert_eq!(piece("a b/ü&-_.~"), "a%20b%2F%C3%BC%26-_.~");
    }
}
