//! Serves a router on sockets until the shutdown: `listen.rs` accepts connections, `places.rs`
//! bounds their number, and `connection.rs` serves each. `in_process.rs` works without sockets.

mod connection;
mod in_process;
mod listen;
mod places;

pub use in_process::{InProcess, in_process};
pub use listen::{ListenError, Listener, connect_unix};
pub(crate) use places::Underway;

use crate::ServerOptions;
use crate::options::Connections;
use axum::Router;
use connection::{Limits, Stream};
use places::Places;
use rustix::process::{Resource, getrlimit};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long to wait before accepting again after a failure, such as a lack of file descriptors.
const RETRY: Duration = Duration::from_millis(100);
/// Connections may take one in this many of the process's file descriptors.
const DESCRIPTORS_SHARE: u64 = 8;

/// Serves HTTP/1.1 and HTTP/2 on every listener until `shutdown` completes. Then no more
/// connections are accepted, requests under way are completed and streams end; connections that are
/// still open after [`ServerOptions::drain`] are dropped. Connections on which no request was let
/// in are closed at once.
///
/// Pass [`Host::drained`](lastword::Host::drained) as `shutdown`, and call
/// [`Host::drain`](lastword::Host::drain) beside this: streams then report the end of every run
/// before they end. With [`Host::closing`](lastword::Host::closing), clients that connect while
/// runs still go on would be refused, and their streams would be dropped after that time.
///
/// There are at most [`ServerOptions::connections_max`], and no more than an eighth of the file
/// descriptors that the process may have. To make room for a new one, an idle connection is closed:
/// first those on which the authorizer let in no request, then the others, the longest idle first.
/// Requests to routes of the embedder count as let in. A connection with a request under way, such
/// as a stream, is never closed for another one.
pub async fn serve(
    listeners: Vec<Listener>,
    router: Router,
    options: &ServerOptions,
    shutdown: impl Future<Output = ()>,
) {
    let limits = Limits {
        head_timeout: options.head_timeout,
        idle_timeout: options.idle_timeout,
        stop: CancellationToken::new(),
        kill: CancellationToken::new(),
    };

    let asked = options.connections_max;
    let given = connections_that_fit(asked);
    if given < asked {
        tracing::warn!(
            asked,
            given,
            "fewer connections than asked for: the limit of open files (`ulimit -n`) is too low"
        );
    }

    let places = Places::new(given);
    let connections = TaskTracker::new();
    let accepting = TaskTracker::new();
    for listener in listeners {
        accepting.spawn(accept(
            listener,
            router.clone(),
            limits.clone(),
            Arc::clone(&places),
            connections.clone(),
            options.connections.clone(),
        ));
    }

    // Dropping this future ends everything that it has started.
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
    places: Arc<Places>,
    connections: TaskTracker,
    count: Connections,
) {
    loop {
        let accepted = tokio::select! {
            () = limits.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, arrival): (Stream, _) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "a connection was not accepted");
                // The process may have run out of file descriptors: closing a connection frees one.
                places.let_go();
                tokio::select! {
                    () = limits.stop.cancelled() => return,
                    () = tokio::time::sleep(RETRY) => continue,
                }
            }
        };

        let place = tokio::select! {
            () = limits.stop.cancelled() => return,
            place = places.take() => place,
        };

        let (router, limits) = (router.clone(), limits.clone());
        let counted = count.count();
        connections.spawn(async move {
            let _counted = counted;
            connection::serve(stream, arrival, router, limits, place).await;
        });
    }
}

/// Returns how many connections may be open: as many as asked for, within the bound of descriptors.
pub(crate) fn connections_that_fit(asked: usize) -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let share = usize::try_from(limit / DESCRIPTORS_SHARE).unwrap_or(usize::MAX);
    asked.min(share)
}
