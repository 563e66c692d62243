//! Detects the media type of bytes by their beginning, independent of a file name.

/// The first bytes of common kinds of files.
const KNOWN: [(&[u8], &str); 10] = [
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"%PDF-", "application/pdf"),
    (b"PK\x03\x04", "application/zip"),
    (b"\x1f\x8b", "application/gzip"),
    (b"\x28\xb5\x2f\xfd", "application/zstd"),
    (b"\x7fELF", "application/x-elf"),
    (b"\0asm", "application/wasm"),
    (b"SQLite format 3\0", "application/vnd.sqlite3"),
];

/// Returns the media type if the bytes begin like one of the known kinds of files.
#[must_use]
pub fn media_type_of(bytes: &[u8]) -> Option<&'static str> {
    let known = KNOWN.iter().find(|(magic, _)| bytes.starts_with(magic));
    match known {
        Some((_, media_type)) => Some(media_type),
        None if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") => {
            Some("image/webp")
        }
        None => None,
    }
}
