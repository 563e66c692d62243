//! `write_file`: replaces a file's whole content, for a new file or one that this run has read.

use super::change::Change;
use super::line_ends::with_line_ends_of;
use super::order::Turn;
use super::path::{FILE_BYTES_MAX, RequestedPath};
use super::{Run, ToolFailure, arguments};
use crate::tools::{Effects, Invocation, Tool, ToolOutput};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use tokio::runtime::Handle;

pub(super) const NAME: &str = "write_file";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    path: String,
    content: String,
}

pub(super) fn tool() -> Tool {
    Tool {
        name: NAME.to_owned(),
        description: "Write a whole text file of the workspace, with the directories that it \
            needs. A file that is there already has to be read first; if it changed since, the \
            call fails; it keeps its byte order mark, and CR LF if all of its lines end so and \
            all of the content's with LF. To change parts of a file, use edit_file."
            .to_owned(),
        parameters: json!({
            "type": "object",
            "properties": {
                "path": {"type": "string", "description": "Relative to the workspace."},
                "content": {"type": "string", "maxLength": FILE_BYTES_MAX,
                    "description": "All of the file."},
            },
            "required": ["path", "content"],
            "additionalProperties": false,
        }),
        effects: Effects::Some,
    }
}

pub(super) async fn call(
    run: Arc<Run>,
    mut call: Invocation,
    turn: Option<Turn>,
    runtime: &Handle,
) -> Result<ToolOutput, ToolFailure> {
    let Arguments { path, content } = arguments(&mut call)?;

    let change = Change {
        run,
        wanted: RequestedPath::parse(&path)?,
        after: |_: &str, before: Option<&str>| {
            Ok(match before {
                Some(before) => with_line_ends_of(before, content),
                None => content,
            })
        },
    };
    change.make(&call.permits, turn, runtime).await
}
