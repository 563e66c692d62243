//! A guest's files: which directories it sees, that it opens nothing but files and
//! directories, and how much it may write and make.
//!
//! These functions stand before wasmtime's own. Directories are opened when a guest first
//! asks for them, so that one which has no use for files costs none.

use super::GuestState;
use crate::descriptors::Held;
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

/// Bytes that each file, directory and link counts for, whatever is in it.
const ENTRY_BYTES: u64 = 4 << 10;

/// A directory that a guest may see as `/workspace`.
#[derive(Clone, Debug)]
pub struct Directory {
    /// Opened once per workspace: replacing the path changes nothing for guests.
    pub file: Arc<File>,
    /// Whether a guest may change what is in it.
    pub writable: bool,
}

/// What one guest may do with files.
pub struct Files {
    workspace: Option<Directory>,
    /// Where the guest's `/tmp` is made when it first asks, and whether it was.
    tmp: Option<(PathBuf, bool)>,
    /// The two once they are open, and what the guest calls them.
    directories: Option<Vec<(Dir, &'static str)>>,
    /// Bytes that may still be written.
    budget: Arc<AtomicU64>,
    /// What it has open; without, nothing can be.
    held: Option<Held>,
}

impl Files {
    /// No files at all.
    pub fn none() -> Self {
        Self {
            workspace: None,
            tmp: None,
            directories: None,
            budget: Arc::default(),
            held: None,
        }
    }

    /// The workspace, if it is granted, and a `/tmp` at a path that nobody else uses. `budget`
    /// is what may still be written, in bytes, shared with whatever else the run writes by;
    /// `held` is what may be open.
    pub fn new(
        workspace: Option<Directory>,
        tmp: PathBuf,
        budget: Arc<AtomicU64>,
        held: Held,
    ) -> Self {
        Self {
            workspace,
            tmp: Some((tmp, false)),
            directories: None,
            budget,
            held: Some(held),
        }
    }

    /// The directories, opened once however often a guest asks. One for which there is no
    /// descriptor is not there.
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
            count(&mut self.held, &dir.dir);
            directories.push((dir, "/workspace"));
        }

        if let Some((path, made)) = &mut self.tmp
            && has_room_for_directory(&mut self.held)
        {
            let mut private = std::fs::DirBuilder::new();
            private.recursive(true).mode(0o700).create(&*path)?;
            *made = true;

            let file = File::open(&*path)?;
            let dir = Dir::new(
                file,
                FsPerms::ReadWrite,
                OpenMode::READ | OpenMode::WRITE,
                false,
            );
            count(&mut self.held, &dir.dir);
            directories.push((dir, "/tmp"));
        }

        self.directories = Some(directories.clone());
        Ok(directories)
    }

    fn has_room(&mut self) -> bool {
        self.held.as_mut().is_some_and(Held::has_room)
    }
}

fn has_room_for_directory(held: &mut Option<Held>) -> bool {
    held.as_mut().is_some_and(Held::has_room_for_directory)
}

fn count(held: &mut Option<Held>, file: &Arc<File>) {
    if let Some(held) = held {
        held.opened(file);
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let Some((path, true)) = self.tmp.take() else {
            return;
        };

        // Most guests leave it empty; a full one is removed where that holds nobody up.
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

fn take(budget: &AtomicU64, bytes: u64) -> bool {
    let spend = |left: u64| left.checked_sub(bytes);
    budget
        .fetch_update(Ordering::AcqRel, Ordering::Acquire, spend)
        .is_ok()
}

fn give_back(budget: &AtomicU64, bytes: u64) {
    budget.fetch_add(bytes, Ordering::AcqRel);
}

/// wasmtime's errors for a guest are values, all others end it.
fn answer<R>(result: FsResult<R>) -> wasmtime::Result<(Result<R, ErrorCode>,)> {
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
                answer(open_at(store.data_mut(), fd, follow, path, how, flags).await)
            })
        },
    )?;

    types.func_wrap_async(
        "[method]descriptor.write",
        |mut store: Store<'_, T>, (fd, bytes, offset): (Fd, Vec<u8>, u64)| {
            Box::new(async move {
                let state = store.data_mut();
                if !take(&state.files.budget, bytes.len() as u64) {
                    return Ok((Err(ErrorCode::Quota),));
                }
                answer(state.filesystem().write(fd, bytes, offset).await)
            })
        },
    )?;

    types.func_wrap_async(
        "[method]descriptor.set-size",
        |mut store: Store<'_, T>, (fd, size): (Fd, u64)| {
            Box::new(async move {
                let state = store.data_mut();
                if !take(&state.files.budget, size) {
                    return Ok((Err(ErrorCode::Quota),));
                }
                answer(state.filesystem().set_size(fd, size).await)
            })
        },
    )?;

    types.func_wrap(
        "[method]descriptor.write-via-stream",
        |mut store: Store<'_, T>, (fd, offset): (Fd, u64)| {
            let state = store.data_mut();
            let stream = state.filesystem().write_via_stream(fd, offset);
            answer(stream.and_then(|stream| bounded(state, stream)))
        },
    )?;

    types.func_wrap(
        "[method]descriptor.append-via-stream",
        |mut store: Store<'_, T>, (fd,): (Fd,)| {
            let state = store.data_mut();
            let stream = state.filesystem().append_via_stream(fd);
            answer(stream.and_then(|stream| bounded(state, stream)))
        },
    )?;

    link_creating(&mut types)
}

