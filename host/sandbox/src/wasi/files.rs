//! A guest's files: which directories it sees, that it opens only files and directories, and how
//! much it may write and create.
//!
//! These functions are linked in place of wasmtime's own, and call those after their checks.
//! Directories are opened when a guest first asks for them, so that a guest that needs no files
//! does not pay for them.

use super::GuestState;
use crate::descriptors::GuestDescriptors;
use bytes::Bytes;
use lastword_os::remove_tree;
use std::fs::File;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, LinkerInstance, Resource};
use wasmtime_wasi::FsPerms;
use wasmtime_wasi::filesystem::{Descriptor, Dir, OpenMode, WasiFilesystemView as _};
use wasmtime_wasi::p2::bindings::filesystem::types::{
    DescriptorFlags, DescriptorType, ErrorCode, HostDescriptor as _, OpenFlags, PathFlags,
};
use wasmtime_wasi::p2::{
    DynOutputStream, FsResult, OutputStream, Pollable, StreamError, StreamResult,
};

const PREOPENS: &str = "wasi:filesystem/preopens@0.2.12";
const TYPES: &str = "wasi:filesystem/types@0.2.12";

/// Bytes that each file, directory and link counts for, whatever its contents.
const ENTRY_BYTES: u64 = 4 << 10;

/// A directory that a guest may see as `/workspace`.
#[derive(Clone, Debug)]
pub struct Directory {
    /// Opened once per workspace: replacing the path does not affect guests.
    pub file: Arc<File>,
    /// Whether a guest may change its contents.
    pub writable: bool,
}

/// The file system of one guest.
pub struct Files {
    workspace: Option<Directory>,
    /// Where the guest's `/tmp` is created when it first asks, and whether it was.
    tmp: Option<(PathBuf, bool)>,
    /// The open directories with the names that the guest sees, once it has asked for them.
    directories: Option<Vec<(Dir, &'static str)>>,
    /// Bytes that may still be written.
    budget: Arc<AtomicU64>,
    /// The guest's open descriptors; without it, nothing can be opened.
    held: Option<GuestDescriptors>,
}

impl Files {
    /// Returns a file system without any files.
    pub fn none() -> Self {
        Self {
            workspace: None,
            tmp: None,
            directories: None,
            budget: Arc::default(),
            held: None,
        }
    }

    /// The workspace, if it is granted, and a `/tmp` at a path that nothing else uses. `budget`
    /// holds the bytes that may still be written, shared with everything else that the run writes
    /// through; `held` counts the open descriptors.
    pub fn new(
        workspace: Option<Directory>,
        tmp: PathBuf,
        budget: Arc<AtomicU64>,
        held: GuestDescriptors,
    ) -> Self {
        Self {
            workspace,
            tmp: Some((tmp, false)),
            directories: None,
            budget,
            held: Some(held),
        }
    }

    /// Returns the directories, which are opened only once. A directory for which no descriptor is
    /// left is missing from the list.
    fn open(&mut self) -> std::io::Result<Vec<(Dir, &'static str)>> {
        if let Some(directories) = &self.directories {
            return Ok(directories.clone());
        }

        let mut directories = Vec::new();

        if let Some(workspace) = &self.workspace
            && has_room_for_directory(&mut self.held)
        {
            let perms = if workspace.writable {
                FsPerms::ReadWrite
            } else {
                FsPerms::ReadOnly
            };
            let file = workspace.file.try_clone()?;
            let dir = Dir::new(file, perms, OpenMode::READ, false);
            count_open(&mut self.held, &dir.dir);
            directories.push((dir, "/workspace"));
        }

        if let Some((path, entry)) = &mut self.tmp
            && has_room_for_directory(&mut self.held)
        {
            let mut private = std::fs::DirBuilder::new();
            private.recursive(true).mode(0o700).create(&*path)?;
            *entry = true;

            let file = File::open(&*path)?;
            let dir = Dir::new(
                file,
                FsPerms::ReadWrite,
                OpenMode::READ | OpenMode::WRITE,
                false,
            );
            count_open(&mut self.held, &dir.dir);
            directories.push((dir, "/tmp"));
        }

        self.directories = Some(directories.clone());
        Ok(directories)
    }

