//! Finds the id of a message that cannot be parsed, so that the request it responds to can be
//! failed.

use rmcp::model::RequestId;

/// The largest number of bytes of a name or a plain value that are kept. No id is longer.
const WORD_MAX: usize = 128;

/// Scans the bytes of one message, in pieces of any length, and keeps its id. The message may be
/// cut or broken.
#[derive(Default)]
pub(super) struct MessageScan {
    depth: usize,
    in_text: bool,
    escaped: bool,
    /// The name or plain value that is being read in the outermost object.
    word: Vec<u8>,
    name: Option<Vec<u8>>,
    id: Option<RequestId>,
    has_method: bool,
}

impl MessageScan {
    /// Scans further bytes.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.step(byte);
        }
    }

    /// Returns the id of the outermost object, if it was found.
    pub(super) fn id(&self) -> Option<RequestId> {
        self.id.clone()
    }

    /// Whether the message is a request or a notification, and not a response.
    pub(super) fn has_method(&self) -> bool {
        self.has_method
    }

    fn step(&mut self, byte: u8) {
        let outermost = self.depth == 1;

        if self.in_text {
            match (self.escaped, byte) {
                (false, b'"') => self.in_text = false,
                (false, b'\\') => self.escaped = true,
                _ => self.escaped = false,
            }
            return self.keep(byte);
        }

        match byte {
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                if outermost {
                    self.member();
                }
                self.depth = self.depth.saturating_sub(1);
            }
            b':' if outermost => self.name = Some(std::mem::take(&mut self.word)),
            b',' if outermost => self.member(),
            _ if byte.is_ascii_whitespace() => {}
            _ => {
                self.in_text = byte == b'"';
                self.keep(byte);
            }
        }
    }

    fn keep(&mut self, byte: u8) {
        if self.depth == 1 && self.word.len() < WORD_MAX {
            self.word.push(byte);
        }
    }

    fn member(&mut self) {
        let value = std::mem::take(&mut self.word);
        match self.name.take().as_deref() {
            Some(b"\"id\"") => self.id = serde_json::from_slice(&value).ok(),
            Some(b"\"method\"") => self.has_method = true,
            _ => {}
        }
    }
}

/// Replaces every lone half of a surrogate pair in a JSON text by U+FFFD.
pub(super) fn mend_surrogates(json: &str) -> String {
    let mut mended = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        mended.push_str(&rest[..at]);
        rest = &rest[at..];

        let whole = match (code(rest), rest.get(6..).and_then(code)) {
            (Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => Some(12),
            (Some(0xd800..0xe000), _) => None,
            (Some(_), _) => Some(6),
            // The escaped character may be a backslash itself.
            (None, _) => rest
                .char_indices()
                .nth(2)
                .map_or(Some(rest.len()), |(at, _)| Some(at)),
        };
        mended.push_str(whole.map_or("\\ufffd", |length| &rest[..length]));
        rest = &rest[whole.unwrap_or(6)..];
    }

    mended.push_str(rest);
    mended
}

/// Returns the code of an escape such as `\u00e9` at the start of the text.
fn code(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    let all = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    all.then(|| u16::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skimmed(message: &str) -> (Option<RequestId>, bool) {
        let mut whole = MessageScan::default();
        whole.feed(message.as_bytes());

        for cut in 0..message.len() {
            let mut pieces = MessageScan::default();
            pieces.feed(&message.as_bytes()[..cut]);
            pieces.feed(&message.as_bytes()[cut..]);
            assert_eq!(pieces.id(), whole.id(), "cut at {cut}");
        }

        (whole.id(), whole.has_method())
    }

    #[test]
    fn the_id_is_found_wherever_it_is() {
        let number = |number| Some(RequestId::Number(number));

        for (message, id) in [
            (r#"{"id":7,"result":{"id":8,"x":["#, number(7)),
            (r#"{"result":{"id":8,"t":"}\"{,"},"id": 7}"#, number(7)),
            (
                r#"{"result":"{\"id\":8}\\","id":"a","jsonrpc""#,
                Some(RequestId::String("a".into())),
            ),
            (r#"{"result":{"id":8}"#, None),
            (r#"{"id":"#, None),
            (r#"{"id":7"#, None),
            (r#"{"identity":7,"id":null}"#, None),
            (r#"}}]],"id":7,"#, None),
            ("", None),
        ] {
            assert_eq!(skimmed(message), (id, false), "{message}");
        }

        assert_eq!(skimmed(r#"{"id":1,"method":"x","#), (number(1), true));
    }

    #[test]
    fn a_lone_surrogate_becomes_one_character() {
        for (json, text) in [
            (r#""a\ud83db""#, "a\u{fffd}b"),
            (r#""\ude00""#, "\u{fffd}"),
            (r#""\ud83d\ud83d\ude00""#, "\u{fffd}\u{1f600}"),
            (r#""\uD83D\uDE00""#, "\u{1f600}"),
            (r#""\\ud83d \u00e9\n""#, "\\ud83d \u{e9}\n"),
            (r#""\ud83dé\\""#, "\u{fffd}é\\"),
            (r#""plain""#, "plain"),
        ] {
            let read: String = serde_json::from_str(&mend_surrogates(json)).unwrap();
            assert_eq!(read, text, "{json}");
        }

        for broken in ["\\", "\\u", "\\ud8", "\\ud83d\\u", "\\é"] {
            mend_surrogates(broken);
        }
    }
}
