//! `write_file`: a file's whole content, for a new file or one that this run has read.

use super::change::{Change, current, fresh};
use super::job::blocking;
use super::path::{FILE_BYTES_MAX, Wanted};
use super::{Failed, Run, arguments};
use crate::capability::tools::{Effects, Invocation, Tool, ToolOutput};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use tokio::runtime::Handle;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    path: String,
    content: String,
}

pub(super) fn tool() -> Tool {
    Tool {
        name: "write_file".to_owned(),
        description: "Write a whole text file of the workspace, with the directories that it \
            needs. A file that is there already has to be read first; if it changed since, the \
            call fails. To change parts of a file, use edit_file."
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
    runtime: &Handle,
) -> Result<ToolOutput, Failed> {
    let Arguments { path, content } = arguments(&mut call)?;
    let wanted = Wanted::parse(&path)?;
    let at = Arc::clone(&run);
    let change = blocking(runtime, move |_| {
        let root = at.root()?;
        let path = wanted.target(root)?;
        let before = current(root, &path)?;
        if let Some(before) = &before {
            fresh(&at, &path, before)?;
        }
        Ok(Change {
            path,
            before,
            after: content,
        })
    })
    .await?;
    change.make(run, &call.permits, runtime).await
}
