//! `read_file`: the lines of a text, or a description of a file that is not text.

use super::freshness::Digest;
use super::job::run_blocking;
use super::order::Turn;
use super::path::{OpenFile, RequestedPath, open_at};
use super::{Run, TEXT_BYTES_MAX, ToolFailure, arguments, reading};
use crate::tools::{Effects, Invocation, Tool, ToolOutput};
use lastword_types::session::media_type_of;
use serde::Deserialize;
use serde_json::json;
use std::num::NonZeroU64;
use std::sync::Arc;
use tokio::runtime::Handle;

pub(super) const NAME: &str = "read_file";

/// How many bytes at the beginning are checked for a NUL, which marks a file as binary.
const BINARY_BYTES: usize = 8 << 10;
/// Has to accept exactly what the schema accepts: `cached_read` relies on it alone.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Arguments {
    pub(super) path: String,
    start_line: Option<NonZeroU64>,
    start_byte: Option<u64>,
    line_count: Option<NonZeroU64>,
}

pub(super) fn tool() -> Tool {
    Tool {
        name: NAME.to_owned(),
        description: "Read a text file of the workspace, whole or a range of its lines. Long \
            files come in parts; the answer then says how to read on. Of a file that is no text \
            you learn its type and size. Read a file before you change it."
            .to_owned(),
        parameters: json!({
            "type": "object",
            "properties": {
                "path": {"type": "string", "description": "Relative to the workspace."},
                "start_line": {"type": "integer", "minimum": 1,
                    "description": "The first line to read; 1 if not given."},
                "line_count": {"type": "integer", "minimum": 1,
                    "description": "How many lines to read; as many as fit if not given."},
                "start_byte": {"type": "integer", "minimum": 0,
                    "description": "Byte of the first line to begin at, for very long lines."},
            },
            "required": ["path"],
            "additionalProperties": false,
        }),
        effects: Effects::None,
    }
}

pub(super) async fn call(
    run: Arc<Run>,
    mut call: Invocation,
    turn: Option<Turn>,
    runtime: &Handle,
) -> Result<ToolOutput, ToolFailure> {
    let arguments: Arguments = arguments(&mut call)?;
    let wanted = RequestedPath::parse(&arguments.path)?;
    let at = Arc::clone(&run);
    let path = run_blocking(runtime, move |_| wanted.existing(at.root()?)).await?;

    if let Some(turn) = &turn {
        turn.wait(&path).await;
    }

    call.permits.require(reading(&path, "read")).await?;
    let (at, resolved) = (Arc::clone(&run), path.clone());
    let (digest, answer) = run_blocking(runtime, move |_| {
        read(open_at(at.root()?, &resolved)?, &resolved, &arguments)
    })
    .await?;

    run.seen.note(&path, digest);
    Ok(answer)
}

fn read(
    mut opened: OpenFile,
    path: &str,
    arguments: &Arguments,
) -> Result<(Digest, ToolOutput), ToolFailure> {
    let bytes = opened.read(path)?;
    Ok(output(path, &bytes, arguments))
}

/// Converts a file's bytes into the tool's output.
pub(super) fn output(path: &str, bytes: &[u8], arguments: &Arguments) -> (Digest, ToolOutput) {
    let digest = Digest::of(bytes);
    let binary = bytes[..bytes.len().min(BINARY_BYTES)].contains(&0);
    let result = match str::from_utf8(bytes) {
        Ok(text) if !binary => lines_output(path, text, digest, arguments),
        _ => describe_binary(path, bytes, digest),
    };
    (digest, result)
}

fn describe_binary(path: &str, bytes: &[u8], digest: Digest) -> ToolOutput {
    let media_type = media_type_of(bytes).unwrap_or("application/octet-stream");
    let size = bytes.len();

    ToolOutput::text(format!(
        "{path} is no UTF-8 text: {size} bytes of type {media_type}."
    ))
    .structured(json!({
        "path": path, "binary": true, "media_type": media_type, "bytes": size,
        "digest": digest.to_string(),
    }))
}

/// The requested lines, as many as fit.
fn lines_output(path: &str, text: &str, digest: Digest, arguments: &Arguments) -> ToolOutput {
    let number = |value: Option<u64>, default: usize| {
        value.map_or(default, |value| {
            usize::try_from(value).unwrap_or(usize::MAX)
        })
    };
    let start = number(arguments.start_line.map(NonZeroU64::get), 1);
    let count = number(arguments.line_count.map(NonZeroU64::get), usize::MAX);
    let ends = text.bytes().filter(|byte| *byte == b'\n').count();
    let total = ends + usize::from(!text.is_empty() && !text.ends_with('\n'));

    if start > total.max(1) {
        return ToolOutput::error(format!(
            "{path} has {total} lines; there is no line {start}"
        ));
    }

    let mut from = nth_line(text, start - 1);
    let line_end = text[from..].find('\n').map_or(text.len(), |at| from + at);
    let skipped = number(arguments.start_byte, 0).min(line_end - from);

    from = text.ceil_char_boundary(from + skipped);
    let (end, next) = shown_bytes(&text[from..], start, count);
    let shown = &text[from..from + end];
    let shown_ends = shown.bytes().filter(|byte| *byte == b'\n').count();
    let last = start + shown_ends - usize::from(shown.ends_with('\n'));

    let more = match next {
        None => None,
        Some(Continuation::Line(line)) => Some(format!("start_line={line}")),
        Some(Continuation::Byte(line, byte)) => {
            let byte = byte + if line == start { skipped } else { 0 };
            Some(format!("start_line={line} start_byte={byte}"))
        }
    };

    let mut answer = shown.to_owned();
    let bytes = text.len();

    if let Some(more) = &more {
        if !answer.ends_with('\n') {
            answer.push('\n');
        }
        answer.push_str(&format!(
            "[truncated: lines {start} to {last} of {total}, {bytes} bytes in all; read on with \
             {more}]"
        ));
    } else if bytes == 0 {
        answer.push_str("[the file is empty]");
    }

    ToolOutput::text(answer).structured(json!({
        "path": path, "start_line": start, "end_line": last, "lines": total, "bytes": bytes,
        "digest": digest.to_string(), "truncated": more.is_some(),
    }))
}

fn nth_line(text: &str, number: usize) -> usize {
    let lines = text.split_inclusive('\n').take(number);
    lines.map(str::len).sum()
}

/// Where to continue reading.
enum Continuation {
    Line(usize),
    /// A line, and how many of its bytes were shown.
    Byte(usize, usize),
}

/// How many bytes of the requested lines to show, and where to continue.
fn shown_bytes(text: &str, start: usize, count: usize) -> (usize, Option<Continuation>) {
    if text.len() <= TEXT_BYTES_MAX && count == usize::MAX {
        return (text.len(), None);
    }

    let mut end = 0;
    let lines = text.split_inclusive('\n').take(count);
    for (line, length) in (start..).zip(lines.map(str::len)) {
        if end + length > TEXT_BYTES_MAX {
            if end > 0 {
                return (end, Some(Continuation::Line(line)));
            }
            let cut = text.floor_char_boundary(TEXT_BYTES_MAX);
            return (cut, Some(Continuation::Byte(line, cut)));
        }
        end += length;
    }

    (end, None)
}
