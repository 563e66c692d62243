//! A guest's HTTP requests: the interfaces of `wasi:http`, over the [`Outgoing`] that the host
//! supplies. Without one, every request is denied by an error value. This module opens no
//! connections itself.

use super::GuestState;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, StreamExt, TryStreamExt};
use http::{HeaderName, header};
use http_body::Frame;
use http_body_util::{BodyDataStream, BodyExt, StreamBody};
use std::sync::Arc;
use wasmtime::component::Linker;
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpCtx,
    WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

/// The largest number of bytes of one list of headers, including its overhead in memory.
const FIELDS_BYTES_MAX: usize = 128 << 10;

/// Headers that guests may neither set nor see, in addition to those that `wasi:http` forbids.
const FORBIDDEN: [HeaderName; 3] = [header::TE, header::TRAILER, header::EXPECT];

/// Sends a guest's requests.
pub trait Outgoing: Send + Sync + 'static {
    /// Sends a request. Dropping the future, or the body of the response, ends it.
    fn send(
        &self,
        request: http::Request<OutgoingBody>,
    ) -> BoxFuture<'static, Result<http::Response<OutgoingBody>, OutgoingError>>;
}

/// The body of a request or a response.
pub type OutgoingBody = BoxStream<'static, Result<Bytes, OutgoingError>>;

/// Why a request failed, as the guest sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutgoingError {
    /// The request is not allowed.
    Denied,
    /// The address is not public.
    Prohibited,
    /// The address cannot be used.
    Uri,
    /// The name cannot be resolved.
    Name,
    /// No connection could be made.
    Refused,
    /// The TLS handshake failed.
    Tls,
    /// The request is larger than allowed.
    RequestBytes,
    /// The headers of the response are larger than allowed.
    ResponseHeaders,
    /// The body of the response is larger than allowed.
    ResponseBytes,
    /// The response is not valid HTTP, or was cut off.
    Protocol,
    /// The body is encoded in a way that is not allowed.
    Coding,
    /// The request took too long.
    Timeout,
    /// The run has too many requests in flight.
    Busy,
    /// The host failed.
    Internal,
}

impl From<OutgoingError> for Error {
    fn from(error: OutgoingError) -> Self {
        match error {
            OutgoingError::Denied => Self::HttpRequestDenied,
            OutgoingError::Prohibited => Self::DestinationIpProhibited,
            OutgoingError::Uri => Self::HttpRequestUriInvalid,
            OutgoingError::Name => Self::DestinationNotFound,
            OutgoingError::Refused => Self::ConnectionRefused,
            OutgoingError::Tls => Self::TlsProtocolError,
            OutgoingError::RequestBytes => Self::HttpRequestBodySize(None),
            OutgoingError::ResponseHeaders => Self::HttpResponseHeaderSectionSize(None),
            OutgoingError::ResponseBytes => Self::HttpResponseBodySize(None),
            OutgoingError::Protocol => Self::HttpProtocolError,
            OutgoingError::Coding => Self::HttpResponseContentCoding(None),
            OutgoingError::Timeout => Self::HttpResponseTimeout,
            OutgoingError::Busy => Self::ConnectionLimitReached,
            OutgoingError::Internal => Self::InternalError(None),
        }
    }
}

/// The `wasi:http` state of one guest.
pub(super) struct Http {
    context: WasiHttpCtx,
    hooks: Hooks,
}

struct Hooks {
    outgoing: Option<Arc<dyn Outgoing>>,
}

impl Http {
    /// Denies every request.
    pub(super) fn denied() -> Self {
        let mut context = WasiHttpCtx::new();
        context.set_field_size_limit(FIELDS_BYTES_MAX);
        Self {
            context,
            hooks: Hooks { outgoing: None },
        }
    }

    pub(super) fn allow(&mut self, outgoing: Arc<dyn Outgoing>) {
        self.hooks.outgoing = Some(outgoing);
    }
}

impl<T: Send> WasiHttpView for GuestState<T> {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            hooks: &mut self.http.hooks,
            table: &mut self.table,
            ctx: &mut self.http.context,
        }
    }
}

type Done = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sent = Box<dyn Future<Output = Result<(http::Response<WasiBody>, Done), Error>> + Send>;

impl WasiHttpHooks for Hooks {
    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        Arc::new(|name| DEFAULT_FORBIDDEN_HEADERS.contains(name) || FORBIDDEN.contains(name))
    }

    /// The sender sets the `Host` header.
    fn set_host_header(&mut self) -> bool {
        false
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        _may_shorten_what_the_host_allows: Option<RequestOptions>,
        _nobody_waits: Done,
    ) -> Sent {
        let Some(outgoing) = self.outgoing.clone() else {
            return Box::new(std::future::ready(Err(Error::HttpRequestDenied)));
        };
        let request = request.map(|body| {
            let chunks = BodyDataStream::new(body);
            chunks.map_err(|_| OutgoingError::Protocol).boxed()
        });
        let sent = outgoing.send(request);

        Box::new(async move {
            let response = sent.await?.map(|body| {
                let frames = body.map_ok(Frame::data).map_err(Error::from);
                StreamBody::new(frames).boxed_unsync()
            });
            let done: Done = Box::new(std::future::ready(Ok(())));
            Ok((response, done))
        })
    }
}

/// Links `wasi:http/types` and `wasi:http/outgoing-handler`.
pub(super) fn link<T: Send + 'static>(linker: &mut Linker<GuestState<T>>) -> wasmtime::Result<()> {
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)
}
