//! Converts a server's result of a call into the host's own output: bounded, and without secrets.

use super::launch::SecretSource;
use super::text;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use lastword_providers::secrets::redact_json;
use lastword_providers::tools::{ToolContent, ToolOutput};
use rmcp::model::{CallToolResult, ContentBlock, Resource, ResourceContents};
use serde_json::Value;

/// The largest number of bytes of text in a result. The rest is cut off, and a marker says so.
pub const TEXT_MAX: usize = 64 * 1024;
/// The largest number of bytes of pictures, sounds and files in a result. Those that exceed it are
/// left out, and a marker says so.
pub const DATA_MAX: usize = 8 * 1024 * 1024;
/// The largest number of bytes of structured JSON in a result. A larger one is left out, and a
/// marker says so.
pub const STRUCTURED_MAX: usize = 256 * 1024;
/// The largest number of pieces in a result.
const PIECES_MAX: usize = 256;
/// The longest media type or file name that is kept, in bytes.
const NAME_MAX: usize = 128;

/// A result under construction, with its remaining bounds.
struct OutputBuilder<'a> {
    fill: &'a dyn SecretSource,
    content: Vec<ToolContent>,
    text_left: usize,
    data_left: usize,
}

/// Converts a server's result into the host's output.
pub(super) fn tool_output(result: CallToolResult, fill: &dyn SecretSource) -> ToolOutput {
    let mut pieces = OutputBuilder {
        fill,
        content: Vec::new(),
        text_left: TEXT_MAX,
        data_left: DATA_MAX,
    };

    let count = result.content.len();

    for block in result.content.into_iter().take(PIECES_MAX) {
        pieces.block(block);
    }

    if count > PIECES_MAX {
        pieces.note(&format!("left out: {} more pieces", count - PIECES_MAX));
    }

    let mut structured = result.structured_content.map(|value| redact(value, fill));
    if let Some(value) = &structured {
        let text = value.to_string();

        if pieces.content.is_empty() {
            pieces.text(&text);
        }

        if text.len() > STRUCTURED_MAX {
            pieces.note(&format!(
                "left out: {} bytes of structured content",
                text.len()
            ));
            structured = None;
        }
    }

    ToolOutput {
        content: pieces.content,
        structured,
        metadata: None,
        is_error: result.is_error.unwrap_or_default(),
    }
}

impl OutputBuilder<'_> {
    fn block(&mut self, block: ContentBlock) {
        match block {
            ContentBlock::Text(block) => self.text(&block.text),
            ContentBlock::Image(image) => self.data("image", &image.data, &image.mime_type, None),
            ContentBlock::Audio(audio) => self.data("audio", &audio.data, &audio.mime_type, None),
            ContentBlock::ResourceLink(link) => self.text(&describe_link(&link)),
            ContentBlock::Resource(embedded) => self.resource(embedded.resource),
            // The protocol may gain further kinds.
            _ => self.note("left out: content of a kind that this host does not know"),
        }
    }

    fn resource(&mut self, resource: ResourceContents) {
        match resource {
            ResourceContents::TextResourceContents { uri, text, .. } => {
                self.text(&format!("{uri}\n{text}"));
            }
            ResourceContents::BlobResourceContents {
                uri,
                mime_type,
                blob,
                ..
            } => {
                let media_type = mime_type.as_deref().unwrap_or("application/octet-stream");
                let name = uri.rsplit('/').next().filter(|name| !name.is_empty());
                self.data("resource", &blob, media_type, name);
            }
            _ => self.note("left out: a resource of a kind that this host does not know"),
        }
    }

    fn text(&mut self, message: &str) {
        let message = self.fill.redact(message);
        if message.len() <= self.text_left {
            self.text_left -= message.len();
            self.content.push(ToolContent::Text(message));
        } else if self.text_left > 0 {
            let cut_text = text::cut(message, self.text_left);
            self.text_left = 0;
            self.content.push(ToolContent::Text(cut_text));
        } else {
            self.note(&format!("truncated: {} more bytes", message.len()));
        }
    }

    /// Adds a marker of the host's own, which is outside the bound.
    fn note(&mut self, note: &str) {
        self.content.push(ToolContent::Text(format!("[{note}]")));
    }

    fn data(&mut self, what: &str, encoded: &str, media_type: &str, name: Option<&str>) {
        let media_type = text::prefix(&self.fill.redact(media_type), NAME_MAX).to_owned();
        let name = name.map(|name| self.fill.redact(name));
        let name = name.map(|name| text::prefix(&name, NAME_MAX).to_owned());

        // Checked before decoding, so that data beyond the bound takes no memory.
        if encoded.len() / 4 * 3 > self.data_left + 2 {
            let bytes = encoded.len() / 4 * 3;
            return self.note(&format!(
                "left out: {what} of type {media_type}, about {bytes} bytes; an answer holds at \
                 most {DATA_MAX}"
            ));
        }

        let Some(bytes) = decode_base64(encoded) else {
            return self.note(&format!(
                "left out: {what} of type {media_type}, which is no base64"
            ));
        };

        // Data that is valid text may still contain secrets.
        let bytes = match String::from_utf8(bytes) {
            Ok(message) => self.fill.redact(&message).into_bytes(),
            Err(bytes) => bytes.into_bytes(),
        };
        self.data_left = self.data_left.saturating_sub(bytes.len());

        self.content.push(ToolContent::Data {
            media_type,
            name,
            bytes,
        });
    }
}

