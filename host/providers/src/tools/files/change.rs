//! Replaces a file's content: shows a diff, asks for permission, checks again that the file is
//! unchanged, and renames the new content into place, under a lock among the runs of the host. Used
//! by `write_file` and `edit_file`.

use super::freshness::{Digest, FileFreshness};
use super::job::{StopFlag, run_blocking};
use super::line_ends::remark;
use super::locks::FileKey;
use super::order::Turn;
use super::path::{FILE_BYTES_MAX, RequestedPath, explain, open_directory, open_file, split, step};
use super::{Run, ToolFailure};
use crate::permits::PermissionChecker;
use crate::tools::{ToolError, ToolErrorKind, ToolOutput};
use cap_std::fs::{Dir, Metadata, MetadataExt as _, OpenOptions, OpenOptionsExt as _};
use lastword_types::permission::{Access, Capability};
use lastword_types::text;
use rustix::fs::RenameFlags;
use serde_json::json;
use similar::TextDiff;
use std::io::{self, ErrorKind, Write as _};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::runtime::Handle;
use uuid::Uuid;

/// Bytes of a diff that are shown to people and stored.
const DIFF_BYTES_MAX: usize = 256 << 10;
/// How long the search for the smallest diff may take.
const DIFF_TIME_MAX: Duration = Duration::from_millis(300);

/// A requested change of a file.
pub(super) struct Change<F> {
    pub(super) run: Arc<Run>,
    pub(super) wanted: RequestedPath,
    /// Computes the file's new text from its resolved path and its current content, if it exists.
    pub(super) after: F,
}

/// A file and its new content.
struct PlannedChange {
    /// The resolved path.
    path: String,
    /// The current content; `None` for a new file.
    before: Option<CurrentFile>,
    after: String,
}

/// The current content of a file.
struct CurrentFile {
    text: String,
    key: FileKey,
}

/// Reads the file at a path that is to be written, as text; `None` if there is none.
fn current(root: &Dir, path: &str) -> Result<Option<CurrentFile>, ToolFailure> {
    match root.symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(explain(path, &error)),
        Ok(_) => {}
    }

    let (parent, name) = split(path);
    let failed = |error: io::Error| explain(path, &error);
    let directory = open_directory(root, parent).map_err(failed)?;
    let key = FileKey::of(&directory, name).map_err(failed)?;
    let mut opened = open_file(&directory, name, path)?;

    refuse_hard_links(&opened.metadata, path)?;
    let bytes = opened.read(path)?;

    let text = String::from_utf8(bytes).map_err(|_| {
        ToolFailure::Reported(format!(
            "{path}: it is no UTF-8 text; tools change no other"
        ))
    })?;
    Ok(Some(CurrentFile { text, key }))
}

/// Refuses a file with hard links: another name may be anywhere, and renaming would separate it
/// from this one.
fn refuse_hard_links(metadata: &Metadata, path: &str) -> Result<(), ToolFailure> {
    match metadata.nlink() {
        0 | 1 => Ok(()),
        names => Err(ToolFailure::Reported(format!(
            "{path}: the file has {names} names (hard links), and changing it here would part \
             them; write a copy under another name"
        ))),
    }
}

/// Fails unless the run has seen the file's current content.
fn require_seen(run: &Run, path: &str, now: &str) -> Result<(), ToolFailure> {
    let reason = match run.seen.compare(path, Digest::of(now.as_bytes())) {
        FileFreshness::Fresh => return Ok(()),
        FileFreshness::Stale => {
            "it has changed since it was last read; read it again, then change it"
        }
        FileFreshness::Unseen => "it is there and was not read yet; read it before changing it",
    };
    Err(ToolFailure::Reported(format!("{path}: {reason}")))
}

