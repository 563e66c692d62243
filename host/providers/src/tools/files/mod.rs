//! The host's tools for files: reading, listing, searching and changing files of a workspace.
//!
//! Created once per run, which is cheap: directories are opened when a tool is first called. Each
//! tool resolves its path inside the workspace (`path`), asks for permission for the resolved path,
//! and then opens exactly that, without following links. All of it runs on blocking threads, and
//! stops when the caller is gone (`job`).
//!
//! Hard links: a second name of a file outside looks like any other file. Creating one makes the
//! file part of the workspace, and it can be read. Changing a file replaces it by renaming, so that
//! another name never sees the change. Because that separates the names, which were joined on
//! purpose, files with several names are not changed at all.
//!
//! Concurrent calls: those of one model response on one file run in their order (`order`); those of
//! different runs change a file one after the other (`locks`), each after a check that the file
//! still has the content that its run has seen. Other programs, and other hosts that share the
//! file, take no part in these locks: what they write between that check and the renaming, which
//! follows at once, is replaced.

mod cached_read;
mod change;
mod edit;
mod first_n;
mod freshness;
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

/// Whether an entry that a walk found may be shown. The arguments are the entry's path and the
/// permission of the walk itself.
pub(crate) type Readable = Arc<dyn Fn(&str, &Allowed) -> bool + Send + Sync>;

/// Bytes of text in one result, approximately.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// The file tools of one run. A cloneable handle.
#[derive(Clone)]
pub struct FileTools {
    run: Arc<Run>,
}

/// The state that the tools of one run share.
struct Run {
    /// The workspace's directory, opened once per workspace.
    file: Arc<File>,
    /// The same directory in the form that resolves paths, opened with the first call.
    root: OnceLock<Dir>,
    /// The digests of the files that this run has read and written.
    seen: freshness::FileDigests,
    /// The order of its calls on one file.
    order: order::CallOrder,
    /// The files that any run of the host is changing.
    locks: Arc<FileLocks>,
    /// The number of bytes that it may still write.
    budget: Arc<AtomicU64>,
    readable: Readable,
}

impl Run {
    fn root(&self) -> Result<&Dir, ToolFailure> {
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

/// Why a tool failed.
#[derive(Debug)]
enum ToolFailure {
    /// It was carried out and failed, with this message for the model.
    Reported(String),
    /// It was not carried out.
    Error(ToolError),
}

impl From<ToolError> for ToolFailure {
    fn from(error: ToolError) -> Self {
        Self::Error(error)
    }
}

impl From<Denied> for ToolFailure {
    fn from(denied: Denied) -> Self {
        Self::Error(denied.into())
    }
}

impl FileTools {
    /// Creates the tools for a workspace's opened directory. `budget` is how many bytes the run may
    /// still write, shared with everything else that it writes through; `locks` are the host's.
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
                seen: freshness::FileDigests::default(),
                order: order::CallOrder::default(),
                locks,
                budget,
                readable,
            }),
        }
    }

    /// Returns the descriptions of the tools for a model.
    pub fn tools() -> Vec<Tool> {
        vec![
            read::tool(),
            list::tool(),
            search::tool(),
            edit::tool(),
            write::tool(),
        ]
    }

    /// Takes a turn for a call, in order, before any of the calls that are made together starts.
    /// `None` for a tool that concerns more than one file.
    pub fn turn(&self, tool: &str) -> Option<Turn> {
        let changes = match tool {
            read::NAME => false,
            edit::NAME | write::NAME => true,
            _ => return None,
        };
        Some(self.run.order.turn(changes))
    }

    /// Returns the output of a call that needs to wait for nothing: no thread, disk, person or
    /// policy. `None` if anything might; then use [`FileTools::call`].
    pub fn cached_read(
        &self,
        tool: &str,
        arguments: &str,
        is_granted: impl FnOnce(&Access) -> bool,
    ) -> Option<ToolOutput> {
        match tool {
            read::NAME => cached_read::read_file(&self.run, arguments, is_granted),
            _ => None,
        }
    }

    /// Carries out a call, after its turn if it has one; blocking work runs on `blocking`.
    ///
    /// Dropping the future signals the work to stop: before a change is in place it leaves nothing
    /// behind, afterwards it leaves the whole change.
    ///
    /// # Errors
    ///
    /// If the arguments are invalid, the path leads out of the workspace, it is not allowed, or the
    /// run has no bytes left to write. Any other failure is a result for the model to read.
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
            ToolFailure::Reported(text) => Ok(ToolOutput::error(text)),
            ToolFailure::Error(error) => Err(error),
        })
    }
}

fn arguments<T: DeserializeOwned>(call: &mut Invocation) -> Result<T, ToolError> {
    let arguments = call.arguments.take();
    serde_json::from_value(arguments)
        .map_err(|error| ToolError::invalid(format!("the arguments do not do: {error}")))
}

/// The access of reading a file, by its resolved path.
fn reading(path: &str, verb: &str) -> Access {
    Access::new(Capability::ReadFiles, path, format!("{verb} {path}"))
}

/// The access of reading below a directory: its path ends in a slash, so that `src/**` covers
/// `src/`.
fn reading_below(path: &str, verb: &str) -> Access {
    match path {
        "." => Access::new(Capability::ReadFiles, ".", format!("{verb} the workspace")),
        _ => reading(&format!("{path}/"), verb),
    }
}
