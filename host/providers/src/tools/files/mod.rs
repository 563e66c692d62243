//! The host's tools for files: what a run may read, find and change in its workspace.
//!
//! Made once per run, which costs nothing: directories are opened when a tool is first called.
//! Each tool resolves its path inside the workspace (`path`), asks for what it resolved, and
//! then opens exactly that, without following links. All of it happens where blocking is
//! allowed, and stops when nobody waits for it any more (`job`).
//!
//! Hard links: a second name of a file outside looks like any other file, so whoever can make
//! one has given the file to the workspace; it can be read. Changing a file replaces it by
//! renaming, so that another name never sees the change; and because that parts the names,
//! which somebody joined on purpose, files with several names are not changed at all.
//!
//! Several calls: those of one answer on one file go in the order in which the answer has them
//! (`order`); those of different runs change a file one after the other (`locks`), each after
//! making sure that the file is still what its run has seen. Of other programs, and of hosts
//! that share the file, only that last look knows: what they write between it and the renaming,
//! which follows at once, is replaced.

mod at_hand;
mod change;
mod edit;
mod first;
mod ignored;
mod job;
mod line_ends;
mod list;
mod locks;
mod order;
mod path;
mod read;
mod replace;
mod search;
mod seen;
#[cfg(test)]
mod tests;
mod walk;
mod write;

use crate::permits::{Allowed, Denied};
use crate::tools::{Invocation, Tool, ToolError, ToolErrorKind, ToolOutput};
use cap_std::fs::Dir;
use lastword_types::permission::{Access, Capability};
use serde::de::DeserializeOwned;
use std::fs::File;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use tokio::runtime::Handle;

pub use locks::FileLocks;
pub use order::Turn;

/// Whether what a walk came upon may be shown, by its path, once the walk itself was asked for and
/// allowed by this.
pub(crate) type Readable = Arc<dyn Fn(&str, &Allowed) -> bool + Send + Sync>;

/// Bytes of text in one answer, about.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// The tools for files of one run. A cloneable handle.
#[derive(Clone)]
pub struct FileTools {
    run: Arc<Run>,
}

/// What the tools of one run share.
struct Run {
    /// The workspace's directory, opened once per workspace.
    file: Arc<File>,
    /// The same to resolve paths in, from the first call on.
    root: OnceLock<Dir>,
    /// What this run has read and written.
    seen: seen::Seen,
    /// Which of its calls on a file comes first.
    order: order::Order,
    /// The files that any run of the host is changing.
    locks: Arc<FileLocks>,
    /// Bytes that it may still write.
    budget: Arc<AtomicU64>,
    readable: Readable,
}

impl Run {
    fn root(&self) -> Result<&Dir, Failed> {
        if let Some(root) = self.root.get() {
            return Ok(root);
        }
        let file = self.file.try_clone().map_err(|error| {
            let message = format!("the workspace cannot be opened: {error}");
            ToolError::new(ToolErrorKind::Unavailable, message)
        })?;
        Ok(self.root.get_or_init(|| Dir::from_std_file(file)))
    }
}

/// Why a tool did not do what it was asked for.
#[derive(Debug)]
enum Failed {
    /// It tried; the model should read this.
    Said(String),
    /// It was not carried out.
    Error(ToolError),
}

impl From<ToolError> for Failed {
    fn from(error: ToolError) -> Self {
        Self::Error(error)
    }
}

impl From<Denied> for Failed {
    fn from(denied: Denied) -> Self {
        Self::Error(denied.into())
    }
}

impl FileTools {
    /// Tools for a workspace's opened directory. `budget` is how many bytes the run may still
    /// write, shared with whatever else of it writes; `locks` are the host's.
    pub fn new(
        file: Arc<File>,
        budget: Arc<AtomicU64>,
        readable: Readable,
        locks: Arc<FileLocks>,
    ) -> Self {
        Self {
            run: Arc::new(Run {
                file,
                root: OnceLock::new(),
                seen: seen::Seen::default(),
                order: order::Order::default(),
                locks,
                budget,
                readable,
            }),
        }
    }

    /// What the tools are.
    pub fn tools() -> Vec<Tool> {
        vec![
            read::tool(),
            list::tool(),
            search::tool(),
            edit::tool(),
            write::tool(),
        ]
    }

    /// The turn of a call among those that are made together: taken for each, in their order,
    /// before any of them begins. None for a tool that is about more than one file.
    pub fn turn(&self, tool: &str) -> Option<Turn> {
        let changes = match tool {
            read::NAME => false,
            edit::NAME | write::NAME => true,
            _ => return None,
        };
        Some(self.run.order.turn(changes))
    }

    /// The answer of a call for which nothing has to wait: not for a thread, the disk, a person
    /// or a policy. None if anything might; then [`FileTools::call`] answers.
    pub fn at_hand(
        &self,
        tool: &str,
        arguments: &str,
        is_granted: impl FnOnce(&Access) -> bool,
    ) -> Option<ToolOutput> {
        match tool {
            read::NAME => at_hand::read_file(&self.run, arguments, is_granted),
            _ => None,
        }
    }

    /// Carries a call out, when its turn comes if it has one; what blocks does so on `blocking`.
    ///
    /// Dropping the future asks the work to stop: before a change is in place it leaves
    /// nothing behind, afterwards it leaves the whole change.
    ///
    /// # Errors
    /// When the arguments do not do, the path leads out of the workspace, nobody allows it, or
    /// the run has no bytes left to write. Whatever else goes wrong is for the model to read.
    pub async fn call(
        self,
        call: Invocation,
        turn: Option<Turn>,
        blocking: Handle,
    ) -> Result<ToolOutput, ToolError> {
        let run = Arc::clone(&self.run);
        let done = match call.tool.as_str() {
            read::NAME => read::call(run, call, turn, &blocking).await,
            "list_files" => list::call(run, call, &blocking).await,
            "search_text" => search::call(run, call, &blocking).await,
            edit::NAME => edit::call(run, call, turn, &blocking).await,
            write::NAME => write::call(run, call, turn, &blocking).await,
            name => {
                let message = format!("there is no tool `{name}` among those for files");
                Err(ToolError::new(ToolErrorKind::UnknownTool, message).into())
            }
        };

        done.or_else(|failed| match failed {
            Failed::Said(text) => Ok(ToolOutput::error(text)),
            Failed::Error(error) => Err(error),
        })
    }
}

fn arguments<T: DeserializeOwned>(call: &mut Invocation) -> Result<T, ToolError> {
    let arguments = call.arguments.take();
    serde_json::from_value(arguments)
        .map_err(|error| ToolError::invalid(format!("the arguments do not do: {error}")))
}

/// Reading a file, by its resolved path.
fn reading(path: &str, verb: &str) -> Access {
    Access::new(Capability::ReadFiles, path, format!("{verb} {path}"))
}

/// Reading below a directory: its path ends in a slash, so that `src/**` covers `src/`.
fn reading_below(path: &str, verb: &str) -> Access {
    match path {
        "." => Access::new(Capability::ReadFiles, ".", format!("{verb} the workspace")),
        _ => reading(&format!("{path}/"), verb),
    }
}
