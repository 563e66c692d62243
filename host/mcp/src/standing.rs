//! The stream on which an older server over HTTP asks and reports by itself. Servers lose what
//! they say before it stands, so that nothing is called before. Knows neither TLS nor retries.

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

/// How long is waited for the stream: some servers open it with their first word alone.
const WAIT: Duration = Duration::from_millis(500);

/// Whether the stream of one connection stands.
#[derive(Clone, Default)]
pub(super) struct Standing {
    expected: Arc<AtomicBool>,
    settled: CancellationToken,
}

impl Standing {
    /// Waits until the stream stands or is refused, if there is to be one.
    pub(super) async fn settled(&self) {
        if self.expected.load(Ordering::Acquire) {
            let _opened_later = tokio::time::timeout(WAIT, self.settled.cancelled()).await;
        }
    }
}

/// A client that tells when the stream stands.
#[derive(Clone)]
pub(super) struct Announcing<C> {
    pub(super) inner: C,
    pub(super) standing: Standing,
}

type Headers = HashMap<HeaderName, HeaderValue>;
type Failed<C> = StreamableHttpError<<C as StreamableHttpClient>::Error>;

impl<C: StreamableHttpClient + Sync> StreamableHttpClient for Announcing<C> {
    type Error = C::Error;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        auth: Option<String>,
        headers: Headers,
    ) -> Result<StreamableHttpPostResponse, Failed<C>> {
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
    ) -> Result<StreamableHttpPostResponse, Failed<C>> {
        let handshake = matches!(
            &message,
            ClientJsonRpcMessage::Request(request)
                if matches!(request.request, ClientRequest::InitializeRequest(_))
        );

        let inner = &self.inner;
        let response = inner
            .post_message_with_response_limits(uri, message, session, auth, headers, limits)
            .await?;

        // Only who has a session has the stream.
        if let StreamableHttpPostResponse::Json(_, Some(_))
        | StreamableHttpPostResponse::Sse(_, Some(_)) = &response
            && handshake
        {
            self.standing.expected.store(true, Ordering::Release);
        }

        Ok(response)
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session: Arc<str>,
        auth: Option<String>,
        headers: Headers,
    ) -> Result<(), Failed<C>> {
        self.inner.delete_session(uri, session, auth, headers).await
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session: Option<Arc<str>>,
        last: Option<String>,
        auth: Option<String>,
        headers: Headers,
    ) -> Result<BoxedSseResponse, Failed<C>> {
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
    ) -> Result<BoxedSseResponse, Failed<C>> {
        let inner = &self.inner;
        let stream = inner
            .get_stream_with_max_sse_event_size(uri, session, last, auth, headers, bound)
            .await;
        self.standing.settled.cancel();
        stream
    }
}
