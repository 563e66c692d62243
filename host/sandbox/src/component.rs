//! Turns bytes into a component that can be instantiated: [`inspect`] checks it, the cache or the
//! compiler provides the artifact, and the linker resolves its imports.

use super::cache::{Cache, load_artifact};
use super::compile::Compilers;
use super::inspect::{Inspection, inspect};
use super::wasi::GuestState;
use super::{Engine, WIT_PACKAGE, WIT_VERSION};
use crate::bindings::exports::lastword::agent::{epilogue, turn};
use lastword_os::file::COMPONENT_BYTES_MAX;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use wasmtime::component::{Component, InstancePre, Linker};

/// The SHA-256 of a component; shown as lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    pub(super) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// Why a component cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ComponentError {
    /// The bytes do not begin like a WebAssembly file.
    #[error(
        "this is not a WebAssembly file; build the agent with `cargo build --release --target wasm32-wasip2` and name the .wasm that it writes"
    )]
    NotWasm,
    /// A core module rather than a component.
    #[error(
        "this is a core WebAssembly module, not a component; build it for the target `wasm32-wasip2`, which makes components, instead of `wasm32-wasip1` or `wasm32-unknown-unknown`"
    )]
    CoreModule,
    /// A component that is not an agent.
    #[error(
        "this component is not an agent: it does not export `{WIT_PACKAGE}/turn@{WIT_VERSION}` (it exports {}); export an agent with the `export!` of lastword's agent SDK, and build it again",
        quoted_list(exports)
    )]
    OtherWorld {
        /// The names of its exports, which do not include `turn`.
        exports: Vec<String>,
    },
    /// An agent built for another version of the WIT package.
    #[error(
        "this agent was built for another version of `{WIT_PACKAGE}`: it has {}, and this host speaks {WIT_VERSION}; build it with an SDK of that version, or use another lastword",
        quoted_list(found)
    )]
    WrongVersion {
        /// The interfaces with their versions.
        found: Vec<String>,
    },
    /// The component imports functions that this host does not offer.
    #[error(
        "this component imports what the host does not offer: {}; build the agent without it",
        quoted_list(names)
    )]
    MissingImports {
        /// The names of the imports.
        names: Vec<String>,
    },
    /// The component exports async functions.
    #[error(
        "this component uses the component model's async functions, which this host does not run; build it with sync functions (componentize-py: a sync world; componentize-qjs: `--sync`)"
    )]
    Async,
    /// The component is too large.
    #[error("this component has {bytes} bytes; at most {COMPONENT_BYTES_MAX} are loaded")]
    TooLarge {
        /// The size of the component in bytes.
        bytes: u64,
    },
    /// The bytes are not valid.
    #[error("this component is damaged or invalid: {0}; build it again")]
    Invalid(String),
    /// Compiling the component took too much memory.
    #[error(
        "compiling this component takes more than the {} MiB of memory that it may; build it with smaller functions, or raise the bound on compiling if you trust it",
        bytes >> 20
    )]
    CompileMemory {
        /// The largest number of bytes that compiling may use.
        bytes: u64,
    },
    /// Compiling the component took too long.
    #[error(
        "compiling this component takes longer than the {seconds} s that it may; build it with smaller functions, or raise the bound on compiling if you trust it"
    )]
    CompileTime {
        /// The longest time that compiling may take, in seconds.
        seconds: u64,
    },
    /// The component looks too costly to compile in the host's own process, where nothing bounds
    /// that.
    #[error(
        "this component looks too costly to compile inside the host: {0}; build it with smaller functions, or have the host compile in a process of its own"
    )]
    CompileCost(String),
    /// The process that compiles failed, for a reason other than the component.
    #[error("the process that compiles components failed: {0}")]
    Compiler(String),
    /// A function has another type than the host's.
    #[error(
        "this component has other functions than version {WIT_VERSION} of `{WIT_PACKAGE}`, which this host has: {0}; build it with an SDK of version {WIT_VERSION}"
    )]
    Mismatch(String),
    /// The component traps or hangs while it describes itself.
    #[error(
        "the agent could not say what it is, since its `describe` failed: {0}; it is called with everything denied and must only return the manifest"
    )]
    Describe(String),
    /// The host failed while it called the agent's `describe`.
    #[error("the host could not ask the agent what it is: {0}")]
    Host(String),
    /// The agent cannot be used with its manifest.
    #[error(
        "the agent's manifest cannot be used: {0}; change the manifest and build the agent again"
    )]
    Manifest(String),
}

fn quoted_list(names: &[String]) -> String {
    if names.is_empty() {
        return "nothing".to_owned();
    }
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

/// A component that can be instantiated any number of times.
pub struct Loaded<T: 'static> {
    pub(super) pre: InstancePre<GuestState<T>>,
    pub(super) turn: turn::GuestIndices,
    pub(super) epilogue: Option<epilogue::GuestIndices>,
    /// The digest of the component's bytes.
    pub digest: Digest,
    /// What the component imports and exports.
    pub inspection: Inspection,
    /// Whether the compiled component came from the cache.
    pub cached: bool,
    /// The manifest that the component returned before, if the cache has it.
    pub manifest: Option<turn::Manifest>,
    cache: Option<Cache>,
}

