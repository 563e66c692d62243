//! How long a service asks to wait before the next request: `retry-after-ms`, `retry-after` in
//! seconds or as a date (RFC 9110, 10.2.3), and Google's `RetryInfo` in an error's body. Pure.

use crate::http::{header_wait, seconds};
use reqwest::header::HeaderMap;
use serde_json::Value;
use std::time::{Duration, SystemTime};

/// The wait that a response asks for. A date is relative to the server's own time if the response
/// has it, and to `now` otherwise.
pub(super) fn retry_after(headers: &HeaderMap, body: &Value, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| Some(headers.get(name)?.to_str().ok()?.trim());
    let millis = || seconds(text("retry-after-ms")?).map(|millis| millis / 1000);
    let server = || httpdate::parse_http_date(text("date")?).ok();
    let header = || header_wait(text("retry-after")?, server().unwrap_or(now));
    millis().or_else(header).or_else(|| retry_info(body))
}

/// The `retryDelay` of a `google.rpc.RetryInfo`, such as `3.5s`.
fn retry_info(body: &Value) -> Option<Duration> {
    let body = body.get(0).unwrap_or(body);
    let details = body.pointer("/error/details")?.as_array()?;
    details.iter().find_map(|detail| {
        let delay = detail.get("retryDelay")?.as_str()?;
        seconds(delay.strip_suffix('s')?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::{HeaderName, HeaderValue};
    use serde_json::json;

    fn wait(headers: &[(&'static str, &str)], body: &Value) -> Option<f64> {
        let headers = headers.iter().map(|(name, value)| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_str(value).unwrap())
        });
        let now = httpdate::parse_http_date("Mon, 30 Nov 2026 12:00:00 GMT").unwrap();
        let wait = retry_after(&headers.collect(), body, now);
        wait.map(|wait| wait.as_secs_f64())
    }

    #[test]
    fn a_wait_is_found_in_headers_and_body() {
        let google = |delay: &str| {
            let info =
                json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay});
            json!({"error": {"details": [{"@type": "x"}, info]}})
        };

        for (headers, body, expected) in [
            (&[("retry-after", "7")][..], json!({}), Some(7.0)),
            (&[("retry-after", " 0.5 ")], json!({}), Some(0.5)),
            (
                &[("retry-after-ms", "20"), ("retry-after", "7")],
                json!({}),
                Some(0.02),
            ),
            (
                &[("retry-after", "Mon, 30 Nov 2026 12:00:06 GMT")],
                json!({}),
                Some(6.0),
            ),
            (
                &[("retry-after", "Mon, 30 Nov 2026 11:00:00 GMT")],
                json!({}),
                Some(0.0),
            ),
            // The machine's clock may be wrong; the server's counts.
            (
                &[
                    ("retry-after", "Tue, 01 Dec 2026 08:00:10 GMT"),
                    ("date", "Tue, 01 Dec 2026 08:00:00 GMT"),
                ],
                json!({}),
                Some(10.0),
            ),
            (&[], google("3s"), Some(3.0)),
            (&[], json!([google("1.5s")]), Some(1.5)),
            (&[], google("soon"), None),
            (&[("retry-after", "soon")], google("3s"), Some(3.0)),
            (&[("retry-after", "-1")], json!({}), None),
            (
                &[("retry-after", "1e300")],
                json!({}),
                Some(Duration::MAX.as_secs_f64()),
            ),
            (&[("retry-after", "NaN")], json!({}), None),
            (&[], json!({}), None),
        ] {
            assert_eq!(wait(headers, &body), expected, "{headers:?} {body}");
        }
    }
}
