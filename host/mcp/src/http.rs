//! The HTTP requests to a server, as `rmcp` asks for them. Responses are decoded leniently,
//! refusals are kept with their words, and an unknown session is told apart from a refused call.
//! Authorization and retries are decided elsewhere, by `rmcp` and [`session`](super::session).

use super::decode::{Decoder, MESSAGE_MAX, ServerMessage};
use super::events::{events, stream_of};
use super::lines::ProbeWindow;
use super::message_scan::MessageScan;
use super::text::prefix;
use http::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};
use lastword_providers::causes;
use lastword_providers::http::{Client, RequestBuilder, ServiceResponse as Response};
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
/// The largest number of bytes of a refusal's body that are read.
const REFUSAL_MAX: usize = 64 * 1024;
/// The largest number of bytes of a refusal's body that are shown.
const WORDS_MAX: usize = 1024;

/// The HTTP client of one connection.
#[derive(Clone)]
pub(super) struct HttpClient {
    client: Client,
    decoder: Arc<Decoder>,
    window: Option<ProbeWindow>,
    /// The session in which a request last succeeded.
    working_session: Arc<Mutex<Option<Arc<str>>>>,
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    /// There was no response.
    #[error("{0}")]
    Unreachable(String),
    /// The server refused the request, or failed.
    #[error("{words}")]
    Refused {
        /// Its status.
        status: StatusCode,
        /// The status and the server's own words, without secrets.
        words: String,
        /// The value of its `Retry-After` header.
        retry_after: Option<String>,
    },
}

/// The failure of a request, in the form that `rmcp` expects.
pub(super) type RequestFailure = StreamableHttpError<HttpError>;
type PostResult = Result<StreamableHttpPostResponse, RequestFailure>;
type Headers = HashMap<HeaderName, HeaderValue>;

impl HttpClient {
    pub(super) fn new(client: Client, decoder: Arc<Decoder>) -> Self {
        Self {
            client,
            decoder,
            window: None,
            working_session: Arc::default(),
        }
    }

