//! A guest's own requests, through `wasi:http`. They run on the embedder's runtime, and their
//! responses reach the guest in chunks, so that none of this code runs on a guest's stack.

use super::log::Journal;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{StreamExt, TryStreamExt};
use http::{HeaderMap, StatusCode, header};
use lastword_providers::http::{Guarded, HttpError, HttpErrorKind, Request};
use lastword_providers::permits::PermissionChecker;
use lastword_sandbox::{Outgoing, OutgoingBody, OutgoingError};
use lastword_types::id::RunId;
use reqwest::Url;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

/// The largest number of chunks of a response that wait for the guest.
const CHUNKS_WAITING_MAX: usize = 2;

/// The requests of one run's guest.
pub(crate) struct GuestRequests {
    pub(crate) client: Guarded,
    pub(crate) run: RunId,
    /// The log of the run.
    pub(crate) journal: Arc<Journal>,
    pub(crate) permits: PermissionChecker,
    /// The embedder's runtime, since the embedder's code never runs on a guest's stack.
    pub(crate) runtime: Handle,
}

/// A chunk, or `None` at the end. A sender that is dropped before the end has failed.
type Piece = Result<Option<Bytes>, OutgoingError>;
type Head = (StatusCode, HeaderMap);

impl Outgoing for GuestRequests {
    fn send(
        &self,
        request: http::Request<OutgoingBody>,
    ) -> BoxFuture<'static, Result<http::Response<OutgoingBody>, OutgoingError>> {
        let (head, answered) = oneshot::channel();
        let (pieces, waiting) = mpsc::channel(CHUNKS_WAITING_MAX);
        let (client, run, permits) = (self.client.clone(), self.run, self.permits.clone());
        let journal = Arc::clone(&self.journal);
        let task = async move {
            if let Err(error) = pump(&client, run, request, &permits, head, &pieces).await {
                tracing::debug!(%run, %error, "a guest's request failed");
                if error.kind == HttpErrorKind::Denied {
                    // The guest is told no more than that it was denied.
                    journal.warn(&format!("a request of the agent was refused: {error}"));
                }
                let _guest_went_away = pieces.send(Err(outgoing_error(&error))).await;
            }
        };

        let task = self.runtime.spawn(task.in_current_span());
        let task = AbortOnDropHandle::new(task);
        Box::pin(async move {
            let mut waiting = waiting;
            let Ok((status, headers)) = answered.await else {
                let error = waiting.recv().await.and_then(Result::err);
                return Err(error.unwrap_or(OutgoingError::Internal));
            };
            let body = futures_util::stream::unfold(Some((waiting, task)), next_piece);
            let mut response = http::Response::new(body.boxed());
            *response.status_mut() = status;
            *response.headers_mut() = headers;
            Ok(response)
        })
    }
}

type Waiting = Option<(mpsc::Receiver<Piece>, AbortOnDropHandle<()>)>;

async fn next_piece(waiting: Waiting) -> Option<(Result<Bytes, OutgoingError>, Waiting)> {
    let (mut waiting, task) = waiting?;
    match waiting.recv().await {
        Some(Ok(None)) => None,
        Some(Ok(Some(bytes))) => Some((Ok(bytes), Some((waiting, task)))),
        Some(Err(error)) => Some((Err(error), None)),
        None => Some((Err(OutgoingError::Internal), None)),
    }
}

/// Sends the request, and passes on the head of its response and then the body. An error before
/// the head drops `head`; the caller reports every error.
async fn pump(
    client: &Guarded,
    run: RunId,
    request: http::Request<OutgoingBody>,
    permits: &PermissionChecker,
    head: oneshot::Sender<Head>,
    pieces: &mpsc::Sender<Piece>,
) -> Result<(), HttpError> {
    let request = request_of(request)?;
    let response = Box::pin(client.send(run, request, permits)).await?;
    let _guest_went_away = head.send((response.status, response.headers));
    let mut body = response.body;
    while let Some(bytes) = body.chunk().await? {
        if pieces.send(Ok(Some(bytes))).await.is_err() {
            return Ok(());
        }
    }

    let _guest_went_away = pieces.send(Ok(None)).await;
    Ok(())
}

fn request_of(request: http::Request<OutgoingBody>) -> Result<Request, HttpError> {
    let (parts, body) = request.into_parts();
    let url = Url::parse(&parts.uri.to_string()).map_err(|error| {
        let message = format!("the address cannot be read: {error}");
        HttpError::new(HttpErrorKind::Url, message)
    })?;
    let mut headers = parts.headers;
    // The interface has checked the body against this header; the HTTP client sets its own.
    headers.remove(header::CONTENT_LENGTH);
    let body = body.map_err(|_| {
        let message = "the body of the request broke off";
        HttpError::new(HttpErrorKind::Protocol, message)
    });
    Ok(Request {
        method: parts.method,
        url,
        headers,
        body: body.boxed(),
    })
}

