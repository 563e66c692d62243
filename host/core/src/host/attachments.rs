//! The attachments of a prompt, and the bounds on their number and size.

use super::HostError;
use crate::guest::{BLOB_BYTES_MAX, Blob, blob_of};
use lastword_types::session::{Part, PartBody};

/// The largest number of attachments of one prompt.
pub const ATTACHMENTS_MAX: usize = 64;
/// The largest number of bytes of one attachment.
pub const ATTACHMENT_BYTES_MAX: usize = BLOB_BYTES_MAX;
/// The largest number of bytes of all attachments of one prompt together.
pub const ATTACHED_BYTES_MAX: usize = 20 << 20;

/// The largest number of characters of a media type, and of a name.
const WORD_CHARS_MAX: usize = 255;

/// The attachments of a prompt: their parts, and the bytes.
#[derive(Clone, Default, PartialEq)]
pub(super) struct Attachments {
    pub(super) parts: Vec<Part>,
    pub(super) blobs: Vec<Blob>,
}

impl Attachments {
    pub(super) fn add(&mut self, media_type: String, name: Option<String>, bytes: Vec<u8>) {
        let length = bytes.len() as u64;
        let body = PartBody::Data {
            media_type,
            name,
            blob: blob_of(bytes, &mut self.blobs),
            bytes: length,
        };
        self.parts.push(body.into());
    }

    /// Refuses attachments that exceed the bounds.
    pub(super) fn check(&self) -> Result<(), HostError> {
        let count = self.parts.len();
        if count > ATTACHMENTS_MAX {
            return Err(HostError::Invalid(format!(
                "there are {count} attachments; a prompt may have {ATTACHMENTS_MAX}: ask with \
                 fewer, or put the files into the workspace instead"
            )));
        }

        let lengths = self.blobs.iter().map(|(_, bytes)| bytes.len());
        let (largest, sum) = lengths.fold((0, 0), |(largest, sum), length| {
            (length.max(largest), length + sum)
        });
        if largest > ATTACHMENT_BYTES_MAX {
            return Err(HostError::Invalid(format!(
                "an attachment holds {largest} bytes; each may hold {ATTACHMENT_BYTES_MAX}: put \
                 the file into the workspace instead"
            )));
        }
        if sum > ATTACHED_BYTES_MAX {
            return Err(HostError::Invalid(format!(
                "the attachments hold {sum} bytes; together they may hold {ATTACHED_BYTES_MAX}: \
                 ask with fewer, or put the files into the workspace instead"
            )));
        }

        self.parts.iter().try_for_each(check_words)
    }
}

/// Refuses an invalid media type, and a name that is longer than a file name can be.
fn check_words(part: &Part) -> Result<(), HostError> {
    let PartBody::Data {
        media_type, name, ..
    } = &part.body
    else {
        return Ok(());
    };
    if !is_media_type(media_type) {
        return Err(HostError::Invalid(format!(
            "`{}` is no media type; write one such as `image/png`",
            media_type.escape_debug()
        )));
    }

    let length = name.as_ref().map_or(0, |name| name.chars().count());
    if length > WORD_CHARS_MAX {
        return Err(HostError::Invalid(format!(
            "the name of an attachment has {length} characters; it may have {WORD_CHARS_MAX}"
        )));
    }

    Ok(())
}

/// Whether a text is `type/subtype`, with or without parameters.
fn is_media_type(text: &str) -> bool {
    let (essence, parameters) = text.split_once(';').unwrap_or((text, ""));
    let token = |text: &str| {
        let fits = |c: u8| c.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&c);
        !text.is_empty() && text.bytes().all(fits)
    };

    let named = essence
        .trim_end_matches(' ')
        .split_once('/')
        .is_some_and(|(kind, subtype)| token(kind) && token(subtype));
    let printable = |c: u8| c.is_ascii_graphic() || c == b' ';
    named && text.len() <= WORD_CHARS_MAX && parameters.bytes().all(printable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_media_type_has_a_type_and_a_subtype() {
        for text in [
            "image/png",
            "image/svg+xml",
            "text/plain; charset=utf-8",
            "application/vnd.oasis.opendocument.text",
        ] {
            assert!(is_media_type(text), "{text}");
        }

        let long = format!("image/{}", "x".repeat(WORD_CHARS_MAX));
        for text in [
            "",
            "image",
            "/png",
            "image/",
            "a/b/c",
            "im age/png",
            "image/png\n",
            "a/b;\r\nc",
            "ä/b",
            &long,
        ] {
            assert!(!is_media_type(text), "{text}");
        }
    }
}
