//! The requests to a server over HTTP. What it answers is read leniently, and shown if it
//! refuses; a session that it no longer knows is told from a call that it does not want.
//! Knows neither TLS nor authorization nor when to try again.

use super::decode::{Decoder, MESSAGE_MAX, Received};
use super::events::{events, given};
use super::lines::Window;
use super::skim::Skim;
use super::text::{causes, prefix};
use http::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};
use lastword_providers::model::{Client, RequestBuilder, Response};
use rmcp::model::{
    ClientJsonRpcMessage, ClientRequest, ErrorData, JsonRpcMessage, NumberOrString, RequestId,
};
use rmcp::transport::common::client_side_sse::BoxedSseResponse;
use rmcp::transport::streamable_http_client::{
    AuthRequiredError, InsufficientScopeError, StreamableHttpClient, StreamableHttpError,
    StreamableHttpPostResponse,
};
use serde::Deserialize as _;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";
const SESSION: &str = "mcp-session-id";
const LAST_EVENT: &str = "last-event-id";
/// Bytes of a refusal that are read.
const REFUSAL_MAX: usize = 64 * 1024;
/// Bytes of it that are shown.
const WORDS_MAX: usize = 1024;

/// The client of one connection.
#[derive(Clone)]
pub(super) struct HttpClient {
    client: Client,
    decoder: Arc<Decoder>,
    window: Option<Window>,
    /// The session in which a request was answered last.
    proven: Arc<Mutex<Option<Arc<str>>>>,
}

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    /// There was no answer.
    #[error("{0}")]
    Unreachable(String),
    /// The server refused it, or failed.
    #[error("{words}")]
    Refused {
        /// Its status.
        status: StatusCode,
        /// The status and its own words, without secrets.
        words: String,
        /// When it is to be asked again, in the form of the header.
        retry_after: Option<String>,
    },
}

/// The failure of a request, as the library takes it.
pub(super) type Failed = StreamableHttpError<HttpError>;
type Posted = Result<StreamableHttpPostResponse, Failed>;
type Headers = HashMap<HeaderName, HeaderValue>;

impl HttpClient {
    pub(super) fn new(client: Client, decoder: Arc<Decoder>) -> Self {
        Self {
            client,
            decoder,
            window: None,
            proven: Arc::default(),
        }
    }

    /// The same client for another connection.
    pub(super) fn of(self, decoder: Arc<Decoder>, window: Option<Window>) -> Self {
        Self {
            window,
            ..Self::new(self.client, decoder)
        }
    }
}

impl StreamableHttpClient for HttpClient {
    type Error = HttpError;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        token: Option<String>,
        headers: Headers,
    ) -> Posted {
        self.decoder.sent(&message);
        let id = match &message {
            JsonRpcMessage::Request(request) => Some(request.id.clone()),
            _ => None,
        };

        let probe = self
            .window
            .as_ref()
            .zip(id.clone())
            .filter(|_| probes(&message));

        let post = self.post(&uri, &message, id.as_ref(), session, token, headers);
        let posted = match probe {
            Some((window, id)) => tokio::select! {
                posted = post => posted,
                () = window.over() => {
                    let silent = self.decoder.give_up_probe(id);
                    return Ok(StreamableHttpPostResponse::Json(silent, None));
                }
            },
            None => post.await,
        };

        if let (Err(_), Some(id)) = (&posted, &id) {
            self.decoder.forget(id);
        }

        posted
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session: Arc<str>,
        token: Option<String>,
        headers: Headers,
    ) -> Result<(), Failed> {
        let request = self.client.delete(&*uri).headers(all(headers));
        let request = request.header(SESSION, &*session);
        let response = sent(authorized(request, token)).await?;
        match response.status() {
            StatusCode::METHOD_NOT_ALLOWED => Ok(()),
            status if status.is_success() => Ok(()),
            _ => Err(self.refusal(response).await.into()),
        }
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session: Option<Arc<str>>,
        last: Option<String>,
        token: Option<String>,
        headers: Headers,
    ) -> Result<BoxedSseResponse, Failed> {
        let mut request = self.client.get(&*uri).headers(all(headers));
        request = request.header(ACCEPT, format!("{EVENTS}, {JSON}"));

        for (name, value) in [(SESSION, session.as_deref()), (LAST_EVENT, last.as_deref())] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }

        let response = sent(authorized(request, token)).await?;
        challenge(&response)?;

        match response.status() {
            StatusCode::METHOD_NOT_ALLOWED => Err(StreamableHttpError::ServerDoesNotSupportSse),
            status if !status.is_success() => Err(self.refusal(response).await.into()),
            _ if is(&response, EVENTS) => Ok(events(response.bytes_stream(), &self.decoder, None)),
            _ => Err(StreamableHttpError::UnexpectedContentType(kind(&response))),
        }
    }
}

