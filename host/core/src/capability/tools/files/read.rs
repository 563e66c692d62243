//! `read_file`: a text by its lines, or what a file is if it is no text.

use super::job::blocking;
use super::path::{Opened, Wanted, open_at};
use super::seen::Digest;
use super::{Failed, Run, TEXT_BYTES_MAX, arguments, reading};
use crate::capability::tools::{Effects, Invocation, Tool, ToolOutput};
use crate::session::media_type_of;
use cap_std::fs::MetadataExt as _;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// Bytes at the beginning in which a NUL makes a file no text.
const BINARY_BYTES: usize = 8 << 10;
/// A file of at most so many bytes is read while it is resolved, and let go of unseen if that
/// is denied: handing work to another thread twice would take longer than the work.
const EARLY_BYTES_MAX: u64 = 256 << 10;
/// How old what was read so may be; when the answer takes longer, the file is read again.
const EARLY_TIME_MAX: Duration = Duration::from_millis(100);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    path: String,
    start_line: Option<u64>,
    start_byte: Option<u64>,
    line_count: Option<u64>,
}

pub(super) fn tool() -> Tool {
    Tool {
        name: "read_file".to_owned(),
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
    runtime: &Handle,
) -> Result<ToolOutput, Failed> {
    let arguments: Arguments = arguments(&mut call)?;
    let wanted = Wanted::parse(&arguments.path)?;
    let at = Arc::clone(&run);
    let (path, early, arguments) = blocking(runtime, move |_| {
        let root = at.root()?;
        let path = wanted.existing(root)?;
        let early = match open_at(root, &path) {
            Ok(opened) if opened.metadata.size() > EARLY_BYTES_MAX => None,
            opened => Some(opened.and_then(|opened| read(opened, &path, &arguments))),
        };
        Ok((path, early, arguments))
    })
    .await?;
    let begun = Instant::now();
    call.permits.require(reading(&path, "read")).await?;
    let early = early.filter(|_| begun.elapsed() < EARLY_TIME_MAX);
    let (digest, answer) = match early {
        Some(early) => early?,
        None => {
            let (at, path) = (Arc::clone(&run), path.clone());
            blocking(runtime, move |_| {
                read(open_at(at.root()?, &path)?, &path, &arguments)
            })
            .await?
        }
    };
    run.seen.note(&path, digest);
    Ok(answer)
}

fn read(
    mut opened: Opened,
    path: &str,
    arguments: &Arguments,
) -> Result<(Digest, ToolOutput), Failed> {
    let bytes = opened.read(path)?;
    let digest = Digest::of(&bytes);
    let binary = bytes[..bytes.len().min(BINARY_BYTES)].contains(&0);
    let answer = match str::from_utf8(&bytes) {
        Ok(text) if !binary => part(path, text, digest, arguments),
        _ => no_text(path, &bytes, digest),
    };
    Ok((digest, answer))
}

fn no_text(path: &str, bytes: &[u8], digest: Digest) -> ToolOutput {
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

/// The lines that were asked for, as many as fit.
fn part(path: &str, text: &str, digest: Digest, arguments: &Arguments) -> ToolOutput {
    let number = |value: Option<u64>, default: usize| {
        value.map_or(default, |value| {
            usize::try_from(value).unwrap_or(usize::MAX)
        })
    };
    let start = number(arguments.start_line, 1).max(1);
    let count = number(arguments.line_count, usize::MAX);
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
    let (end, next) = extent(&text[from..], start, count);
    let shown = &text[from..from + end];
    let shown_ends = shown.bytes().filter(|byte| *byte == b'\n').count();
    let last = start + shown_ends - usize::from(shown.ends_with('\n'));
    let more = match next {
        None => None,
        Some(Next::Line(line)) => Some(format!("start_line={line}")),
        Some(Next::Byte(line, byte)) => {
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

/// Where to read on.
enum Next {
    Line(usize),
    /// A line, and bytes of it that were shown.
    Byte(usize, usize),
}

/// How many bytes of some lines to show. What was not asked for is not left out.
fn extent(text: &str, start: usize, count: usize) -> (usize, Option<Next>) {
    if text.len() <= TEXT_BYTES_MAX && count == usize::MAX {
        return (text.len(), None);
    }
    let mut end = 0;
    let lines = text.split_inclusive('\n').take(count);
    for (line, length) in (start..).zip(lines.map(str::len)) {
        if end + length > TEXT_BYTES_MAX {
            if end > 0 {
                return (end, Some(Next::Line(line)));
            }
            let cut = text.floor_char_boundary(TEXT_BYTES_MAX);
            return (cut, Some(Next::Byte(line, cut)));
        }
        end += length;
    }
    (end, None)
}
