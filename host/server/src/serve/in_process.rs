//! The router without a listener, for clients in the same process. `connection.rs` does the same
//! for sockets.

use crate::access::{Arrival, Authorizer};
use crate::{ServerOptions, ThisProcess, router};
use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use lastword::Host;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower_service::Service;

/// A host's HTTP API for the host's own process: a tower service that accepts requests without a
/// socket, and without a token, since only this process can send them. It can be the transport of a
/// client of `lastword-client`.
///
/// The body of a response is not buffered: a stream of events is read as it grows. As over a
/// socket, dropping a request before its response does not undo it.
///
/// In contrast to requests from outside, paths may be relative or not UTF-8, and the configuration
/// of a run may be any JSON value.
#[derive(Clone, Debug)]
pub struct InProcess {
    router: Router,
}

/// Returns the HTTP API of a host for this process alone; see [`InProcess`].
#[must_use]
pub fn in_process(host: Host, options: ServerOptions) -> InProcess {
    let authorizer: Arc<dyn Authorizer> = Arc::new(ThisProcess);
    InProcess {
        router: router(host, authorizer, options),
    }
}

impl<B> Service<Request<B>> for InProcess
where
    Router: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = <Router as Service<Request<B>>>::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request<B>>::poll_ready(&mut self.router, context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        request.extensions_mut().insert(Arrival::InProcess);
        self.router.call(request)
    }
}
