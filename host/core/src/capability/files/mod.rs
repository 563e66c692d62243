//! The workspace's files as a guest sees them: which directories, and whether to write.

use crate::permission::{Capability, Grants};
use crate::sandbox::{Directory, Files};
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

/// The files of one run: `/workspace` if reading is granted, writable if that is, and a
/// `/tmp` at `tmp`, a path of its own.
pub(crate) fn of_run(
    workspace: Option<&Arc<File>>,
    grants: &Grants,
    tmp: PathBuf,
    written_bytes: u64,
) -> Files {
    let granted = workspace.filter(|_| grants.has(Capability::ReadFiles));
    let directory = granted.map(|file| Directory {
        file: Arc::clone(file),
        writable: grants.has(Capability::WriteFiles),
    });
    Files::new(directory, tmp, written_bytes)
}
