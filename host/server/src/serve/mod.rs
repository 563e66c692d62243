//! From a socket to a router: listening, and serving until told to stop.
//! Knows connections; does not know what the router answers.

mod connection;
mod listen;

pub use listen::{ListenError, Listener, connect_unix};

use crate::ServerOptions;
use axum::Router;
use connection::{Limits, Stream};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long to wait before accepting again, when the process has no file descriptors left.
const RETRY: Duration = Duration::from_millis(100);

/// Serves HTTP/1.1 and HTTP/2 on every listener until `shutdown` completes. Then no more
/// connections are accepted, requests under way are answered and streams come to their end;
/// what is still open after [`ServerOptions::drain`] is dropped.
pub async fn serve(
    listeners: Vec<Listener>,
    router: Router,
    options: &ServerOptions,
    shutdown: impl Future<Output = ()>,
) {
    let limits = Limits {
        head_timeout: options.head_timeout,
        stop: CancellationToken::new(),
        kill: CancellationToken::new(),
    };
    let places = Arc::new(Semaphore::new(options.connections_max.max(1)));
    let connections = TaskTracker::new();
    let accepting = TaskTracker::new();
    for listener in listeners {
        accepting.spawn(accept(
            listener,
            router.clone(),
            limits.clone(),
            Arc::clone(&places),
            connections.clone(),
        ));
    }
    // Dropping this future ends everything that it began.
    let (_stop, _kill) = (
        limits.stop.clone().drop_guard(),
        limits.kill.clone().drop_guard(),
    );
    shutdown.await;
    limits.stop.cancel();
    accepting.close();
    accepting.wait().await;
    connections.close();
    if tokio::time::timeout(options.drain, connections.wait())
        .await
        .is_err()
    {
        let left = connections.len();
        tracing::warn!(left, "connections did not end in time and are dropped");
        limits.kill.cancel();
        connections.wait().await;
    }
}

async fn accept(
    listener: Listener,
    router: Router,
    limits: Limits,
    places: Arc<Semaphore>,
    connections: TaskTracker,
) {
    loop {
        let accepted = async {
            // Without a place nothing is accepted: the system's own queue holds it.
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = limits.stop.cancelled() => return,
            accepted = accepted => accepted,
        };
        let (stream, arrival): (Stream, _) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "a connection was not accepted");
                tokio::select! {
                    () = limits.stop.cancelled() => return,
                    () = tokio::time::sleep(RETRY) => continue,
                }
            }
        };
        let (router, limits) = (router.clone(), limits.clone());
        connections.spawn(async move {
            connection::serve(stream, arrival, router, limits).await;
            drop(place);
        });
    }
}
