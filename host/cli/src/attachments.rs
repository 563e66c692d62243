//! Files that are attached to a prompt: read within a host's bounds, with the media type according
//! to their content or their name.

use crate::failure::Failure;
use crate::units;
use lastword::session::media_type_of;
use lastword::{ATTACHED_BYTES_MAX, ATTACHMENT_BYTES_MAX, ATTACHMENTS_MAX};
use lastword_client::api::NewAttachment;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Reads the files, all or none.
pub(crate) fn read(files: &[PathBuf]) -> Result<Vec<NewAttachment>, Failure> {
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
        let (attachment, bytes) = one(file)?;
        sum += bytes;
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

/// Reads a file, and returns it with its size in bytes.
fn one(file: &Path) -> Result<(NewAttachment, usize), Failure> {
    let shown = file.display();
    let unreadable = |error: std::io::Error| {
        Failure::usage(match error.kind() {
            ErrorKind::NotFound => format!("there is no file {shown} to attach"),
            ErrorKind::IsADirectory => format!(
                "{shown} is a directory; attach its files one by one, or let the agent read it \
                 with `--workspace {shown}`"
            ),
            ErrorKind::FileTooLarge => format!(
                "{shown} holds more than {}, which is the most that can be attached; let the agent \
                 read it with `--workspace DIR`",
                units::bytes(ATTACHMENT_BYTES_MAX as u64)
            ),
            _ => format!("cannot read {shown} to attach it: {error}"),
        })
    };

    let bytes = lastword::file::read(file, ATTACHMENT_BYTES_MAX).map_err(unreadable)?;
    let name = file
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    let attachment = NewAttachment::new(media_type(file, &bytes), name, &bytes);
    Ok((attachment, bytes.len()))
}

/// Returns the media type of a file. For types that models inspect it is determined by the first
/// bytes, since a wrong type is refused there; for others by the name, which says more about an
/// archive than its first bytes.
fn media_type(file: &Path, bytes: &[u8]) -> String {
    let begins = media_type_of(bytes);
    let is_looked_into = |kind: &&str| kind.starts_with("image/") || *kind == "application/pdf";
    if let Some(looked_into) = begins.filter(is_looked_into) {
        return looked_into.to_owned();
    }

    if let Some(named) = mime_guess::from_path(file).first() {
        return named.essence_str().to_owned();
    }

    let plain = || match std::str::from_utf8(bytes) {
        Ok(_) => "text/plain",
        Err(_) => "application/octet-stream",
    };

    begins.unwrap_or_else(plain).to_owned()
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
            ("a.jar", b"PK\x03\x04rest", "application/java-archive"),
            ("a", b"PK\x03\x04rest", "application/zip"),
            ("a.PNG", b"not really", "image/png"),
            ("notes", "Grüße".as_bytes(), "text/plain"),
            ("notes", b"\xff\xfe", "application/octet-stream"),
            ("empty", b"", "text/plain"),
        ] {
            assert_eq!(media_type(Path::new(name), bytes), expected, "{name}");
        }
    }
}
