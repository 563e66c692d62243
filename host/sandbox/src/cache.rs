//! Compiled components on disk, so that each is compiled once. An entry is named by the SHA-256 of
//! the component and the hash of the engine's settings, and is checked byte for byte before use.
//!
//! The directory has to belong to this user alone: anyone who can write there can run native code
//! in the host, so a directory that others can write to is not used.
#![expect(
    unsafe_code,
    reason = "wasmtime marks deserialising unsafe: it trusts the bytes, which are verified first"
)]

use super::Engine;
use super::component::Digest;
use lastword_os::file;
use sha2::{Digest as _, Sha256};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use wasmtime::component::Component;

/// The largest compiled component that is read, in bytes.
const ARTIFACT_BYTES_MAX: usize = 2 << 30;

/// A directory of compiled components.
pub(super) struct Cache {
    directory: PathBuf,
}

impl Cache {
    /// Opens a directory, which is created if it is missing.
    ///
    /// # Errors
    ///
    /// If it cannot be created, or if other users could write to it.
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;

        let found = std::fs::metadata(directory)?;
        let owned = found.uid() == rustix::process::geteuid().as_raw();
        if !owned || found.mode() & 0o022 != 0 {
            return Err(io::Error::other(
                "others could write there; remove the directory, or `chmod go-w` it",
            ));
        }

        Ok(Self {
            directory: directory.to_owned(),
        })
    }

    fn stem(&self, engine: &Engine, wasm: &Digest) -> PathBuf {
        let hash = engine.hash();
        self.directory.join(format!("{wasm}-{hash:016x}"))
    }

    /// Returns the compiled component if the cache has it undamaged.
    pub(super) fn load(&self, engine: &Engine, wasm: &Digest) -> Option<Component> {
        let stem = self.stem(engine, wasm);
        let artifact = stem.with_extension("cwasm");
        let expected = file::read_text(stem.with_extension("sha256")).ok()?;
        let found = Digest::of(&file::read(&artifact, ARTIFACT_BYTES_MAX).ok()?);

        if found.to_string() != expected.trim() {
            tracing::warn!(file = %artifact.display(), "a cached component is corrupt; compiled again");
            return None;
        }

        // SAFETY: the bytes are, to the last one, what this engine's configuration wrote into
        // a directory that only this user can write to; their digest was just checked.
        let loaded = unsafe { Component::deserialize_file(engine.wasmtime(), &artifact) };
        loaded
            .inspect_err(|error| {
                tracing::warn!(%error, file = %artifact.display(), "a cached component does not load; compiled again");
            })
            .ok()
    }

    /// Stores a compiled component. A failure is only logged: it costs the next start a
    /// compilation.
    pub(super) fn store(&self, engine: &Engine, wasm: &Digest, artifact: &[u8]) {
        let stem = self.stem(engine, wasm);
        let digest = Digest::of(artifact).to_string();
        let stored = write_by_rename(&stem.with_extension("cwasm"), artifact)
            .and_then(|()| write_by_rename(&stem.with_extension("sha256"), digest.as_bytes()));
        if let Err(error) = stored {
            tracing::warn!(%error, "a compiled component could not be cached");
        }
    }
}

/// Loads a component that this process or its worker has just compiled.
pub(super) fn load_artifact(engine: &Engine, artifact: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the bytes are what this engine's configuration wrote, in this process or in its
    // worker, which sent them over a pipe between the two.
    unsafe { Component::deserialize(engine.wasmtime(), artifact) }
}

fn write_by_rename(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // Two processes may compile the same component: each writes a file of its own.
    let temporary = path.with_extension(format!("{}-{:x}", std::process::id(), unique()));
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)?;

    let written = file
        .write_all(bytes)
        .and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        let _left_behind = std::fs::remove_file(&temporary);
    }

    written
}

fn unique() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Digest {
    /// Returns the SHA-256 of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_bytes(Sha256::digest(bytes).into())
    }
}
