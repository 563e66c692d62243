//! `edit_file`: exact replacements in a text that this run has read.

use super::change::Change;
use super::order::Turn;
use super::path::{FILE_BYTES_MAX, RequestedPath};
use super::replace::{Edit, apply};
use super::{Run, ToolFailure, arguments};
use crate::tools::{Effects, Invocation, Tool, ToolError, ToolOutput};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use tokio::runtime::Handle;

pub(super) const NAME: &str = "edit_file";

/// How many edits one call may have.
const EDITS_MAX: usize = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    path: String,
    old_string: Option<String>,
    new_string: Option<String>,
    replace_all: Option<bool>,
    edits: Option<Vec<Replacement>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Replacement {
    old_string: String,
    new_string: String,
    #[serde(default)]
    replace_all: bool,
}

pub(super) fn tool() -> Tool {
    let old = json!({"type": "string",
        "description": "The text to replace, exactly as it stands in the file."});
    let new = json!({"type": "string", "description": "What to put in its place."});
    let all = json!({"type": "boolean",
        "description": "Replace it everywhere; otherwise it has to be there exactly once."});

    Tool {
        name: NAME.to_owned(),
        description: "Change a text file of the workspace by replacing exact pieces of it. Read \
            the file first; if it changed since, the call fails. Give old_string and new_string, \
            or several such in edits, which are applied in order, all or none."
            .to_owned(),
        parameters: json!({
            "type": "object",
            "properties": {
                "path": {"type": "string", "description": "Relative to the workspace."},
                "old_string": old,
                "new_string": new,
                "replace_all": all,
                "edits": {
                    "type": "array", "minItems": 1, "maxItems": EDITS_MAX,
                    "items": {
                        "type": "object",
                        "properties": {
                            "old_string": old, "new_string": new, "replace_all": all,
                        },
                        "required": ["old_string", "new_string"],
                        "additionalProperties": false,
                    },
                },
            },
            "required": ["path"],
            "additionalProperties": false,
        }),
        effects: Effects::Some,
    }
}

impl Arguments {
    fn edits(self) -> Result<Vec<Edit>, ToolError> {
        let edits = match (self.old_string, self.new_string, self.edits) {
            (Some(old), Some(new), None) => vec![Edit {
                old,
                new,
                all: self.replace_all.unwrap_or_default(),
            }],
            (None, None, Some(edits)) if self.replace_all.is_none() => {
                let edits = edits.into_iter().map(|edit| Edit {
                    old: edit.old_string,
                    new: edit.new_string,
                    all: edit.replace_all,
                });
                edits.collect()
            }
            _ => {
                let message = "give either old_string and new_string, or edits";
                return Err(ToolError::invalid(message));
            }
        };

        match edits.len() {
            1..=EDITS_MAX => Ok(edits),
            _ => Err(ToolError::invalid(format!("give 1 to {EDITS_MAX} edits"))),
        }
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
    let edits = arguments.edits()?;

    let after = move |path: &str, before: Option<&str>| {
        let Some(before) = before else {
            let message = format!("{path}: there is no such file; write_file makes one");
            return Err(ToolFailure::Reported(message));
        };
        // The constant fits.
        let max = usize::try_from(FILE_BYTES_MAX).unwrap_or(usize::MAX);
        apply(before, &edits, max)
            .map_err(|message| ToolFailure::Reported(format!("{path}: {message}")))
    };
    let change = Change { run, wanted, after };
    change.make(&call.permits, turn, runtime).await
}