impl<F> Change<F>
where
    F: FnOnce(&str, Option<&str>) -> Result<String, ToolFailure> + Send + 'static,
{
    /// Waits for the call's turn, asks for permission and makes the change.
    pub(super) async fn make(
        self,
        permits: &PermissionChecker,
        turn: Option<Turn>,
        runtime: &Handle,
    ) -> Result<ToolOutput, ToolFailure> {
        let Self { run, wanted, after } = self;
        let at = Arc::clone(&run);
        let path = run_blocking(runtime, move |_| wanted.target(at.root()?)).await?;

        if let Some(turn) = &turn {
            turn.wait(&path).await;
        }

        let at = Arc::clone(&run);
        let (prepared, diff) = run_blocking(runtime, move |_| {
            let prepared = PlannedChange::new(&at, path, after)?;
            let diff = prepared.diff();
            Ok((prepared, diff))
        })
        .await?;

        let path = prepared.path.clone();
        let title = match prepared.before {
            Some(_) => format!("change {path}"),
            None => format!("create {path}"),
        };
        let access = Access::new(Capability::WriteFiles, &path, title).diff(&diff);

        permits.require(access).await?;
        let summary = prepared.summary();
        let created = prepared.before.is_none();

        // Locked only now, so that no lock is held while a person is asked. A new file needs no
        // lock, since it replaces nothing.
        let locked = match &prepared.before {
            Some(before) => Some(run.locks.lock(before.key.clone()).await),
            None => None,
        };

        let digest = run_blocking(runtime, move |stop| {
            let put = prepared.write_in_place(&run, stop);
            // Dropped when the work is over, however the call ends.
            drop(locked);
            put
        })
        .await?;

        Ok(ToolOutput::text(summary)
            .structured(json!({
                "path": path, "created": created, "digest": digest.to_string(),
            }))
            .metadata(json!({"path": path, "diff": diff})))
    }
}

impl PlannedChange {
    fn new(
        run: &Run,
        path: String,
        after: impl FnOnce(&str, Option<&str>) -> Result<String, ToolFailure>,
    ) -> Result<Self, ToolFailure> {
        let before = current(run.root()?, &path)?;
        let text = before.as_ref().map(|before| &*before.text);
        if let Some(text) = text {
            require_seen(run, &path, text)?;
        }

        let after = after(&path, text)?;
        if after.len() as u64 > FILE_BYTES_MAX {
            let reason = format!("the file would have more than {FILE_BYTES_MAX} bytes");
            return Err(ToolFailure::Reported(reason));
        }

        Ok(Self {
            path,
            before,
            after,
        })
    }

    fn text_before(&self) -> Option<&str> {
        self.before.as_ref().map(|before| &*before.text)
    }

    fn summary(&self) -> String {
        match self.text_before() {
            Some(before) => format!("changed {}{}", self.path, remark(before, &self.after)),
            None => format!("created {}", self.path),
        }
    }

    fn diff(&self) -> String {
        let before = self.text_before();

        // A name with line breaks could be taken for lines of the diff.
        let name = if self.path.chars().any(text::is_unseen) {
            text::shell(&self.path)
        } else {
            self.path.clone()
        };

        let from = before.map_or("/dev/null".to_owned(), |_| format!("a/{name}"));
        let mut diff = unified(before.unwrap_or_default(), &self.after);
        if !diff.is_empty() {
            diff = format!("--- {from}\n+++ b/{name}\n{diff}");
        }

        let bytes = diff.len();
        if bytes <= DIFF_BYTES_MAX {
            return diff;
        }

        let cut = &diff[..diff.floor_char_boundary(DIFF_BYTES_MAX)];
        format!("{cut}\n[truncated: the diff has {bytes} bytes]\n")
    }

    fn write_in_place(&self, run: &Run, stop: &StopFlag) -> Result<Digest, ToolFailure> {
        let (parent, name) = split(&self.path);
        let failed = |error: io::Error| explain(&self.path, &error);
        let mut made = CreatedDirectories::default();
        let directory = match &self.before {
            Some(_) => open_directory(run.root()?, parent).map_err(failed)?,
            None => made.directories(run.root()?, parent).map_err(failed)?,
        };

        let old = match &self.before {
            // The directory was exchanged for another, which has another lock.
            Some(before) if FileKey::of(&directory, name).map_err(failed)? != before.key => {
                return Err(self.changed_error());
            }
            Some(before) => Some(self.check_unchanged(&directory, name, before)?),
            None => None,
        };

        spend(run, self.after.len() as u64)?;
        let temporary = TempFile::write(&directory, self.after.as_bytes(), old.as_ref());
        let temporary = temporary.map_err(failed)?;

        // The file may have changed while the new content was written.
        if let Some(before) = &self.before {
            self.check_unchanged(&directory, name, before)?;
        }

        stop.check()?;

        temporary
            .rename(name, self.before.is_some())
            .map_err(|error| match error.kind() {
                ErrorKind::AlreadyExists => ToolFailure::Reported(format!(
                    "{}: another program has created it meanwhile; read it, then change it",
                    self.path
                )),
                _ => failed(error),
            })?;

        made.keep();
        let digest = Digest::of(self.after.as_bytes());
        run.seen.note(&self.path, digest);

        Ok(digest)
    }

    fn changed_error(&self) -> ToolFailure {
        ToolFailure::Reported(format!(
            "{}: it has changed since this change was shown; read it again",
            self.path
        ))
    }

