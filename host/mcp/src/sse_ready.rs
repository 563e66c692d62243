//! The event stream on which an older server over HTTP sends requests and notifications. Servers
//! lose what they send before it is open, so no tool is called before.

use http::{HeaderName, HeaderValue};
use rmcp::model::{ClientJsonRpcMessage, ClientRequest};
use rmcp::transport::common::client_side_sse::BoxedSseResponse;
use rmcp::transport::streamable_http_client::{
    StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse,
    StreamableHttpResponseLimits,
};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The longest time that the host waits for the stream: some servers open it only with their first
/// event.
const WAIT: Duration = Duration::from_millis(500);

/// Whether the event stream of one connection is open.
#[derive(Clone, Default)]
pub(super) struct SseReady {
    expected: Arc<AtomicBool>,
    opened: CancellationToken,
}

impl SseReady {
    /// Waits until the stream is open or refused, if there is to be one.
    pub(super) async fn wait(&self) {
        if self.expected.load(Ordering::Acquire) {
            let _opened_later = tokio::time::timeout(WAIT, self.opened.cancelled()).await;
        }
    }
}

/// A client that signals when the stream is open.
#[derive(Clone)]
pub(super) struct SseReadyClient<C> {
    pub(super) inner: C,
    pub(super) sse_ready: SseReady,
}

type Headers = HashMap<HeaderName, HeaderValue>;
type ClientError<C> = StreamableHttpError<<C as StreamableHttpClient>::Error>;

impl<C: StreamableHttpClient + Sync> StreamableHttpClient for SseReadyClient<C> {
    type Error = C::Error;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        auth: Option<String>,
        headers: Headers,
    ) -> Result<StreamableHttpPostResponse, ClientError<C>> {
        let limits = StreamableHttpResponseLimits::default();
        self.post_message_with_response_limits(uri, message, session, auth, headers, limits)
            .await
    }

    async fn post_message_with_response_limits(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        auth: Option<String>,
        headers: Headers,
        limits: StreamableHttpResponseLimits,
    ) -> Result<StreamableHttpPostResponse, ClientError<C>> {
        let handshake = matches!(
            &message,
            ClientJsonRpcMessage::Request(request)
                if matches!(request.request, ClientRequest::InitializeRequest(_))
        );

        let inner = &self.inner;
        let response = inner
            .post_message_with_response_limits(uri, message, session, auth, headers, limits)
            .await?;

        // There is a stream only within a session.
        if let StreamableHttpPostResponse::Json(_, Some(_))
        | StreamableHttpPostResponse::Sse(_, Some(_)) = &response
            && handshake
        {
            self.sse_ready.expected.store(true, Ordering::Release);
        }

        Ok(response)
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session: Arc<str>,
        auth: Option<String>,
        headers: Headers,
    ) -> Result<(), ClientError<C>> {
        self.inner.delete_session(uri, session, auth, headers).await
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session: Option<Arc<str>>,
        last: Option<String>,
        auth: Option<String>,
        headers: Headers,
    ) -> Result<BoxedSseResponse, ClientError<C>> {
        let bound = StreamableHttpResponseLimits::default().max_sse_event_size;
        self.get_stream_with_max_sse_event_size(uri, session, last, auth, headers, bound)
            .await
    }

    async fn get_stream_with_max_sse_event_size(
        &self,
        uri: Arc<str>,
        session: Option<Arc<str>>,
        last: Option<String>,
        auth: Option<String>,
        headers: Headers,
        bound: usize,
    ) -> Result<BoxedSseResponse, ClientError<C>> {
        let inner = &self.inner;
        let stream = inner
            .get_stream_with_max_sse_event_size(uri, session, last, auth, headers, bound)
            .await;
        self.sse_ready.opened.cancel();
        stream
    }
}
