//! Decides which directories a guest sees, and whether it may write to them.

use lastword_sandbox::descriptors::GuestDescriptors;
use lastword_sandbox::{Directory, Files};
use lastword_types::permission::{Authority, Capability};
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// The files of one run: `/workspace` if all reading is granted, writable if all writing is,
/// and a `/tmp` at `tmp`, a path of its own. If only a part is granted, the guest reaches it
/// through tools: files that it opens by itself cannot be checked against rules.
pub(crate) fn of_run(
    workspace: Option<&Arc<File>>,
    authority: &Authority,
    tmp: PathBuf,
    written: Arc<AtomicU64>,
    held: GuestDescriptors,
) -> Files {
    let granted = workspace.filter(|_| authority.has_all(Capability::ReadFiles));
    let directory = granted.map(|file| Directory {
        file: Arc::clone(file),
        writable: authority.has_all(Capability::WriteFiles),
    });
    Files::new(directory, tmp, written, held)
}