/// Returns the error code that a guest receives for a failed request.
fn outgoing_error(error: &HttpError) -> OutgoingError {
    match error.kind {
        HttpErrorKind::Url => OutgoingError::Uri,
        HttpErrorKind::Denied | HttpErrorKind::Header => OutgoingError::Denied,
        HttpErrorKind::Private => OutgoingError::Prohibited,
        HttpErrorKind::Resolve => OutgoingError::Name,
        HttpErrorKind::Connect => OutgoingError::Refused,
        HttpErrorKind::Tls => OutgoingError::Tls,
        HttpErrorKind::RequestBytes => OutgoingError::RequestBytes,
        HttpErrorKind::ResponseHeaders => OutgoingError::ResponseHeaders,
        HttpErrorKind::ResponseBytes => OutgoingError::ResponseBytes,
        HttpErrorKind::Protocol => OutgoingError::Protocol,
        HttpErrorKind::Coding => OutgoingError::Coding,
        HttpErrorKind::Timeout => OutgoingError::Timeout,
        HttpErrorKind::Busy => OutgoingError::Busy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lastword_os::clock::SystemClock;
    use lastword_providers::http::{HostPatterns, HttpOptions, Resolver};
    use lastword_providers::permits::{Allowed, Authorize, Denied};
    use lastword_providers::secrets::Secrets;
    use lastword_types::permission::Access;
    use std::net::{IpAddr, Ipv4Addr};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::sync::Notify;
    use tokio::task::JoinHandle;

    /// Allows everything.
    struct AllowAll;

    impl Authorize for AllowAll {
        fn authorize(&self, _: Access) -> BoxFuture<'static, Result<Allowed, Denied>> {
            Box::pin(std::future::ready(Ok(Allowed::Once)))
        }
    }

    /// Resolves every name to this machine.
    struct Loopback;

    impl Resolver for Loopback {
        fn resolve(&self, _: &str) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> {
            Box::pin(std::future::ready(Ok(vec![Ipv4Addr::LOCALHOST.into()])))
        }
    }

    /// Accepts one connection, responds to its request with these bytes, and returns when the
    /// client has closed the connection.
    async fn serve(answer: &'static [u8]) -> (u16, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
            }
            stream.write_all(answer).await.unwrap();
            let closed = stream.read_to_end(&mut request).await;
            drop(closed);
        });
        (port, served)
    }

    fn allowed() -> PermissionChecker {
        PermissionChecker::new(Arc::new(AllowAll))
    }

    /// Never responds. Reports when it is called and when the call is dropped.
    #[derive(Default)]
    struct Undecided {
        asked: Arc<Notify>,
        dismissed: Arc<Notify>,
    }

    struct Dismiss(Arc<Notify>);

    impl Drop for Dismiss {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }

    impl Authorize for Undecided {
        fn authorize(&self, _: Access) -> BoxFuture<'static, Result<Allowed, Denied>> {
            let (asked, dismiss) = (self.asked.clone(), Dismiss(self.dismissed.clone()));
            Box::pin(async move {
                asked.notify_one();
                std::future::pending::<()>().await;
                drop(dismiss);
                Ok(Allowed::Once)
            })
        }
    }

    fn requests(
        port: u16,
        permits: PermissionChecker,
    ) -> (GuestRequests, http::Request<OutgoingBody>) {
        let target = format!("a.example:{port}");
        let private = HostPatterns::new([&target]).unwrap();
        let options = HttpOptions::new()
            .resolver(Arc::new(Loopback))
            .private(private);
        let requests = GuestRequests {
            client: Guarded::new(options, Secrets::none(), SystemClock::shared()),
            run: RunId::generate(),
            journal: Journal::new(None),
            permits,
            runtime: Handle::current(),
        };

        let request = http::Request::builder().uri(format!("http://{target}/"));
        let request = request.header(header::CONTENT_LENGTH, "0");
        let request = request.body(futures_util::stream::empty().boxed());
        (requests, request.unwrap())
    }

    #[tokio::test]
    async fn an_answer_is_handed_over_with_its_end() {
        let (port, _served) = serve(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
        let (requests, request) = requests(port, allowed());
        let response = requests.send(request).await.unwrap();
        let body: Vec<Bytes> = response.into_body().try_collect().await.unwrap();
        assert_eq!(body.concat(), b"hello");
    }

    #[tokio::test]
    async fn dropping_a_request_dismisses_its_question() {
        let undecided = Undecided::default();
        let (asked, dismissed) = (undecided.asked.clone(), undecided.dismissed.clone());
        let (requests, request) = requests(1, PermissionChecker::new(Arc::new(undecided)));
        let sent = requests.send(request);
        asked.notified().await;
        drop(sent);
        dismissed.notified().await;
    }

    #[tokio::test]
    async fn dropping_a_body_ends_its_request() {
        let (port, served) = serve(b"HTTP/1.1 200 OK\r\n\r\n").await;
        let (requests, request) = requests(port, allowed());
        let response = requests.send(request).await.unwrap();
        drop(response);
        served.await.unwrap();
    }
}