    /// Returns this client for another connection.
    pub(super) fn for_connection(self, decoder: Arc<Decoder>, window: Option<ProbeWindow>) -> Self {
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
    ) -> PostResult {
        self.decoder.register(&message);
        let id = match &message {
            JsonRpcMessage::Request(request) => Some(request.id.clone()),
            _ => None,
        };

        let probe = self
            .window
            .as_ref()
            .zip(id.clone())
            .filter(|_| is_probe(&message));

        let post = self.post(&uri, &message, id.as_ref(), session, token, headers);
        let posted = match probe {
            Some((window, id)) => tokio::select! {
                posted = post => posted,
                () = window.expired() => {
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
    ) -> Result<(), RequestFailure> {
        let request = self.client.delete(&*uri).headers(header_map(headers));
        let request = request.header(SESSION, &*session);
        let response = send(authorized(request, token)).await?;
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
    ) -> Result<BoxedSseResponse, RequestFailure> {
        let mut request = self.client.get(&*uri).headers(header_map(headers));
        request = request.header(ACCEPT, format!("{EVENTS}, {JSON}"));

        for (name, value) in [(SESSION, session.as_deref()), (LAST_EVENT, last.as_deref())] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }

        let response = send(authorized(request, token)).await?;
        challenge(&response)?;

        match response.status() {
            StatusCode::METHOD_NOT_ALLOWED => Err(StreamableHttpError::ServerDoesNotSupportSse),
            status if !status.is_success() => Err(self.refusal(response).await.into()),
            _ if has_content_type(&response, EVENTS) => {
                Ok(events(response.bytes_stream(), &self.decoder, None))
            }
            _ => Err(StreamableHttpError::UnexpectedContentType(content_type(
                &response,
            ))),
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
    ) -> PostResult {
        let mut request = self.client.post(uri).headers(header_map(headers));
        request = request.header(ACCEPT, format!("{JSON}, {EVENTS}"));
        request = request.header(CONTENT_TYPE, JSON);

        if let Some(session) = &session {
            request = request.header(SESSION, &**session);
        }

        let body = serde_json::to_vec(message)?;
        let response = send(authorized(request, token).body(body)).await?;
        challenge(&response)?;

        let status = response.status();
        if !status.is_success() {
            return self.interpret_refusal(response, message, id, session).await;
        }

        let Some(id) = id else {
            // A notification has no response.
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

        if has_content_type(&response, EVENTS) {
            self.mark_working(session);
            let events = events(response.bytes_stream(), &self.decoder, Some(id.clone()));
            return Ok(StreamableHttpPostResponse::Sse(events, opened));
        }

        let answers = self.body(response, id).await?;
        if answers.iter().any(refuses_session) && self.is_working(session.as_ref()) {
            return Err(StreamableHttpError::SessionExpired);
        }

        self.mark_working(session);
        Ok(post_response(answers, opened))
    }

    /// Decodes a body that is not a stream. The result always contains a response to the request.
    async fn body(
        &self,
        response: Response,
        id: &RequestId,
    ) -> Result<Vec<ServerMessage>, RequestFailure> {
        let kind = content_type(&response);
        let (body, is_whole) = read(response, MESSAGE_MAX).await?;

        let mut answers = if is_whole {
            self.decoder.decode(&body, Some(id))
        } else {
            let mut scan = MessageScan::default();
            scan.feed(&body);
            let why = format!("it is longer than {MESSAGE_MAX} bytes");
            let failed = self.decoder.unreadable(&scan, Some(id), &why);
            failed.into_iter().collect()
        };

        if self.decoder.is_pending(id) {
            let kind = kind.unwrap_or_else(|| "no type".to_owned());
            let why = format!(
                "it is of {kind}, and no message: {}",
                self.displayable(&body)
            );
            answers.extend(
                self.decoder
                    .unreadable(&MessageScan::default(), Some(id), &why),
            );
        }

        Ok(answers)
    }

    /// Interprets an error status.
    async fn interpret_refusal(
        &self,
        response: Response,
        message: &ClientJsonRpcMessage,
        id: Option<&RequestId>,
        session: Option<Arc<str>>,
    ) -> PostResult {
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

        if is_session && self.is_working(session.as_ref()) {
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
                return Ok(post_response(answers, None));
            }

            // A server that does not know the probe is asked by the older protocol.
            if status.is_client_error() && session.is_none() && is_probe(message) {
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

    /// Reads a refusal, and its body.
    async fn read_refusal(&self, response: Response) -> (HttpError, Vec<u8>) {
        let status = response.status();
        let retry_after = response.headers().get(RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok());
        let retry_after = retry_after.map(str::to_owned);

        // The status is known, even if the body cannot be read.
        let body = read(response, REFUSAL_MAX).await;
        let body = body.map_or_else(|_cut| vec![], |(body, _)| body);
        let mut words = format!("HTTP {status}");
        let shown = self.displayable(&body);

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

    /// Returns the part of a body that may be shown: the message of an error, if it contains one.
    fn displayable(&self, body: &[u8]) -> String {
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

    /// Notes that a request succeeded in this session.
    fn mark_working(&self, session: Option<Arc<str>>) {
        *self
            .working_session
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = session;
    }

    /// Whether a request has succeeded in this session. A session in which none has is refused for
    /// another reason than being forgotten.
    fn is_working(&self, session: Option<&Arc<str>>) -> bool {
        let working_session = self
            .working_session
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        session.is_some() && working_session.as_ref() == session
    }
}

impl From<HttpError> for RequestFailure {
    fn from(error: HttpError) -> Self {
        Self::Client(error)
    }
}

/// Whether a message is about the session.
pub(super) fn names_session(text: &str) -> bool {
    text.to_ascii_lowercase().contains("session")
}

/// Whether a response says that the session is unknown: some servers send it instead of a 404.
fn refuses_session(answer: &ServerMessage) -> bool {
    let JsonRpcMessage::Error(error) = answer else {
        return false;
    };
    matches!(error.error.code.0, -32_000 | -32_001) && names_session(&error.error.message)
}

fn is_probe(message: &ClientJsonRpcMessage) -> bool {
    let JsonRpcMessage::Request(request) = message else {
        return false;
    };
    matches!(request.request, ClientRequest::DiscoverRequest(_))
}

/// Returns the responses in the form that `rmcp` expects.
fn post_response(
    mut answers: Vec<ServerMessage>,
    session: Option<String>,
) -> StreamableHttpPostResponse {
    match (answers.len(), answers.pop()) {
        (1, Some(answer)) => StreamableHttpPostResponse::Json(answer, session),
        (_, last) => {
            answers.extend(last);
            StreamableHttpPostResponse::Sse(stream_of(&answers), session)
        }
    }
}

fn header_map(headers: Headers) -> http::HeaderMap {
    headers.into_iter().collect()
}

fn authorized(request: RequestBuilder, token: Option<String>) -> RequestBuilder {
    match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    }
}

async fn send(request: RequestBuilder) -> Result<Response, HttpError> {
    let unreachable = |error| HttpError::Unreachable(causes(&error));
    request.send().await.map_err(unreachable)
}

/// Reads at most `max` bytes of the body; returns them and whether the body is complete.
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

/// Returns the challenge of a server that wants authorization, as an error.
fn challenge(response: &Response) -> Result<(), RequestFailure> {
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

fn content_type(response: &Response) -> Option<String> {
    let kind = response.headers().get(CONTENT_TYPE)?;
    Some(String::from_utf8_lossy(kind.as_bytes()).into_owned())
}

fn has_content_type(response: &Response, expected: &str) -> bool {
    let kind = content_type(response).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default();
    kind.trim().eq_ignore_ascii_case(expected)
}
