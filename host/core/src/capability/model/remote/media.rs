//! Bytes on the wire: which of them a service takes, and their base64. Knows no store and no
//! message.

use crate::capability::model::config::Service;
use crate::capability::model::provider::bare;
use genai::chat::ContentPart;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

const PDF: &str = "application/pdf";

/// Whether a service takes bytes of this type. One that does not would refuse the request, and
/// every later one with the same history.
pub(super) fn takes(service: Service, media_type: &str) -> bool {
    match (service, bare(media_type).as_str()) {
        (_, "image/png" | "image/jpeg" | "image/webp") => true,
        (Service::OpenAi | Service::Anthropic | Service::Ollama, "image/gif") => true,
        (Service::Gemini, "image/heic" | "image/heif") => true,
        // Ollama's OpenAI-compatible end has no part for files.
        (Service::OpenAi | Service::Anthropic | Service::Gemini, PDF) => true,
        _ => false,
    }
}

/// Bytes as a part of a message.
pub(super) fn part(media_type: &str, name: Option<String>, bytes: &[u8]) -> ContentPart {
    let media_type = bare(media_type);
    // OpenAI insists on a name for a file.
    let name = name.or_else(|| (media_type == PDF).then(|| "file.pdf".to_owned()));
    ContentPart::from_binary_base64(media_type, encode(bytes), name)
}

fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let symbol = bits >> (18 - 6 * at) & 63;
            text.push(match at > three.len() {
                true => '=',
                false => char::from(ALPHABET[symbol as usize]),
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_rfc_4648() {
        for (text, expected) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encode(text.as_bytes()), expected);
        }
        assert_eq!(encode(&[0xfb, 0xff, 0xbf]), "+/+/");
    }

    #[test]
    fn services_get_what_they_take() {
        assert!(Service::ALL.iter().all(|it| takes(*it, "image/png")));
        assert!(takes(Service::Anthropic, "Application/PDF; version=1.7"));
        assert!(!takes(Service::Ollama, PDF));
        assert!(!takes(Service::Gemini, "image/gif"));
        for never in ["image/svg+xml", "text/plain", "application/zip", ""] {
            assert!(!Service::ALL.iter().any(|it| takes(*it, never)), "{never}");
        }
    }
}