    fn has_room(&mut self) -> bool {
        self.held.as_mut().is_some_and(GuestDescriptors::has_room)
    }
}

fn has_room_for_directory(held: &mut Option<GuestDescriptors>) -> bool {
    held.as_mut()
        .is_some_and(GuestDescriptors::has_room_for_directory)
}

fn count_open(held: &mut Option<GuestDescriptors>, file: &Arc<File>) {
    if let Some(held) = held {
        held.opened(file);
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let Some((path, true)) = self.tmp.take() else {
            return;
        };

        // Most guests leave it empty. A full one is removed on a thread where that delays nothing.
        if std::fs::remove_dir(&path).is_err() {
            let remove = move || {
                if let Err(error) = remove_tree(&path) {
                    tracing::debug!(%error, path = %path.display(), "a guest's /tmp is left behind");
                }
            };
            match tokio::runtime::Handle::try_current() {
                Ok(runtime) => drop(runtime.spawn_blocking(remove)),
                Err(_) => remove(),
            }
        }
    }
}

fn spend(budget: &AtomicU64, bytes: u64) -> bool {
    let less = |left: u64| left.checked_sub(bytes);
    budget
        .fetch_update(Ordering::AcqRel, Ordering::Acquire, less)
        .is_ok()
}

fn refund(budget: &AtomicU64, bytes: u64) {
    budget.fetch_add(bytes, Ordering::AcqRel);
}

/// Errors that WASI defines are returned to the guest; all others end it.
fn to_wit<R>(result: FsResult<R>) -> wasmtime::Result<(Result<R, ErrorCode>,)> {
    match result {
        Ok(value) => Ok((Ok(value),)),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}

type Store<'a, T> = StoreContextMut<'a, GuestState<T>>;
type Fd = Resource<Descriptor>;

pub(super) fn link<T: Send + 'static>(linker: &mut Linker<GuestState<T>>) -> wasmtime::Result<()> {
    linker
        .instance(PREOPENS)?
        .func_wrap("get-directories", |mut store: Store<'_, T>, (): ()| {
            Ok((directories(store.data_mut())?,))
        })?;

    let mut types = linker.instance(TYPES)?;
    types.func_wrap_async(
        "[method]descriptor.open-at",
        |mut store: Store<'_, T>, (fd, follow, path, how, flags)| {
            Box::new(async move {
                to_wit(open_at(store.data_mut(), fd, follow, path, how, flags).await)
            })
        },
    )?;

    types.func_wrap_async(
        "[method]descriptor.write",
        |mut store: Store<'_, T>, (fd, bytes, offset): (Fd, Vec<u8>, u64)| {
            Box::new(async move {
                let state = store.data_mut();
                if !spend(&state.files.budget, bytes.len() as u64) {
                    return Ok((Err(ErrorCode::Quota),));
                }
                to_wit(state.filesystem().write(fd, bytes, offset).await)
            })
        },
    )?;

    types.func_wrap_async(
        "[method]descriptor.set-size",
        |mut store: Store<'_, T>, (fd, size): (Fd, u64)| {
            Box::new(async move {
                let state = store.data_mut();
                if !spend(&state.files.budget, size) {
                    return Ok((Err(ErrorCode::Quota),));
                }
                to_wit(state.filesystem().set_size(fd, size).await)
            })
        },
    )?;

    types.func_wrap(
        "[method]descriptor.write-via-stream",
        |mut store: Store<'_, T>, (fd, offset): (Fd, u64)| {
            let state = store.data_mut();
            let stream = state.filesystem().write_via_stream(fd, offset);
            to_wit(stream.and_then(|stream| with_budget(state, stream)))
        },
    )?;

    types.func_wrap(
        "[method]descriptor.append-via-stream",
        |mut store: Store<'_, T>, (fd,): (Fd,)| {
            let state = store.data_mut();
            let stream = state.filesystem().append_via_stream(fd);
            to_wit(stream.and_then(|stream| with_budget(state, stream)))
        },
    )?;

    link_creating(&mut types)
}

/// Links the functions that create a directory or a link; each entry counts against the budget,
/// since it takes room as well.
fn link_creating<T: Send + 'static>(
    types: &mut LinkerInstance<'_, GuestState<T>>,
) -> wasmtime::Result<()> {
    types.func_wrap_async(
        "[method]descriptor.create-directory-at",
        |mut store: Store<'_, T>, (fd, path): (Fd, String)| {
            Box::new(async move {
                let state = store.data_mut();
                let entry = PaidEntry::pay(&state.files.budget);
                to_wit(match entry {
                    Ok(entry) => entry
                        .refund_on_error(state.filesystem().create_directory_at(fd, path).await),
                    Err(full) => Err(full),
                })
            })
        },
    )?;

    types.func_wrap_async(
        "[method]descriptor.symlink-at",
        |mut store: Store<'_, T>, (fd, to, path): (Fd, String, String)| {
            Box::new(async move {
                let state = store.data_mut();
                let entry = PaidEntry::pay(&state.files.budget);
                to_wit(match entry {
                    Ok(entry) => {
                        entry.refund_on_error(state.filesystem().symlink_at(fd, to, path).await)
                    }
                    Err(full) => Err(full),
                })
            })
        },
    )?;

    types.func_wrap_async(
        "[method]descriptor.link-at",
        |mut store: Store<'_, T>, (fd, follow, from, at, path): LinkAtParams| {
            Box::new(async move {
                let state = store.data_mut();
                let entry = PaidEntry::pay(&state.files.budget);
                to_wit(match entry {
                    Ok(entry) => {
                        let mut files = state.filesystem();
                        entry.refund_on_error(files.link_at(fd, follow, from, at, path).await)
                    }
                    Err(full) => Err(full),
                })
            })
        },
    )
}