/// Base64, padded or not. Some servers leave bits behind the last byte.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Decodes base64 in the standard or the URL alphabet, in one line or several. Returns `None` if
/// the text is invalid.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let symbols = text.bytes().filter(|symbol| !b"\r\n".contains(symbol));
    let symbols = symbols.map(|symbol| match symbol {
        b'-' => b'+',
        b'_' => b'/',
        symbol => symbol,
    });
    BASE64.decode(symbols.collect::<Vec<u8>>()).ok()
}

/// Describes a resource that was linked and not sent.
fn describe_link(link: &Resource) -> String {
    let mut message = format!("{} <{}>", link.name, link.uri);
    if let Some(kind) = &link.mime_type {
        message.push_str(&format!(" ({kind})"));
    }
    if let Some(description) = &link.description {
        message.push_str(&format!(": {description}"));
    }
    message
}

/// Replaces secrets in a JSON value, in names and in strings.
pub(super) fn redact(value: Value, fill: &dyn SecretSource) -> Value {
    redact_json(value, &|text| fill.redact(text))
}

#[cfg(test)]
mod tests {
    use super::super::launch::NoSecretSource;
    use super::*;
    use serde_json::json;

    struct Canary;

    impl SecretSource for Canary {
        fn fill(&self, text: &str) -> Result<String, String> {
            Ok(text.to_owned())
        }

        fn redact(&self, text: &str) -> String {
            text.replace("canary", "***")
        }
    }

    fn read(answer: Value, fill: &dyn SecretSource) -> ToolOutput {
        tool_output(serde_json::from_value(answer).unwrap(), fill)
    }

    fn texts(output: &ToolOutput) -> Vec<&str> {
        let texts = output.content.iter().filter_map(|piece| match piece {
            ToolContent::Text(text) => Some(text.as_str()),
            ToolContent::Data { .. } => None,
        });
        texts.collect()
    }

    #[test]
    fn every_kind_of_content_arrives() {
        let answer = json!({"content": [
            {"type": "text", "text": "hello"},
            {"type": "image", "data": "Zm9v", "mimeType": "image/png"},
            {"type": "audio", "data": "Zm9vYg==", "mimeType": "audio/wav"},
            {"type": "resource_link", "uri": "file:///a", "name": "a", "mimeType": "text/plain",
             "description": "the a"},
            {"type": "resource", "resource": {"uri": "demo://t", "text": "inside"}},
            {"type": "resource", "resource": {"uri": "demo://x/b.bin", "blob": "AAE="}},
        ], "structuredContent": {"n": 1}, "isError": true});
        let output = read(answer, &NoSecretSource);

        assert_eq!(
            texts(&output),
            [
                "hello",
                "a <file:///a> (text/plain): the a",
                "demo://t\ninside"
            ]
        );

        let data = |media_type: &str, name: Option<&str>, bytes: &[u8]| ToolContent::Data {
            media_type: media_type.to_owned(),
            name: name.map(str::to_owned),
            bytes: bytes.to_vec(),
        };
        assert_eq!(output.content[1], data("image/png", None, b"foo"));
        assert_eq!(output.content[2], data("audio/wav", None, b"foob"));

        let expected = data("application/octet-stream", Some("b.bin"), &[0, 1]);
        assert_eq!(output.content[5], expected);
        assert_eq!(output.structured, Some(json!({"n": 1})));
        assert!(output.is_error);
    }

