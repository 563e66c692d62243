//! `list_files`: the names below a directory, in order, without ignored ones.

use super::first_n::FirstN;
use super::job::{StopFlag, run_blocking};
use super::path::RequestedPath;
use super::walk::{DEPTH_MAX, Entry, Kind, Visit, Walk, WalkResult};
use super::{Run, TEXT_BYTES_MAX, ToolFailure, arguments, reading_below};
use crate::permits::Allowed;
use crate::tools::{Effects, Invocation, Tool, ToolError, ToolOutput};
use globset::{GlobBuilder, GlobMatcher};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use tokio::runtime::Handle;

/// How many names one result has by default.
const NAMES: usize = 1_000;
/// How many names one result may have.
const NAMES_MAX: usize = 5_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    path: Option<String>,
    glob: Option<String>,
    depth: Option<u64>,
    #[serde(default)]
    hidden: bool,
    max_names: Option<u64>,
}

pub(super) fn tool() -> Tool {
    Tool {
        name: "list_files".to_owned(),
        description: "List the files below a directory of the workspace, sorted by path. What \
            .gitignore leaves out is not listed, nor are hidden files unless asked for. Names \
            that end in / are directories that were not gone into, in @ links."
            .to_owned(),
        parameters: json!({
            "type": "object",
            "properties": {
                "path": {"type": "string",
                    "description": "A directory relative to the workspace; all of it if not given."},
                "glob": {"type": "string",
                    "description": "Only these: *.rs anywhere, or src/**/*.rs from the workspace."},
                "depth": {"type": "integer", "minimum": 1, "maximum": DEPTH_MAX,
                    "description": "How many levels to go down; 1 is the directory alone."},
                "hidden": {"type": "boolean",
                    "description": "Also names that begin with a dot, other than .git."},
                "max_names": {"type": "integer", "minimum": 1, "maximum": NAMES_MAX,
                    "description": "How many names at the most; 1000 if not given."},
            },
            "additionalProperties": false,
        }),
        effects: Effects::None,
    }
}

/// Parses a glob over paths: one without a slash matches names in any directory.
pub(super) fn matcher(glob: &str) -> Result<GlobMatcher, ToolError> {
    let everywhere = if glob.contains('/') {
        glob.trim_start_matches('/').to_owned()
    } else {
        format!("**/{glob}")
    };

    let built = GlobBuilder::new(&everywhere)
        .literal_separator(true)
        .backslash_escape(true)
        .build();

    let built = built.map_err(|error| {
        let reason = error.kind();
        ToolError::invalid(format!("`{glob}` is no glob: {reason}"))
    })?;
    Ok(built.compile_matcher())
}

pub(super) async fn call(
    run: Arc<Run>,
    mut call: Invocation,
    runtime: &Handle,
) -> Result<ToolOutput, ToolFailure> {
    let arguments: Arguments = arguments(&mut call)?;
    let wanted = RequestedPath::parse(arguments.path.as_deref().unwrap_or("."))?;
    let glob = arguments.glob.as_deref().map(matcher).transpose()?;
    let at = Arc::clone(&run);
    let path = run_blocking(runtime, move |_| wanted.existing(at.root()?)).await?;
    let allowed = call.permits.authorize(reading_below(&path, "list")).await?;

    run_blocking(runtime, move |stop| {
        list(&run, &path, &allowed, glob.as_ref(), &arguments, stop)
    })
    .await
}

/// The visitor of one thread of the walk.
struct ListVisitor<'a> {
    first: &'a FirstN<Kind>,
    glob: Option<&'a GlobMatcher>,
    depth: usize,
    run: &'a Run,
    allowed: &'a Allowed,
}

impl Visit for ListVisitor<'_> {
    fn enter(&mut self, path: &str, depth: usize) -> bool {
        depth < self.depth && self.first.may_have(&format!("{path}/"))
    }

    fn entry(&mut self, entry: Entry<'_>) {
        let gone_into = entry.kind == Kind::Directory && entry.depth < self.depth.min(DEPTH_MAX);
        let fits = |glob: &GlobMatcher| glob.is_match(&entry.path);

        if !gone_into
            && self.glob.is_none_or(fits)
            && self.first.may_have(&entry.path)
            && (self.run.readable)(&entry.path, self.allowed)
        {
            self.first.add(entry.path, 1, entry.kind);
        }
    }
}

fn list(
    run: &Run,
    path: &str,
    allowed: &Allowed,
    glob: Option<&GlobMatcher>,
    arguments: &Arguments,
    stop: &StopFlag,
) -> Result<ToolOutput, ToolFailure> {
    let bounded = |value: Option<u64>, default: usize, max: usize| {
        let value = value.map_or(default, |value| usize::try_from(value).unwrap_or(max));
        value.clamp(1, max)
    };
    let max = bounded(arguments.max_names, NAMES, NAMES_MAX);
    let first = FirstN::new(max + 1);

    let walk = Walk {
        root: run.root()?,
        start: path,
        hidden: arguments.hidden,
        stop,
    };

    let walked = walk.run(|| ListVisitor {
        first: &first,
        glob,
        depth: bounded(arguments.depth, DEPTH_MAX, DEPTH_MAX),
        run,
        allowed,
    });
    let walked = walked.map_err(|error| super::path::explain(path, &error))?;
    stop.check()?;

    let (mut names, _) = first.into_ordered();
    let mut truncated = names.len() > max;
    names.truncate(max);

    let mut text = String::new();
    let mut shown = Vec::new();

    for (path, kind) in names {
        if text.len() + path.len() > TEXT_BYTES_MAX {
            truncated = true;
            break;
        }

        let (mark, kind) = match kind {
            Kind::File => ("", "file"),
            Kind::Directory => ("/", "directory"),
            Kind::Link => ("@", "link"),
            Kind::Other => ("|", "other"),
        };

        text.push_str(&format!("{path}{mark}\n"));
        shown.push(json!({"path": path, "kind": kind}));
    }

    let count = shown.len();

    match (truncated, walked) {
        (true, _) => text.push_str(&format!(
            "[truncated: the first {count} names; list a directory below, or give a glob]"
        )),
        (false, WalkResult::Part) => text
            .push_str("[truncated: there is more than one walk looks at; list a directory below]"),
        (false, WalkResult::Whole) if count == 0 => text.push_str("[no such files]"),
        (false, WalkResult::Whole) => {}
    }

    let truncated = truncated || walked == WalkResult::Part;
    Ok(ToolOutput::text(text)
        .structured(json!({"path": path, "entries": shown, "truncated": truncated})))
}
