//! Cuts the bytes of a response into JSON documents: server-sent events, or consecutive documents
//! (lines, one whole document, or an array). The first byte decides, since content types are
//! unreliable. Pure.

use super::nesting::Nesting;
use super::{DOCUMENT_BYTES_MAX, Fault};
use serde_json::Value;
use sse_core::{SseDecoder, SseEvent};
use std::num::NonZeroUsize;

const BOM: &[u8] = b"\xef\xbb\xbf";
/// Bytes at the end of a response in which an error outside of any event is looked for.
const TAIL_BYTES_MAX: usize = 4 << 10;
/// Bytes at the beginning of a response that are kept until its first document.
const HEAD_BYTES_MAX: usize = 512;

/// A document as text, and the name of its event; `message` by default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) event: String,
    pub(super) data: String,
}

/// Cuts the bytes of one response.
pub(super) struct Framing {
    kind: Kind,
    head: Vec<u8>,
    tail: Vec<u8>,
    any: bool,
}

enum Kind {
    /// So far only white space, or the start of a byte order mark.
    Unknown(Vec<u8>),
    Events(Box<SseDecoder>),
    Documents(Documents),
}

impl Default for Framing {
    fn default() -> Self {
        Self {
            kind: Kind::Unknown(Vec::new()),
            head: Vec::new(),
            tail: Vec::new(),
            any: false,
        }
    }
}

impl Framing {
    /// Takes the next bytes and adds the documents that they complete.
    pub(super) fn feed(&mut self, bytes: &[u8], frames: &mut Vec<Frame>) -> Result<(), Fault> {
        let had = frames.len();
        self.remember(bytes);

        let fed = match &mut self.kind {
            Kind::Unknown(waiting) => {
                waiting.extend_from_slice(bytes);
                match Kind::of(waiting) {
                    None => Ok(()),
                    Some(kind) => {
                        let waiting = std::mem::take(waiting);
                        self.kind = kind;
                        self.kind.feed(&waiting, frames)
                    }
                }
            }
            kind => kind.feed(bytes, frames),
        };

        self.any |= frames.len() > had;
        fed
    }

    /// Adds what follows the last event's end: a stream may end without its last line end.
    pub(super) fn end(&mut self, frames: &mut Vec<Frame>) {
        if let Kind::Events(decoder) = &mut self.kind {
            let _too_large_is_cut_off = events(decoder, b"\n\n", frames);
        }
        self.any |= !frames.is_empty();
    }

    fn remember(&mut self, bytes: &[u8]) {
        if !self.any {
            let room = HEAD_BYTES_MAX - self.head.len();
            self.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
        let start = bytes.len().saturating_sub(TAIL_BYTES_MAX);
        self.tail.extend_from_slice(&bytes[start..]);
        let excess = self.tail.len().saturating_sub(TAIL_BYTES_MAX);
        self.tail.drain(..excess);
    }

    /// The beginning of a response in which no document was found.
    pub(super) fn strange_head(&self) -> Option<String> {
        (!self.any).then(|| String::from_utf8_lossy(&self.head).trim().to_owned())
    }

    /// An error in the last line that is not an event: some gateways write JSON into a running
    /// stream.
    pub(super) fn stray_error(&self) -> Option<Value> {
        let tail = String::from_utf8_lossy(&self.tail);
        let last = tail
            .rsplit(['\r', '\n'])
            .map(str::trim)
            .find(|line| !line.is_empty())?;
        let document: Value = serde_json::from_str(last).ok()?;
        super::is_error(&document, "").then_some(document)
    }
}

impl Kind {
    /// Decides the framing by the beginning of a response; `None` if it does not show yet.
    fn of(beginning: &[u8]) -> Option<Self> {
        if beginning.len() < BOM.len() && BOM.starts_with(beginning) {
            return None;
        }

        let head = &beginning[..beginning.len().min(HEAD_BYTES_MAX)];
        let text = head.strip_prefix(BOM).unwrap_or(head);
        match text.trim_ascii_start().first() {
            // Bounds white space that has no end.
            None if head.len() < HEAD_BYTES_MAX => None,
            Some(b'{' | b'[') => Some(Self::Documents(Documents::default())),
            _ => {
                let most = NonZeroUsize::new(DOCUMENT_BYTES_MAX).unwrap_or(NonZeroUsize::MIN);
                Some(Self::Events(Box::new(SseDecoder::with_limit(most))))
            }
        }
    }

    fn feed(&mut self, bytes: &[u8], frames: &mut Vec<Frame>) -> Result<(), Fault> {
        match self {
            Self::Events(decoder) => events(decoder, bytes, frames),
            Self::Documents(documents) => documents.feed(bytes, frames),
            Self::Unknown(_) => Ok(()),
        }
    }
}

fn events(
    decoder: &mut SseDecoder,
    mut bytes: &[u8],
    frames: &mut Vec<Frame>,
) -> Result<(), Fault> {
    while let Some(event) = decoder.next(&mut bytes) {
        match event {
            Ok(SseEvent::Message(message)) => frames.push(Frame {
                event: message.event.into_owned(),
                data: message.data,
            }),
            Ok(SseEvent::Retry(_)) => {}
            Err(_) => return Err(too_large()),
        }
    }

    Ok(())
}

fn too_large() -> Fault {
    Fault::TooMuch(format!(
        "one event of the answer has more than {DOCUMENT_BYTES_MAX} bytes"
    ))
}

/// Consecutive documents with anything between them, and the elements of arrays.
#[derive(Default)]
struct Documents {
    /// The document that is being received.
    bytes: Vec<u8>,
    nesting: Nesting,
}

impl Documents {
    fn feed(&mut self, bytes: &[u8], frames: &mut Vec<Frame>) -> Result<(), Fault> {
        for byte in bytes {
            if self.bytes.is_empty() && *byte != b'{' {
                // Line ends, or the commas and brackets of an array of documents.
                continue;
            }

            self.bytes.push(*byte);

            if self.bytes.len() > DOCUMENT_BYTES_MAX {
                return Err(too_large());
            }

            if self.nesting.step(*byte) {
                let document = std::mem::take(&mut self.bytes);
                frames.push(Frame {
                    event: String::new(),
                    data: String::from_utf8_lossy(&document).into_owned(),
                });
            }
        }

        Ok(())
    }
}
