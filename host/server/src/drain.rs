//! Reads on what a client still sends after its body was refused as too large. Otherwise the
//! connection would break while the client sends, and most clients would never read the response.

use crate::api::App;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use http_body::{Frame, SizeHint};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

/// The largest number of bytes that are read on and dropped; the connection breaks after them.
const BYTES_MAX: usize = 64 << 20;
/// How long the client may take to send them.
const TIME: Duration = Duration::from_secs(5);

pub(crate) async fn drain(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let rest = Rest::default();
    let request = request.map(|body| {
        Body::new(Returned {
            body: Some(body),
            rest: Arc::clone(&rest),
        })
    });
    let response = next.run(request).await;

    if response.status() == StatusCode::PAYLOAD_TOO_LARGE {
        let rest = rest.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(body) = rest {
            // Beside the response, which a client may read before it has sent everything.
            app.options.tasks.spawn(read_on(body));
        }
    }

    response
}

async fn read_on(mut body: Body) {
    let reading = async {
        let mut read = 0;
        while let Some(Ok(frame)) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await
        {
            read += frame.data_ref().map_or(0, Bytes::len);
            if read > BYTES_MAX {
                return;
            }
        }
    };
    let _over = tokio::time::timeout(TIME, reading).await;
}

/// What is left of a body that its reader dropped.
type Rest = Arc<Mutex<Option<Body>>>;

/// A body that is given back when its reader drops it before its end.
struct Returned {
    body: Option<Body>,
    rest: Rest,
}

impl HttpBody for Returned {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

impl Drop for Returned {
    fn drop(&mut self) {
        let body = self.body.take().filter(|body| !body.is_end_stream());
        *self.rest.lock().unwrap_or_else(PoisonError::into_inner) = body;
    }
}