impl<T: Send + 'static> Loaded<T> {
    /// Inspects, compiles unless the cache has it, and links. The artifact is cached before
    /// anything else is done with it. Dropping the future ends a process that compiles.
    pub async fn load(
        engine: &Arc<Engine>,
        linker: &Linker<GuestState<T>>,
        cache: Option<&Path>,
        compilers: &Compilers,
        wasm: Vec<u8>,
    ) -> Result<Self, ComponentError> {
        if wasm.len() > COMPONENT_BYTES_MAX {
            let bytes = wasm.len() as u64;
            return Err(ComponentError::TooLarge { bytes });
        }

        let wasm: Arc<[u8]> = wasm.into();
        let lookup = {
            let (engine, wasm) = (Arc::clone(engine), Arc::clone(&wasm));
            let cache = cache.map(Path::to_owned);
            run_blocking(move || CacheLookup::new(&engine, cache.as_deref(), &wasm))
        };
        let mut lookup = lookup.await?;
        let (inspection, digest) = (lookup.inspection.clone(), lookup.digest);
        let (found, manifest) = (lookup.found.take(), lookup.manifest.take());
        let (cached, cache) = (found.is_some(), lookup.cache.clone());

        let component = match found {
            Some(component) => component,
            None => {
                let for_artifact = Arc::clone(engine);
                let keep = move |artifact: &[u8]| lookup.load_and_cache(&for_artifact, artifact);
                compilers.compile(engine, wasm, keep).await?
            }
        };

        let mismatch = |error: wasmtime::Error| ComponentError::Mismatch(format!("{error:#}"));
        let pre = linker.instantiate_pre(&component).map_err(mismatch)?;
        let turn = turn::GuestIndices::new(&pre).map_err(mismatch)?;

        let epilogue = if inspection.has_epilogue() {
            Some(epilogue::GuestIndices::new(&pre).map_err(mismatch)?)
        } else {
            None
        };

        Ok(Self {
            pre,
            turn,
            epilogue,
            digest,
            inspection,
            cached,
            manifest,
            cache,
        })
    }

    /// Keeps the manifest that the component returned beside the compiled component, if there is a
    /// cache.
    pub async fn keep_manifest(&self, engine: &Arc<Engine>, manifest: turn::Manifest) {
        let Some(cache) = self.cache.clone() else {
            return;
        };

        let (engine, digest) = (Arc::clone(engine), self.digest);
        let stored = run_blocking(move || {
            cache.store_manifest(&engine, &digest, manifest);
            Ok(())
        });
        let _without_it_the_next_load_asks_again = stored.await;
    }

    /// Whether the agent exports an epilogue.
    pub fn has_epilogue(&self) -> bool {
        self.epilogue.is_some()
    }
}

/// A component that is inspected and looked up in the cache, but not compiled.
struct CacheLookup {
    inspection: Inspection,
    digest: Digest,
    cache: Option<Cache>,
    /// The component from the cache, and its manifest.
    found: Option<Component>,
    manifest: Option<turn::Manifest>,
}

impl CacheLookup {
    fn new(engine: &Engine, cache: Option<&Path>, wasm: &[u8]) -> Result<Self, ComponentError> {
        let inspection = inspect(wasm)?;
        let digest = Digest::of(wasm);

        let cache = cache.and_then(|directory| {
            Cache::open(directory)
                .inspect_err(|error| {
                    let directory = directory.display();
                    tracing::warn!(%error, %directory, "compiled components are not cached");
                })
                .ok()
        });
        let found = cache.as_ref().and_then(|cache| cache.load(engine, &digest));
        let manifest = cache
            .as_ref()
            .filter(|_| found.is_some())
            .and_then(|cache| cache.manifest(engine, &digest));

        Ok(Self {
            inspection,
            digest,
            cache,
            found,
            manifest,
        })
    }

    fn load_and_cache(self, engine: &Engine, artifact: &[u8]) -> Result<Component, ComponentError> {
        let component = load_artifact(engine, artifact);
        let component =
            component.map_err(|error| ComponentError::from_compiler(&format!("{error:#}")))?;
        if let Some(cache) = &self.cache {
            cache.store(engine, &self.digest, artifact);
        }
        Ok(component)
    }
}

impl ComponentError {
    /// Classifies an error of the compiler.
    pub(super) fn from_compiler(message: &str) -> Self {
        if message.contains("async") {
            return Self::Async;
        }
        Self::Invalid(message.to_owned())
    }
}

pub(super) async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ComponentError> + Send + 'static,
) -> Result<T, ComponentError> {
    let failed = |error| ComponentError::Compiler(format!("its thread failed: {error}"));
    tokio::task::spawn_blocking(work).await.map_err(failed)?
}
