//! One connection: HTTP/1.1 or HTTP/2, whichever the client begins to speak.
//! Adds its [`Arrival`] to each request, and closes the connection when it is idle for too long or
//! when `places.rs` needs its place.

use super::places::{Place, Standing, Underway};
use crate::access::Arrival;
use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Request, Response};
use futures_util::future::BoxFuture;
use http_body::{Frame, SizeHint};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

/// The largest number of simultaneous requests on one HTTP/2 connection.
const STREAMS_MAX: u32 = 256;
/// How often a silent HTTP/2 connection is pinged to check whether it is alive.
const PING: Duration = Duration::from_secs(30);
/// How long a known client may take to read the end of a response before its connection is closed.
const FAREWELL: Duration = Duration::from_secs(1);

/// A connected socket of either kind.
pub(super) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

pub(super) type Stream = Box<dyn Socket>;

/// The bounds of a connection.
#[derive(Clone)]
pub(super) struct Limits {
    pub(super) head_timeout: Duration,
    /// How long a connection may be idle after a request on it was let in.
    pub(super) idle_timeout: Duration,
    /// Once cancelled, requests under way are completed, and no more are accepted.
    pub(super) stop: CancellationToken,
    /// Once cancelled, the connection is dropped.
    pub(super) kill: CancellationToken,
}

impl Limits {
    /// Returns when a connection is closed if it stays idle; `None` while it is in use.
    fn expiry(&self, standing: &Standing) -> Option<Instant> {
        let (known, since) = standing.idle()?;
        Some(
            since
                + if known {
                    self.idle_timeout
                } else {
                    self.head_timeout
                },
        )
    }
}

/// Serves one connection until it ends. It is closed early if it is idle for too long, if its place
/// is needed, and when the server stops.
pub(super) async fn serve(
    stream: Stream,
    arrival: Arrival,
    router: Router,
    limits: Limits,
    place: Place,
) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(PING);
    let standing = &place.standing;
    let service = TowerToHyperService::new(Arriving {
        router,
        arrival,
        standing: Arc::clone(standing),
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut look = pin!(tokio::time::sleep(limits.head_timeout));
    let mut leaving = false;
    loop {
        let idle = tokio::select! {
            biased;
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(error, "a connection broke");
                }
                return;
            }
            () = limits.kill.cancelled() => return,
            () = limits.stop.cancelled(), if !leaving => standing.idle(),
            () = standing.leave.cancelled(), if !leaving => standing.idle(),
            () = &mut look => match limits.expiry(standing) {
                Some(expiry) if leaving || expiry <= Instant::now() => standing.idle(),
                later => {
                    look.as_mut().reset(later.unwrap_or_else(|| Instant::now() + limits.head_timeout));
                    continue;
                }
            },
        };
        match idle {
            // Close at once: the client was never let in, or its time to finish is over.
            Some((known, _)) if leaving || !known => return,
            _ => {
                leaving = true;
                connection.as_mut().graceful_shutdown();
                look.as_mut().reset(Instant::now() + FAREWELL);
            }
        }
    }
}

/// The router for requests of one connection.
#[derive(Clone)]
struct Arriving {
    router: Router,
    arrival: Arrival,
    standing: Arc<Standing>,
}

impl<B> Service<Request<B>> for Arriving
where
    Router: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
    <Router as Service<Request<B>>>::Future: Send + 'static,
{
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Service::<Request<B>>::poll_ready(&mut self.router, context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let underway = self.standing.begin();
        request.extensions_mut().insert(self.arrival);
        request.extensions_mut().insert(Arc::clone(&underway));
        let answered = self.router.call(request);
        Box::pin(async move {
            let response = answered.await?;
            underway.answered();
            Ok(response.map(|body| Answer {
                body,
                _underway: underway,
            }))
        })
    }
}

/// The body of a response. The request counts as under way until the body is dropped.
struct Answer {
    body: Body,
    _underway: Arc<Underway>,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
