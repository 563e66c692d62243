//! Converts the result of a tool into its stored form: bounded, and with its bytes stored
//! separately.

use crate::guest::convert::{BLOB_BYTES_MAX, Blob, blob_of};
use lastword_providers::secrets::{Secrets, redact_json};
use lastword_providers::tools::{ToolContent, ToolError, ToolOutput};
use lastword_types::session::{Content, ToolResult};
use serde_json::Value;

/// The largest number of bytes of text in one result. The built-in tools return less.
const TEXT_BYTES_MAX: usize = 256 << 10;
/// The largest number of pieces in one result.
const PIECES_MAX: usize = 256;

/// A result, the bytes that it refers to, and the failure that it reports, if it reports one.
pub(super) type Recorded = (ToolResult, Vec<Blob>, Option<ToolError>);

/// Removes the value of every secret from a result, since a tool may have received secrets.
pub(super) fn redacted(
    secrets: &Secrets,
    made: Result<ToolOutput, ToolError>,
) -> Result<ToolOutput, ToolError> {
    if secrets.is_empty() {
        return made;
    }

    let clean = |text: String| secrets.redact(&text).into_owned();
    let json = |value: Value| redact_json(value, &|text| secrets.redact(text).into_owned());
    match made {
        Ok(mut output) => {
            for piece in &mut output.content {
                match piece {
                    ToolContent::Text(text) => *text = clean(std::mem::take(text)),
                    ToolContent::Data { bytes, .. } => *bytes = secrets.redact_bytes(bytes),
                }
            }
            output.structured = output.structured.map(json);
            output.metadata = output.metadata.map(json);
            Ok(output)
        }
        Err(error) => Err(ToolError::new(error.kind, clean(error.message))),
    }
}

/// Returns the stored form of a result or failure.
pub(super) fn recorded(
    call_id: &str,
    name: String,
    made: Result<ToolOutput, ToolError>,
) -> Recorded {
    let (output, failed) = match made {
        Ok(output) => (output, None),
        Err(error) => (ToolOutput::error(error.message.clone()), Some(error)),
    };

    let mut blobs = Vec::new();
    let mut left = TEXT_BYTES_MAX;
    let mut content = Vec::new();
    let pieces = output.content.len();
    for piece in output.content.into_iter().take(PIECES_MAX) {
        content.push(kept(piece, &mut left, &mut blobs));
    }

    if pieces > PIECES_MAX {
        let text = format!("[truncated: {} more pieces]", pieces - PIECES_MAX);
        content.push(Content::Text { text });
    }

    let structured = output.structured.map(|value| value.to_string());
    let result = ToolResult {
        call_id: call_id.to_owned(),
        name,
        content,
        structured: structured.filter(|json| json.len() <= TEXT_BYTES_MAX),
        metadata: output.metadata.map(|value| value.to_string()),
        is_error: output.is_error,
    };

    (result, blobs, failed)
}

fn kept(piece: ToolContent, left: &mut usize, blobs: &mut Vec<Blob>) -> Content {
    match piece {
        ToolContent::Text(text) => Content::Text {
            text: bounded(text, left),
        },
        ToolContent::Data { bytes, .. } if bytes.len() > BLOB_BYTES_MAX => Content::Text {
            text: format!(
                "[left out: {} bytes, of which at most {BLOB_BYTES_MAX} are kept]",
                bytes.len()
            ),
        },
        ToolContent::Data {
            media_type,
            name,
            bytes,
        } => {
            let length = bytes.len() as u64;
            Content::Data {
                media_type,
                name,
                blob: blob_of(bytes, blobs),
                bytes: length,
            }
        }
    }
}

fn bounded(mut text: String, left: &mut usize) -> String {
    let whole = text.len();
    if whole > *left {
        text.truncate(text.floor_char_boundary(*left));
        let cut = whole - text.len();
        text.push_str(&format!("\n[truncated: {cut} more bytes]"));
        *left = 0;
    } else {
        *left -= whole;
    }

    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_is_cut_and_says_so() {
        let long = "ä".repeat(TEXT_BYTES_MAX);
        let (result, _, failed) = recorded("1", "t".to_owned(), Ok(ToolOutput::text(long)));
        assert!(failed.is_none());
        let [Content::Text { text }] = &result.content[..] else {
            panic!("one text");
        };
        assert!(text.ends_with("more bytes]"));
        assert!(text.len() < TEXT_BYTES_MAX + 64);
    }

    #[test]
    fn a_failure_is_a_result_too() {
        let (result, _, failed) = recorded("1", "t".to_owned(), Err(ToolError::invalid("no")));
        assert!(result.is_error);
        assert_eq!(failed.map(|error| error.message).as_deref(), Some("no"));
    }
}
