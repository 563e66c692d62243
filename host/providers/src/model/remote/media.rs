//! Bytes on the wire: which media types a service accepts, and base64.

use crate::model::endpoint::Service;
use crate::model::provider::bare;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const PDF: &str = "application/pdf";

/// Whether a service accepts bytes of this type. Otherwise it would refuse the request, and every
/// later one with the same history.
pub(super) fn takes(service: Service, media_type: &str) -> bool {
    match (service, bare(media_type).as_str()) {
        (_, "image/png" | "image/jpeg" | "image/webp") => true,
        (Service::OpenAi | Service::Anthropic | Service::Ollama, "image/gif") => true,
        (Service::Gemini, "image/heic" | "image/heif") => true,
        // Ollama has no part for files.
        (Service::OpenAi | Service::Anthropic | Service::Gemini, PDF) => true,
        _ => false,
    }
}

/// Whether bytes of this type are an image.
pub(super) fn is_image(media_type: &str) -> bool {
    bare(media_type).starts_with("image/")
}

/// Encodes bytes in standard base64, which every service uses.
pub(super) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_get_only_the_media_types_they_accept() {
        assert!(Service::ALL.iter().all(|it| takes(*it, "image/png")));
        assert!(takes(Service::Anthropic, "Application/PDF; version=1.7"));
        assert!(!takes(Service::Ollama, PDF));
        assert!(!takes(Service::Gemini, "image/gif"));
        for never in ["image/svg+xml", "text/plain", "application/zip", ""] {
            assert!(!Service::ALL.iter().any(|it| takes(*it, never)), "{never}");
        }
    }
}
