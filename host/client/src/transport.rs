//! The transport of requests to a server: the interface below [`Client`](crate::Client), and the
//! implementation for tower services in this process. `http_transport.rs` implements it for
//! sockets.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, StreamExt};
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use std::error::Error;
use std::io;
use tower_service::Service;

/// The body of a response, in chunks as they arrive.
pub type BodyStream = BoxStream<'static, io::Result<Bytes>>;

/// Why a request got no response.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct TransportError {
    /// What happened, for people.
    pub reason: String,
    /// Whether the server has certainly not received the request.
    pub unsent: bool,
}

/// Sends requests to a server and returns its responses. The path of a request begins with `/v1`,
/// after the path of the address if the client has one.
pub trait Transport: Send + Sync + 'static {
    /// Sends one request. Dropping the future abandons it, but the server may still carry it out.
    ///
    /// # Errors
    /// If there is no response. A response with any status is not an error.
    fn send(
        &self,
        request: Request<Bytes>,
    ) -> BoxFuture<'static, Result<Response<BodyStream>, TransportError>>;
}

/// A transport to a tower service in this process, such as `lastword_server::in_process` or an axum
/// router. Requests run in the task of the caller.
#[derive(Clone, Debug)]
pub struct ServiceTransport<S>(pub S);

impl<S, B> Transport for ServiceTransport<S>
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Future: Send,
    S::Error: Error + Send + Sync + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    fn send(
        &self,
        request: Request<Bytes>,
    ) -> BoxFuture<'static, Result<Response<BodyStream>, TransportError>> {
        let mut service = self.0.clone();
        let broke = |unsent| {
            move |error: S::Error| TransportError {
                reason: error.to_string(),
                unsent,
            }
        };

        Box::pin(async move {
            let ready = std::future::poll_fn(|context| service.poll_ready(context));
            ready.await.map_err(broke(true))?;
            let response = service.call(request.map(Full::new));
            let response = response.await.map_err(broke(false))?;
            Ok(response.map(|body| {
                let bytes = body.into_data_stream();
                bytes.map(|piece| piece.map_err(io::Error::other)).boxed()
            }))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Client;
    use crate::api::NewRun;
    use lastword_types::id::{RunId, SessionId};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Counts requests and never responds.
    struct Silent(Arc<AtomicU32>);

    impl Transport for Silent {
        fn send(
            &self,
            _: Request<Bytes>,
        ) -> BoxFuture<'static, Result<Response<BodyStream>, TransportError>> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Box::pin(async {
                Err(TransportError {
                    reason: "nothing is there".to_owned(),
                    unsent: true,
                })
            })
        }
    }

    #[tokio::test]
    async fn what_does_not_answer_in_this_process_is_asked_once() {
        let asked = Arc::new(AtomicU32::new(0));
        let client = Client::builder().transport(Silent(Arc::clone(&asked)), "silence");
        let client = client.build().unwrap();
        let (session, run) = (SessionId::generate(), NewRun::text("x"));
        let refused = client.prompt(session, &run, "k").await.unwrap_err();
        assert!(refused.is_retryable() && refused.is_repeatable());
        assert!(refused.to_string().contains("silence"), "{refused}");
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        let mut events = client.run_events(RunId::generate());
        assert!(matches!(events.next().await, Some(Err(_))));
        assert!(events.next().await.is_none());
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }
}
