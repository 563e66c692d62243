//! Files that go with a prompt: read within a host's bounds, with the media type that their content
//! or their name says. Knows neither prompts nor hosts.

use crate::failure::Failure;
use crate::units;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use lastword::{ATTACHED_BYTES_MAX, ATTACHMENT_BYTES_MAX, ATTACHMENTS_MAX};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// What files of a kind begin with, for those that models look into: a wrong type is refused there,
/// whatever the file is called.
const BEGINNINGS: &[(&[u8], &str)] = &[
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", "application/pdf"),
];

/// A file that goes with a prompt.
#[derive(Clone)]
pub(crate) struct Attachment {
    pub(crate) media_type: String,
    pub(crate) name: Option<String>,
    pub(crate) bytes: Vec<u8>,
}

impl Attachment {
    /// As a server takes it.
    pub(crate) fn as_json(&self) -> Value {
        json!({
            "media_type": self.media_type,
            "name": self.name,
            "data": BASE64_STANDARD.encode(&self.bytes),
        })
    }
}

/// Reads the files, all or none.
pub(crate) fn read(files: &[PathBuf]) -> Result<Vec<Attachment>, Failure> {
    if files.len() > ATTACHMENTS_MAX {
        return Err(Failure::usage(format!(
            "there are {} files to attach; a prompt may have {ATTACHMENTS_MAX}: attach fewer, or \
             let the agent read them with `--workspace DIR`",
            files.len()
        )));
    }
    let mut read = Vec::with_capacity(files.len());
    let mut sum = 0;
    for file in files {
        let attachment = one(file)?;
        sum += attachment.bytes.len();
        if sum > ATTACHED_BYTES_MAX {
            let most = units::bytes(ATTACHED_BYTES_MAX as u64);
            return Err(Failure::usage(format!(
                "the files to attach hold more than {most} together; attach fewer, or let the \
                 agent read them with `--workspace DIR`"
            )));
        }
        read.push(attachment);
    }
    Ok(read)
}

fn one(file: &Path) -> Result<Attachment, Failure> {
    let shown = file.display();
    let unreadable = |error: std::io::Error| {
        Failure::usage(match error.kind() {
            ErrorKind::NotFound => format!("there is no file {shown} to attach"),
            ErrorKind::IsADirectory => format!(
                "{shown} is a directory; attach its files one by one, or let the agent read it \
                 with `--workspace {shown}`"
            ),
            _ => format!("cannot read {shown} to attach it: {error}"),
        })
    };
    let opened = File::open(file).map_err(unreadable)?;
    let mut bytes = Vec::new();
    // One more than may be tells a file that is too large, and a device has no length.
    let most = ATTACHMENT_BYTES_MAX as u64;
    opened
        .take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() > ATTACHMENT_BYTES_MAX {
        return Err(Failure::usage(format!(
            "{shown} holds more than {}, which is the most that can be attached; let the agent \
             read it with `--workspace DIR`",
            units::bytes(most)
        )));
    }
    let name = file
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    Ok(Attachment {
        media_type: media_type(file, &bytes),
        name,
        bytes,
    })
}

/// What a file is: by its beginning, else by its name, else by whether it is text.
fn media_type(file: &Path, bytes: &[u8]) -> String {
    let begins = |(beginning, _): &&(&[u8], &str)| bytes.starts_with(beginning);
    if let Some((_, media_type)) = BEGINNINGS.iter().find(begins) {
        return (*media_type).to_owned();
    }
    if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        return "image/webp".to_owned();
    }
    let by_name = mime_guess::from_path(file).first();
    by_name.map_or_else(
        || match std::str::from_utf8(bytes) {
            Ok(_) => "text/plain".to_owned(),
            Err(_) => "application/octet-stream".to_owned(),
        },
        |media_type| media_type.essence_str().to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_counts_for_more_than_a_name() {
        for (name, bytes, expected) in [
            ("a.txt", &b"\x89PNG\r\n\x1a\nrest"[..], "image/png"),
            ("photo", b"\xff\xd8\xff\xe0rest", "image/jpeg"),
            ("a.bin", b"GIF89arest", "image/gif"),
            ("a", b"RIFF\0\0\0\0WEBPrest", "image/webp"),
            ("a", b"RIFF\0\0\0\0WAVErest", "text/plain"),
            ("a", b"%PDF-1.7", "application/pdf"),
            ("a.csv", b"a,b", "text/csv"),
            ("a.PNG", b"not really", "image/png"),
            ("notes", "Grüße".as_bytes(), "text/plain"),
            ("notes", b"\xff\xfe", "application/octet-stream"),
            ("empty", b"", "text/plain"),
        ] {
            assert_eq!(media_type(Path::new(name), bytes), expected, "{name}");
        }
    }
}
