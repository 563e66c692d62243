//! The headers that a guest may set: none that affect where a message begins, ends or is sent.

use super::error::{HttpError, HttpErrorKind};
use http::{HeaderMap, HeaderName, Method};

/// The largest number of bytes of all headers of a request or a response.
pub(super) const HEADER_BYTES_MAX: usize = 64 << 10;
/// The largest number of headers of a request.
const HEADERS_MAX: usize = 128;

/// Headers that only the host sets, in addition to all that begin with `proxy-`.
const HOST_HEADERS: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

/// Refuses a request with headers that a guest may not set.
pub(super) fn check(method: &Method, headers: &HeaderMap) -> Result<(), HttpError> {
    let refused = |message: String| HttpError::new(HttpErrorKind::Header, message);

    if [Method::CONNECT, Method::TRACE].contains(method) {
        return Err(refused(format!("requests with {method} are not sent")));
    }

    if headers.len() > HEADERS_MAX {
        return Err(refused(format!(
            "a request has at most {HEADERS_MAX} headers"
        )));
    }

    if size(headers) > HEADER_BYTES_MAX {
        let most = HEADER_BYTES_MAX;
        return Err(refused(format!(
            "a request's headers have at most {most} bytes"
        )));
    }

    match headers.keys().find(|name| is_host_header(name)) {
        Some(name) => Err(refused(format!(
            "the header `{name}` is the host's to set; leave it out"
        ))),
        None => Ok(()),
    }
}

fn is_host_header(name: &HeaderName) -> bool {
    HOST_HEADERS.contains(&name.as_str()) || name.as_str().starts_with("proxy-")
}

/// Returns the number of bytes of the headers on the wire.
pub(super) fn size(headers: &HeaderMap) -> usize {
    let lines = headers.iter();
    lines
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let lines = lines.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        lines.collect()
    }

    #[test]
    fn framing_and_routing_headers_are_refused() {
        for name in HOST_HEADERS
            .iter()
            .chain(&["proxy-connection", "proxy-authorization"])
        {
            let error = check(&Method::GET, &headers(&[("accept", "*"), (name, "x")])).unwrap_err();
            assert!(error.message.contains(name), "{error}");
        }

        let fine = [("accept", "*/*"), ("authorization", "x"), ("cookie", "y")];
        assert_eq!(check(&Method::GET, &headers(&fine)), Ok(()));
        assert!(check(&Method::CONNECT, &headers(&fine)).is_err());
    }

    #[test]
    fn headers_are_bounded() {
        let mut many = HeaderMap::new();

        for _ in 0..=HEADERS_MAX {
            many.append("a", HeaderValue::from_static("x"));
        }

        assert!(check(&Method::GET, &many).is_err());
        let value = HeaderValue::try_from("x".repeat(HEADER_BYTES_MAX)).unwrap();

        assert!(
            check(
                &Method::GET,
                &HeaderMap::from_iter([(http::header::ACCEPT, value)])
            )
            .is_err()
        );
    }

    #[test]
    fn values_contain_no_line_ends() {
        for bad in ["a\r\nhost: b", "a\nb", "a\rb", "a\0b"] {
            assert!(HeaderValue::from_str(bad).is_err(), "{bad:?}");
        }
    }
}
