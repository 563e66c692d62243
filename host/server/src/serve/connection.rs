//! One connection: HTTP/1.1 or HTTP/2, whichever the client begins to speak.
//! Adds to each request how it came; does not know who listens.

use crate::access::Arrival;
use axum::Router;
use axum::http::Request;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tower_service::Service;

/// Requests at the same time on one HTTP/2 connection.
const STREAMS_MAX: u32 = 256;
/// How often a silent HTTP/2 connection is asked whether it is still there.
const PING: Duration = Duration::from_secs(30);

/// A connected socket of either kind.
pub(super) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

pub(super) type Stream = Box<dyn Socket>;

/// What bounds a connection.
#[derive(Clone)]
pub(super) struct Limits {
    pub(super) head_timeout: Duration,
    /// Requests under way are answered, and no more are taken.
    pub(super) stop: CancellationToken,
    /// The connection is dropped.
    pub(super) kill: CancellationToken,
}

pub(super) async fn serve(stream: Stream, arrival: Arrival, router: Router, limits: Limits) {
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
    let asked = Arc::new(AtomicBool::new(false));
    let service = Arriving {
        router,
        arrival,
        asked: Arc::clone(&asked),
    };
    let service = TowerToHyperService::new(service);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut stopping = pin!(limits.stop.cancelled());
    let mut first = pin!(tokio::time::sleep(limits.head_timeout));
    let (mut stopped, mut waited) = (false, false);
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(error, "a connection broke");
                }
                return;
            }
            () = limits.kill.cancelled() => return,
            () = &mut stopping, if !stopped => {
                stopped = true;
                connection.as_mut().graceful_shutdown();
            }
            () = &mut first, if !waited => {
                // Whoever connects and then says nothing, or only how a request might
                // begin, must not hold a place.
                waited = true;
                if !asked.load(Ordering::Relaxed) {
                    return;
                }
            }
        }
    }
}

/// The router, for requests of one connection.
#[derive(Clone)]
struct Arriving {
    router: Router,
    arrival: Arrival,
    asked: Arc<AtomicBool>,
}

impl<B> Service<Request<B>> for Arriving
where
    Router: Service<Request<B>>,
{
    type Response = <Router as Service<Request<B>>>::Response;
    type Error = <Router as Service<Request<B>>>::Error;
    type Future = <Router as Service<Request<B>>>::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Service::<Request<B>>::poll_ready(&mut self.router, context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        self.asked.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(self.arrival);
        self.router.call(request)
    }
}