impl HttpClient {
    async fn post(
        &self,
        uri: &str,
        message: &ClientJsonRpcMessage,
        id: Option<&RequestId>,
        session: Option<Arc<str>>,
        token: Option<String>,
        headers: Headers,
    ) -> Posted {
        let mut request = self.client.post(uri).headers(all(headers));
        request = request.header(ACCEPT, format!("{JSON}, {EVENTS}"));
        request = request.header(CONTENT_TYPE, JSON);

        if let Some(session) = &session {
            request = request.header(SESSION, &**session);
        }

        let body = serde_json::to_vec(message)?;
        let response = sent(authorized(request, token).body(body)).await?;
        challenge(&response)?;

        let status = response.status();
        if !status.is_success() {
            return self.refused(response, message, id, session).await;
        }

        let Some(id) = id else {
            // It is owed no answer.
            return Ok(StreamableHttpPostResponse::Accepted);
        };

        if matches!(status, StatusCode::ACCEPTED | StatusCode::NO_CONTENT) {
            return Ok(StreamableHttpPostResponse::Accepted);
        }

        let opened = response
            .headers()
            .get(SESSION)
            .and_then(|id| id.to_str().ok());
        let opened = opened.map(str::to_owned);

        if is(&response, EVENTS) {
            self.prove(session);
            let events = events(response.bytes_stream(), &self.decoder, Some(id.clone()));
            return Ok(StreamableHttpPostResponse::Sse(events, opened));
        }

        let answers = self.body(response, id).await?;
        if answers.iter().any(refuses_session) && self.is_proven(session.as_ref()) {
            return Err(StreamableHttpError::SessionExpired);
        }

        self.prove(session);
        Ok(posted(answers, opened))
    }

    /// The messages of an answer that is no stream. There is one for the request in any case.
    async fn body(&self, response: Response, id: &RequestId) -> Result<Vec<Received>, Failed> {
        let kind = kind(&response);
        let (body, is_whole) = read(response, MESSAGE_MAX).await?;

        let mut answers = if is_whole {
            self.decoder.decode(&body, Some(id))
        } else {
            let mut skim = Skim::default();
            skim.feed(&body);
            let why = format!("it is longer than {MESSAGE_MAX} bytes");
            let failed = self.decoder.unreadable(&skim, Some(id), &why);
            failed.into_iter().collect()
        };

        if self.decoder.is_pending(id) {
            let kind = kind.unwrap_or_else(|| "no type".to_owned());
            let why = format!("it is of {kind}, and no message: {}", self.shown(&body));
            answers.extend(self.decoder.unreadable(&Skim::default(), Some(id), &why));
        }

        Ok(answers)
    }

    /// What a status of failure comes to.
    async fn refused(
        &self,
        response: Response,
        message: &ClientJsonRpcMessage,
        id: Option<&RequestId>,
        session: Option<Arc<str>>,
    ) -> Posted {
        let status = response.status();
        if status == StatusCode::NOT_FOUND && session.is_some() {
            return Err(StreamableHttpError::SessionExpired);
        }

        let is_auth = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        let (refusal, body) = self.read_refusal(response).await;
        let answer = serde_json::from_slice::<Value>(&body).ok();
        let answer = answer.filter(|answer| answer["error"].is_object());

        // An error that names the request is about the request.
        let about_request = answer.as_ref().is_some_and(|answer| {
            let named = NumberOrString::deserialize(&answer["id"]).ok();
            named.is_some_and(|named| id.is_some_and(|id| named.to_string() == id.to_string()))
        });

        let names_session = names_session(&String::from_utf8_lossy(&body));
        let is_session = match status {
            StatusCode::BAD_REQUEST => names_session || !about_request,
            StatusCode::GONE => true,
            _ => false,
        };

        if is_session && self.is_proven(session.as_ref()) {
            return Err(StreamableHttpError::SessionExpired);
        }

        let Some(id) = id.filter(|_| !is_auth) else {
            return Err(refusal.into());
        };

        if let HttpError::Refused {
            words,
            retry_after: None,
            ..
        } = &refusal
            && status != StatusCode::TOO_MANY_REQUESTS
        {
            if answer.is_some() {
                let answers = self.decoder.decode(&body, Some(id));
                return Ok(posted(answers, None));
            }

            // A server that does not know the question is asked by the older protocol.
            if status.is_client_error() && session.is_none() && probes(message) {
                self.decoder.forget(id);
                let error = ErrorData::invalid_request(words.clone(), None);
                let error = JsonRpcMessage::error(error, Some(id.clone()));
                return Ok(StreamableHttpPostResponse::Json(error, None));
            }
        }

        Err(refusal.into())
    }

    async fn refusal(&self, response: Response) -> HttpError {
        self.read_refusal(response).await.0
    }

