//! Compiled components on disk, so that each is compiled once, with the manifests that they
//! returned, so that each describes itself once. An entry is named by the SHA-256 of the component
//! and the hash of the engine's settings, and is checked to its last byte before use.
//!
//! The directory has to belong to this user alone: anyone who can write there can run native code
//! in the host, so a directory that others can write to is not used. What is checked is therefore
//! that nothing is damaged, and a checksum does that.
#![expect(
    unsafe_code,
    reason = "wasmtime marks deserialising unsafe: it trusts the bytes, which are verified first"
)]

use super::Engine;
use super::bindings::exports::lastword::agent::turn;
use super::component::Digest;
use lastword_os::file;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use wasmtime::component::Component;

/// The largest compiled component that is read, in bytes.
const ARTIFACT_BYTES_MAX: u64 = 2 << 30;
/// How much of a compiled component is read at a time, in bytes.
const BUFFER_BYTES: usize = 64 << 10;

/// A directory of compiled components.
#[derive(Clone)]
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
        let expected = file::read_text(stem.with_extension("crc32")).ok()?;
        let found = checksum_of_file(&artifact).ok()?;

        if found != expected.trim() {
            tracing::warn!(file = %artifact.display(), "a cached component is corrupt; compiled again");
            return None;
        }

        // SAFETY: the bytes are, to the last one, what this engine's configuration wrote into
        // a directory that only this user can write to; their checksum was just compared.
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
        let checksum = checksum(artifact);
        let stored = write_by_rename(&stem.with_extension("cwasm"), artifact)
            .and_then(|()| write_by_rename(&stem.with_extension("crc32"), checksum.as_bytes()));
        if let Err(error) = stored {
            tracing::warn!(%error, "a compiled component could not be cached");
        }
    }

    /// Returns the manifest that a component returned before, if the cache has it undamaged.
    pub(super) fn manifest(&self, engine: &Engine, wasm: &Digest) -> Option<turn::Manifest> {
        let path = self.stem(engine, wasm).with_extension("manifest");
        let text = file::read_text(path).ok()?;
        let (expected, json) = text.split_once('\n')?;
        let stored = (checksum(json.as_bytes()) == expected)
            .then(|| serde_json::from_str::<StoredManifest>(json).ok());
        stored.flatten().map(turn::Manifest::from)
    }

    /// Stores the manifest that a component returned. A failure is only logged: the next load asks
    /// the component again.
    pub(super) fn store_manifest(&self, engine: &Engine, wasm: &Digest, manifest: turn::Manifest) {
        let path = self.stem(engine, wasm).with_extension("manifest");
        let json = serde_json::to_string(&StoredManifest::from(manifest)).expect("texts and lists");
        let text = format!("{}\n{json}", checksum(json.as_bytes()));
        if let Err(error) = write_by_rename(&path, text.as_bytes()) {
            tracing::warn!(%error, "a manifest could not be cached");
        }
    }
}

/// The form of a manifest in the cache.
#[derive(Serialize, Deserialize)]
struct StoredManifest {
    name: String,
    version: String,
    description: String,
    wants: Vec<StoredWant>,
    config_schema_json: Option<String>,
    default_prompt: Option<String>,
    extra: Vec<(String, String)>,
}

#[derive(Serialize, Deserialize)]
struct StoredWant {
    capability: String,
    scope: Vec<String>,
    required: bool,
    reason: String,
}

impl From<turn::Manifest> for StoredManifest {
    fn from(manifest: turn::Manifest) -> Self {
        let wants = manifest.wants.into_iter().map(|want| StoredWant {
            capability: want.capability,
            scope: want.scope,
            required: want.required,
            reason: want.reason,
        });
        Self {
            name: manifest.name,
            version: manifest.version,
            description: manifest.description,
            wants: wants.collect(),
            config_schema_json: manifest.config_schema_json,
            default_prompt: manifest.default_prompt,
            extra: manifest.extra,
        }
    }
}

impl From<StoredManifest> for turn::Manifest {
    fn from(stored: StoredManifest) -> Self {
        let wants = stored.wants.into_iter().map(|want| turn::Want {
            capability: want.capability,
            scope: want.scope,
            required: want.required,
            reason: want.reason,
        });
        Self {
            name: stored.name,
            version: stored.version,
            description: stored.description,
            wants: wants.collect(),
            config_schema_json: stored.config_schema_json,
            default_prompt: stored.default_prompt,
            extra: stored.extra,
        }
    }
}

fn checksum(bytes: &[u8]) -> String {
    format!("{:08x}", crc32fast::hash(bytes))
}

/// Returns the checksum of a plain file.
fn checksum_of_file(path: &Path) -> io::Result<String> {
    let mut file = file::open(path)?.take(ARTIFACT_BYTES_MAX);
    let mut hasher = crc32fast::Hasher::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(format!("{:08x}", hasher.finalize())),
            read => hasher.update(&buffer[..read]),
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
