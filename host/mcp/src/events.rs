//! Server-sent events of a server over HTTP: decodes the messages in them, so that `rmcp` receives
//! only readable ones.

use super::decode::{Decoder, MESSAGE_MAX, ServerMessage};
use super::message_scan::MessageScan;
use futures_util::{Stream, StreamExt as _, stream};
use rmcp::model::RequestId;
use rmcp::transport::common::client_side_sse::BoxedSseResponse;
use sse_stream::{Sse, SseStream};
use std::io::Cursor;
use std::sync::Arc;

/// The largest number of bytes of an event's other fields, and of the names of its fields.
const FIELDS: usize = 4 * 1024;

/// Decodes a stream of events that may contain the response to the request `of`.
pub(super) fn events<B, E>(
    bytes: impl Stream<Item = Result<B, E>> + Send + 'static,
    decoder: &Arc<Decoder>,
    of: Option<RequestId>,
) -> BoxedSseResponse
where
    B: AsRef<[u8]> + Send + 'static,
    E: std::error::Error + Send + Sync + 'static,
{
    let mut tamed = SseLimiter::default();
    let bytes = bytes.map(move |chunk| chunk.map(|chunk| Cursor::new(tamed.feed(chunk.as_ref()))));
    let decoder = Arc::clone(decoder);

    let events = SseStream::from_bytes_stream(bytes).flat_map(move |event| {
        stream::iter(match event {
            Ok(event) => decode_event(event, &decoder, of.as_ref())
                .into_iter()
                .map(Ok)
                .collect(),
            Err(error) => vec![Err(error)],
        })
    });
    events.boxed()
}

/// Creates a stream of only these messages.
pub(super) fn stream_of(messages: &[ServerMessage]) -> BoxedSseResponse {
    let events: Vec<_> = messages.iter().filter_map(event).map(Ok).collect();
    stream::iter(events).boxed()
}

fn event(message: &ServerMessage) -> Option<Sse> {
    let data = serde_json::to_string(message).ok()?;
    Some(Sse::default().data(data))
}

/// Returns one event for each message in an event, or an event without data if it has none.
fn decode_event(mut whole: Sse, decoder: &Decoder, of: Option<&RequestId>) -> Vec<Sse> {
    let is_message = matches!(whole.event.as_deref(), None | Some("" | "message"));
    let data = match whole.data.take() {
        Some(data) if is_message && !data.trim().is_empty() => data,
        data => {
            whole.data = data;
            return vec![whole];
        }
    };

    let messages = if data.len() + FIELDS > MESSAGE_MAX {
        let mut scan = MessageScan::default();
        scan.feed(data.as_bytes());
        let why = format!("it is longer than {MESSAGE_MAX} bytes");
        decoder.unreadable(&scan, of, &why).into_iter().collect()
    } else {
        decoder.decode(data.as_bytes(), of)
    };

    let mut events = vec![whole];
    events.extend(messages.iter().filter_map(event));
    events
}

/// Limits the bytes that the parser of events receives: valid text, and no event longer than its
/// bound. Bytes beyond it are dropped, except line ends.
#[derive(Default)]
struct SseLimiter {
    /// The start of a character whose rest has not arrived yet.
    begun: Vec<u8>,
    event: usize,
    in_line: bool,
    after_return: bool,
}

impl SseLimiter {
    fn feed(&mut self, chunk: &[u8]) -> Vec<u8> {
        let mut tamed = Vec::with_capacity(chunk.len());

        for &byte in self.text(chunk).as_bytes() {
            let is_second_half = self.after_return && byte == b'\n';
            self.after_return = byte == b'\r';

            match byte {
                b'\n' if is_second_half => {}
                b'\r' | b'\n' => {
                    if !self.in_line {
                        self.event = 0;
                    }
                    self.in_line = false;
                }
                _ => {
                    self.in_line = true;
                    self.event += 1;
                    if self.event > MESSAGE_MAX {
                        continue;
                    }
                }
            }

            tamed.push(byte);
        }

        tamed
    }

    /// Returns the chunk as text, together with the rest of the previous one.
    fn text(&mut self, chunk: &[u8]) -> String {
        let mut bytes = std::mem::take(&mut self.begun);
        bytes.extend_from_slice(chunk);

        let cut = match bytes.utf8_chunks().last() {
            Some(last) if !last.invalid().is_empty() => {
                let begun = std::str::from_utf8(last.invalid());
                let is_cut = begun.is_err_and(|error| error.error_len().is_none());
                if is_cut { last.invalid().len() } else { 0 }
            }
            _ => 0,
        };
        self.begun = bytes.split_off(bytes.len() - cut);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_text_wherever_they_are_cut() {
        let bytes = b"data: \xc3\xa9 \xff \xf0\x9f\x98\x80 \xe2\x82\r\n\r\n";
        let expected = String::from_utf8_lossy(bytes).into_owned();
        for cut in 0..bytes.len() {
            let mut tamed = SseLimiter::default();
            let mut text = tamed.feed(&bytes[..cut]);
            text.extend(tamed.feed(&bytes[cut..]));
            assert_eq!(text, expected.as_bytes(), "cut at {cut}");
        }
    }

    #[test]
    fn an_event_without_an_end_takes_a_bounded_memory_and_the_next_one_is_whole() {
        for end in ["\n", "\r", "\r\n"] {
            let mut tamed = SseLimiter::default();
            let mut passed = tamed.feed(b"data: ").len();

            for _ in 0..20 {
                passed += tamed.feed(&vec![b'x'; 1024 * 1024]).len();
            }

            assert_eq!(passed, MESSAGE_MAX);
            let next = format!("{end}data: more{end}{end}data: next{end}{end}");
            let rest = format!("{end}{end}{end}data: next{end}{end}");

            assert_eq!(
                String::from_utf8(tamed.feed(next.as_bytes())).unwrap(),
                rest
            );
        }
    }
}