    /// A refusal in the server's own words, and its body.
    async fn read_refusal(&self, response: Response) -> (HttpError, Vec<u8>) {
        let status = response.status();
        let retry_after = response.headers().get(RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok());
        let retry_after = retry_after.map(str::to_owned);

        // Its status is known, whatever becomes of the rest.
        let body = read(response, REFUSAL_MAX).await;
        let body = body.map_or_else(|_cut| vec![], |(body, _)| body);
        let mut words = format!("HTTP {status}");
        let shown = self.shown(&body);

        if !shown.is_empty() {
            words.push_str(&format!(": {shown}"));
        }

        let refused = HttpError::Refused {
            status,
            words,
            retry_after,
        };
        (refused, body)
    }

    /// What may be shown of a body. A message in it says it best.
    fn shown(&self, body: &[u8]) -> String {
        let message = serde_json::from_slice::<Value>(body).ok();
        let message = message.and_then(|body| {
            let error = body.get("error")?;
            let message = error.get("message").unwrap_or(error);
            message.as_str().map(str::to_owned)
        });
        let text = message.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
        let text = self.decoder.redact(text.trim());

        prefix(&text, WORDS_MAX).to_owned()
    }

    /// Takes note that a request was answered in this session.
    fn prove(&self, session: Option<Arc<str>>) {
        *self.proven.lock().unwrap_or_else(PoisonError::into_inner) = session;
    }

    /// Whether a request was answered in this session. One that is refused in it from the
    /// beginning is refused for something else.
    fn is_proven(&self, session: Option<&Arc<str>>) -> bool {
        let proven = self.proven.lock().unwrap_or_else(PoisonError::into_inner);
        session.is_some() && proven.as_ref() == session
    }
}

impl From<HttpError> for Failed {
    fn from(error: HttpError) -> Self {
        Self::Client(error)
    }
}

/// Whether a text is about the session.
pub(super) fn names_session(text: &str) -> bool {
    text.to_ascii_lowercase().contains("session")
}

/// Whether an answer says that the session is not known: some servers do, instead of 404.
fn refuses_session(answer: &Received) -> bool {
    let JsonRpcMessage::Error(error) = answer else {
        return false;
    };
    matches!(error.error.code.0, -32_000 | -32_001) && names_session(&error.error.message)
}

fn probes(message: &ClientJsonRpcMessage) -> bool {
    let JsonRpcMessage::Request(request) = message else {
        return false;
    };
    matches!(request.request, ClientRequest::DiscoverRequest(_))
}

/// The answers as the library takes them.
fn posted(mut answers: Vec<Received>, session: Option<String>) -> StreamableHttpPostResponse {
    match (answers.len(), answers.pop()) {
        (1, Some(answer)) => StreamableHttpPostResponse::Json(answer, session),
        (_, last) => {
            answers.extend(last);
            StreamableHttpPostResponse::Sse(given(&answers), session)
        }
    }
}

fn all(headers: Headers) -> http::HeaderMap {
    headers.into_iter().collect()
}

fn authorized(request: RequestBuilder, token: Option<String>) -> RequestBuilder {
    match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    }
}

async fn sent(request: RequestBuilder) -> Result<Response, HttpError> {
    let unreachable = |error| HttpError::Unreachable(causes(&error));
    request.send().await.map_err(unreachable)
}

/// At most `max` bytes of the body, and whether that is all of it.
async fn read(mut response: Response, max: usize) -> Result<(Vec<u8>, bool), HttpError> {
    let mut body = Vec::new();

    loop {
        let chunk = response.chunk().await;
        match chunk.map_err(|error| HttpError::Unreachable(causes(&error)))? {
            Some(chunk) if body.len() + chunk.len() > max => {
                body.extend_from_slice(&chunk[..max - body.len()]);
                return Ok((body, false));
            }
            Some(chunk) => body.extend_from_slice(&chunk),
            None => return Ok((body, true)),
        }
    }
}

/// The challenge of a server that wants authorization, or more of it.
fn challenge(response: &Response) -> Result<(), Failed> {
    let Some(challenge) = response.headers().get(WWW_AUTHENTICATE) else {
        return Ok(());
    };
    let challenge = || String::from_utf8_lossy(challenge.as_bytes()).into_owned();

    match response.status() {
        StatusCode::UNAUTHORIZED => Err(StreamableHttpError::AuthRequired(AuthRequiredError::new(
            challenge(),
        ))),
        StatusCode::FORBIDDEN => Err(StreamableHttpError::InsufficientScope(
            InsufficientScopeError::new(challenge(), None),
        )),
        _ => Ok(()),
    }
}

fn kind(response: &Response) -> Option<String> {
    let kind = response.headers().get(CONTENT_TYPE)?;
    Some(String::from_utf8_lossy(kind.as_bytes()).into_owned())
}

fn is(response: &Response, expected: &str) -> bool {
    let kind = kind(response).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default();
    kind.trim().eq_ignore_ascii_case(expected)
}