    /// Fails unless the file still has the content that the diff was made from. Another process can
    /// still change it between this check and the renaming, which follows at once.
    fn check_unchanged(
        &self,
        directory: &Dir,
        name: &str,
        before: &CurrentFile,
    ) -> Result<Metadata, ToolFailure> {
        let mut opened = open_file(directory, name, &self.path)?;
        let bytes = opened.read(&self.path)?;
        refuse_hard_links(&opened.metadata, &self.path)?;
        if bytes != before.text.as_bytes() {
            return Err(self.changed_error());
        }
        Ok(opened.metadata)
    }
}

/// The hunks between two texts. Only line feeds end a line: a carriage return that counted as one
/// would leave two lines of the diff in one.
fn unified(before: &str, after: &str) -> String {
    let (old, new): (Vec<_>, Vec<_>) = (
        before.split_inclusive('\n').collect(),
        after.split_inclusive('\n').collect(),
    );

    let diff = TextDiff::configure()
        .timeout(DIFF_TIME_MAX)
        .diff_slices(&old, &new);
    let mut text = String::new();

    for hunk in diff.unified_diff().context_radius(3).iter_hunks() {
        text.push_str(&format!("{}\n", hunk.header()));
        for change in hunk.iter_changes() {
            text.push_str(&format!("{}{}", change.tag(), change.value()));
            if !change.value().ends_with('\n') {
                text.push_str("\n\\ No newline at end of file\n");
            }
        }
    }

    text
}

fn spend(run: &Run, bytes: u64) -> Result<(), ToolError> {
    let take = |left: u64| left.checked_sub(bytes);
    let taken = run
        .budget
        .fetch_update(Ordering::AcqRel, Ordering::Acquire, take);
    taken.map(|_| ()).map_err(|left| {
        let message = format!("this run may write {left} more bytes, and these are {bytes}");
        ToolError::new(ToolErrorKind::Limit, message)
    })
}

/// Directories that were created for a file, removed again if the file is not.
#[derive(Default)]
struct CreatedDirectories(Vec<(Dir, String)>);

impl CreatedDirectories {
    fn directories(&mut self, root: &Dir, path: &str) -> io::Result<Dir> {
        let mut directory = root.try_clone()?;

        for name in path.split('/').filter(|name| *name != ".") {
            directory = match step(&directory, name) {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    match directory.create_dir(name) {
                        Ok(()) => self.0.push((directory.try_clone()?, name.to_owned())),
                        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                        Err(error) => return Err(error),
                    }
                    step(&directory, name)?
                }
                opened => opened?,
            };
        }

        Ok(directory)
    }

    fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for CreatedDirectories {
    fn drop(&mut self) {
        for (directory, name) in self.0.drain(..).rev() {
            // A directory that has other entries by now stays.
            let _stays = directory.remove_dir(name);
        }
    }
}

/// The new content under a temporary name, removed if it is not renamed.
struct TempFile<'a> {
    directory: &'a Dir,
    name: String,
}

impl<'a> TempFile<'a> {
    /// Writes and syncs the content, with the mode and, where possible, the owner of the file that
    /// it replaces.
    fn write(directory: &'a Dir, bytes: &[u8], old: Option<&Metadata>) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);

        if old.is_some() {
            options.mode(0o600);
        }

        let name = format!(".lastword-{}.tmp", Uuid::now_v7());
        let mut file = directory.open_with(&name, &options)?;
        let temporary = Self { directory, name };

        file.write_all(bytes)?;

        if let Some(old) = old {
            let now = file.metadata()?;
            if (now.uid(), now.gid()) != (old.uid(), old.gid()) {
                let owner = rustix::fs::Uid::from_raw(old.uid());
                let group = rustix::fs::Gid::from_raw(old.gid());
                // Only a privileged host can; the content matters more.
                let _stays_ours = rustix::fs::fchown(&file, Some(owner), Some(group));
            }
            let mode = rustix::fs::Mode::from_raw_mode(old.mode() & 0o777);
            rustix::fs::fchmod(&file, mode)?;
        }

        file.sync_data()?;
        Ok(temporary)
    }

    /// Renames it to the final name, replacing a file or none.
    fn rename(self, name: &str, replaces: bool) -> io::Result<()> {
        if replaces {
            return self.directory.rename(&self.name, self.directory, name);
        }

        let flags = RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(self.directory, &self.name, self.directory, name, flags) {
            // Not every file system supports the flag; a hard link replaces nothing either.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
                self.directory.hard_link(&self.name, self.directory, name)
            }
            renamed => Ok(renamed?),
        }
    }
}

impl Drop for TempFile<'_> {
    fn drop(&mut self) {
        // Once it is renamed, the temporary name is free.
        let _gone = self.directory.remove_file(&self.name);
    }
}