    #[test]
    fn structured_content_alone_is_also_shown_as_text() {
        let output = read(json!({"structuredContent": {"n": 1}}), &NoSecretSource);
        assert_eq!(texts(&output), ["{\"n\":1}"]);
        assert!(!output.is_error);
    }

    #[test]
    fn too_much_text_is_cut_and_says_so() {
        let block = json!({"type": "text", "text": "é".repeat(20 * 1024)});
        let output = read(json!({"content": [block, block, block]}), &NoSecretSource);
        let texts = texts(&output);

        assert_eq!(texts[0].len(), 40 * 1024);

        assert!(
            texts[1].ends_with("[truncated: 16384 more bytes]"),
            "{}",
            &texts[1][24_000..]
        );

        assert_eq!(texts[2], "[truncated: 40960 more bytes]");
    }

    #[test]
    fn too_much_data_is_left_out_and_says_so() {
        let block = |bytes: usize| {
            let data = "A".repeat(bytes.div_ceil(3) * 4);
            json!({"type": "image", "data": data, "mimeType": "image/png"})
        };
        let answer = json!({"content": [block(DATA_MAX - 3), block(30), block(3)]});
        let output = read(answer, &NoSecretSource);

        assert!(
            matches!(&output.content[0], ToolContent::Data { bytes, .. } if bytes.len() > 8_000_000)
        );
        assert!(
            matches!(&output.content[1], ToolContent::Text(text) if text.contains("image/png"))
        );

        let many: Vec<_> = (0..1000)
            .map(|_| json!({"type": "text", "text": "x"}))
            .collect();
        let output = read(json!({ "content": many }), &NoSecretSource);
        assert_eq!(output.content.len(), PIECES_MAX + 1);

        let structured = json!({"x": "x".repeat(STRUCTURED_MAX)});
        let output = read(json!({"structuredContent": structured}), &NoSecretSource);
        assert_eq!(output.structured, None);

        assert!(
            texts(&output)
                .last()
                .unwrap()
                .contains("structured content")
        );
    }

    #[test]
    fn the_vectors_of_rfc_4648_are_decoded_in_every_spelling() {
        for (text, expected) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg==", "foob"),
            ("Zm9vYmE=", "fooba"),
            ("Zm9vYmFy", "foobar"),
            ("Zm9vYg", "foob"),
            ("Zm9v\nYmE=", "fooba"),
        ] {
            let read = decode_base64(text);
            assert_eq!(read.as_deref(), Some(expected.as_bytes()), "{text}");
        }

        assert_eq!(decode_base64("-_+/"), Some(vec![0xfb, 0xff, 0xbf]));
    }

    #[test]
    fn invalid_base64_is_refused() {
        for text in ["Z", "Zm9vY", "Zg==Zg==", "Zm 9v", "Zm9v!", "é"] {
            assert_eq!(decode_base64(text), None, "{text}");
        }
    }

    #[test]
    fn invalid_base64_is_reported() {
        let block = json!({"type": "audio", "data": "!", "mimeType": "audio/wav"});
        let output = read(json!({"content": [block]}), &NoSecretSource);
        assert_eq!(
            texts(&output),
            ["[left out: audio of type audio/wav, which is no base64]"]
        );
    }

    #[test]
    fn secrets_are_redacted_everywhere() {
        let answer = json!({"content": [
            {"type": "text", "text": "a canary"},
            {"type": "image", "data": "Y2FuYXJ5", "mimeType": "image/canary"},
            {"type": "resource", "resource": {"uri": "x/canary", "blob": "Y2FuYXJ5"}},
            {"type": "resource_link", "uri": "canary:", "name": "canary"},
        ], "structuredContent": {"canary": ["canary"]}});
        let output = read(answer, &Canary);
        assert!(!format!("{output:?}").contains("canary"), "{output:?}");

        let bytes = b"canary";
        assert!(!output.content.iter().any(|piece| matches!(
            piece,
            ToolContent::Data { bytes: found, .. } if found == bytes
        )));
    }
}
