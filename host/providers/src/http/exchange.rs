//! Sends one request and reads its whole response, for protocols that another crate implements
//! (OAuth). Follows no redirects, and is bounded.

use super::clients::without_redirects;
use crate::causes;
use futures_util::StreamExt;
use std::time::Duration;

/// The largest number of bytes in a response's body.
const BODY_MAX: usize = 1 << 20;

/// An HTTP client; other crates use it by this name, without depending on `reqwest`.
pub type Client = reqwest::Client;
/// A request under construction.
pub type RequestBuilder = reqwest::RequestBuilder;
/// The response of a service.
pub type Response = reqwest::Response;

/// Sends a request once and reads its response, within this time.
pub async fn exchange(
    request: http::Request<Vec<u8>>,
    within: Duration,
) -> Result<http::Response<Vec<u8>>, String> {
    let mut request = reqwest::Request::try_from(request).map_err(|error| error.to_string())?;
    *request.timeout_mut() = Some(within);

    let client = without_redirects(request.url())?;
    let answer = client.execute(request).await;
    let answer = answer.map_err(|error| causes(&error))?;
    let mut response = http::Response::builder().status(answer.status());

    for (name, value) in answer.headers() {
        response = response.header(name, value);
    }

    let mut body = Vec::new();
    let mut chunks = answer.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| causes(&error))?;
        if chunk.len() > BODY_MAX - body.len() {
            return Err(format!("its answer has more than {BODY_MAX} bytes"));
        }
        body.extend_from_slice(&chunk);
    }

    response.body(body).map_err(|error| error.to_string())
}
