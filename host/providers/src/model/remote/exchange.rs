//! One request and its whole answer, for protocols that somebody else carries out. Follows no
//! redirect and keeps bounds. Knows nothing of what is said.

use super::tls;
use futures_util::StreamExt;
use std::time::Duration;

/// Bytes of an answer's body at the most.
const BODY_MAX: usize = 1 << 20;

/// A client of services: what other folders hold without a name of its own for it.
pub type Client = reqwest::Client;
/// A request that is being made.
pub type RequestBuilder = reqwest::RequestBuilder;
/// What a service answered.
pub type Response = reqwest::Response;

/// Sends a request once and reads its answer, within this time.
pub async fn exchange(
    request: http::Request<Vec<u8>>,
    within: Duration,
) -> Result<http::Response<Vec<u8>>, String> {
    let mut request = reqwest::Request::try_from(request).map_err(|error| error.to_string())?;
    *request.timeout_mut() = Some(within);

    let client = tls::without_redirects(request.url())?;
    let answer = client.execute(request).await;
    let answer = answer.map_err(|error| said(&error))?;
    let mut response = http::Response::builder().status(answer.status());

    for (name, value) in answer.headers() {
        response = response.header(name, value);
    }

    let mut body = Vec::new();
    let mut chunks = answer.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| said(&error))?;
        if chunk.len() > BODY_MAX - body.len() {
            return Err(format!("its answer has more than {BODY_MAX} bytes"));
        }
        body.extend_from_slice(&chunk);
    }

    response.body(body).map_err(|error| error.to_string())
}

/// An error and what is behind it.
fn said(error: &reqwest::Error) -> String {
    let mut said = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        said = format!("{said}: {inner}");
        cause = inner.source();
    }
    said
}