/// What makes a directory or a link: as dear as what is written, since it takes room as well.
fn link_creating<T: Send + 'static>(
    types: &mut LinkerInstance<'_, GuestState<T>>,
) -> wasmtime::Result<()> {
    types.func_wrap_async(
        "[method]descriptor.create-directory-at",
        |mut store: Store<'_, T>, (fd, path): (Fd, String)| {
            Box::new(async move {
                let state = store.data_mut();
                let made = Entry::pay(&state.files.budget);
                answer(match made {
                    Ok(made) => made.kept(state.filesystem().create_directory_at(fd, path).await),
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
                let made = Entry::pay(&state.files.budget);
                answer(match made {
                    Ok(made) => made.kept(state.filesystem().symlink_at(fd, to, path).await),
                    Err(full) => Err(full),
                })
            })
        },
    )?;

    types.func_wrap_async(
        "[method]descriptor.link-at",
        |mut store: Store<'_, T>, (fd, follow, from, at, path): Link| {
            Box::new(async move {
                let state = store.data_mut();
                let made = Entry::pay(&state.files.budget);
                answer(match made {
                    Ok(made) => {
                        let mut files = state.filesystem();
                        made.kept(files.link_at(fd, follow, from, at, path).await)
                    }
                    Err(full) => Err(full),
                })
            })
        },
    )
}

/// What `link-at` is called with.
type Link = (Fd, PathFlags, String, Fd, String);

/// An entry of a directory that is paid for and not yet made.
struct Entry(Arc<AtomicU64>);

impl Entry {
    fn pay(budget: &Arc<AtomicU64>) -> FsResult<Self> {
        if take(budget, ENTRY_BYTES) {
            Ok(Self(Arc::clone(budget)))
        } else {
            Err(ErrorCode::Quota.into())
        }
    }

    /// What was not made costs nothing: many a guest tries first whether it is there.
    fn kept<R>(self, made: FsResult<R>) -> FsResult<R> {
        if made.is_err() {
            give_back(&self.0, ENTRY_BYTES);
        }
        made
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

/// Opening a FIFO or a device can block for ever, on a thread that nothing can stop. What is
/// opened is a descriptor of the host's, and counted; WASI has no error for too many of them, and
/// this is the one that is neither of a disk nor of a permission.
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

    let made = if creates {
        Some(Entry::pay(&state.files.budget)?)
    } else {
        None
    };

    let opened = state
        .filesystem()
        .open_at(fd, follow, path, how, flags)
        .await;

    let opened = match made {
        Some(made) => made.kept(opened),
        None => opened,
    }?;

    let file = match state.table.get(&opened)? {
        Descriptor::File(file) => Arc::clone(&file.file),
        Descriptor::Dir(dir) => Arc::clone(&dir.dir),
    };
    count(&mut state.files.held, &file);
    Ok(opened)
}

/// Puts the budget before a stream that writes to a file.
fn bounded<T>(
    state: &mut GuestState<T>,
    stream: Resource<DynOutputStream>,
) -> FsResult<Resource<DynOutputStream>> {
    let inner = state.table.delete(stream)?;
    let stream: DynOutputStream = Box::new(Bounded {
        inner,
        budget: Arc::clone(&state.files.budget),
    });
    Ok(state.table.push(stream)?)
}

struct Bounded {
    inner: DynOutputStream,
    budget: Arc<AtomicU64>,
}

#[async_trait::async_trait]
impl Pollable for Bounded {
    async fn ready(&mut self) {
        self.inner.ready().await;
    }
}

#[async_trait::async_trait]
impl OutputStream for Bounded {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if !take(&self.budget, bytes.len() as u64) {
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