/// The parameters of `link-at`.
type LinkAtParams = (Fd, PathFlags, String, Fd, String);

/// A directory entry that is paid for and not yet created.
struct PaidEntry(Arc<AtomicU64>);

impl PaidEntry {
    fn pay(budget: &Arc<AtomicU64>) -> FsResult<Self> {
        if spend(budget, ENTRY_BYTES) {
            Ok(Self(Arc::clone(budget)))
        } else {
            Err(ErrorCode::Quota.into())
        }
    }

    /// Refunds an entry that was not created: many guests try to create it before they check
    /// whether it exists.
    fn refund_on_error<R>(self, entry: FsResult<R>) -> FsResult<R> {
        if entry.is_err() {
            refund(&self.0, ENTRY_BYTES);
        }
        entry
    }
}

fn directories<T: Send>(state: &mut GuestState<T>) -> wasmtime::Result<Vec<(Fd, String)>> {
    let mut answer = Vec::new();
    for (dir, name) in state.files.open()? {
        let fd = state.table.push(Descriptor::Dir(dir))?;
        answer.push((fd, name.to_owned()));
    }
    Ok(answer)
}

/// Opens a file or a directory, and counts its descriptor. Anything else is refused, since opening
/// a FIFO or a device can block forever on a thread that cannot be stopped. WASI has no error for
/// too many open files; `insufficient-memory` is the only one that blames neither the disk nor a
/// permission.
async fn open_at<T: Send>(
    state: &mut GuestState<T>,
    fd: Fd,
    follow: PathFlags,
    path: String,
    how: OpenFlags,
    flags: DescriptorFlags,
) -> FsResult<Fd> {
    if !state.files.has_room() {
        return Err(ErrorCode::InsufficientMemory.into());
    }

    let at = Resource::new_borrow(fd.rep());
    let found = state.filesystem().stat_at(at, follow, path.clone()).await;
    let creates = found.is_err() && how.contains(OpenFlags::CREATE);

    if let Ok(found) = found {
        let openable = matches!(
            found.type_,
            DescriptorType::RegularFile | DescriptorType::Directory | DescriptorType::SymbolicLink
        );
        if !openable {
            return Err(ErrorCode::NotPermitted.into());
        }
    }

    let entry = if creates {
        Some(PaidEntry::pay(&state.files.budget)?)
    } else {
        None
    };

    let opened = state
        .filesystem()
        .open_at(fd, follow, path, how, flags)
        .await;

    let opened = match entry {
        Some(entry) => entry.refund_on_error(opened),
        None => opened,
    }?;

    let file = match state.table.get(&opened)? {
        Descriptor::File(file) => Arc::clone(&file.file),
        Descriptor::Dir(dir) => Arc::clone(&dir.dir),
    };
    count_open(&mut state.files.held, &file);
    Ok(opened)
}

/// Wraps a stream that writes to a file, so that the budget is charged.
fn with_budget<T>(
    state: &mut GuestState<T>,
    stream: Resource<DynOutputStream>,
) -> FsResult<Resource<DynOutputStream>> {
    let inner = state.table.delete(stream)?;
    let stream: DynOutputStream = Box::new(BudgetedStream {
        inner,
        budget: Arc::clone(&state.files.budget),
    });
    Ok(state.table.push(stream)?)
}

struct BudgetedStream {
    inner: DynOutputStream,
    budget: Arc<AtomicU64>,
}

#[async_trait::async_trait]
impl Pollable for BudgetedStream {
    async fn ready(&mut self) {
        self.inner.ready().await;
    }
}

#[async_trait::async_trait]
impl OutputStream for BudgetedStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if !spend(&self.budget, bytes.len() as u64) {
            let full = std::io::Error::from_raw_os_error(rustix::io::Errno::DQUOT.raw_os_error());
            return Err(StreamError::LastOperationFailed(full.into()));
        }
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.inner.flush()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.inner.check_write()
    }

    async fn cancel(&mut self) {
        self.inner.cancel().await;
    }
}
