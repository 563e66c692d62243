//! From bytes to something that can be instantiated: inspected, compiled or found in the
//! cache, linked. Knows nothing of what the host's functions do.

use super::cache::Cache;
use super::inspect::{Inspection, inspect};
use super::wasi::GuestState;
use super::{Engine, WIT_PACKAGE, WIT_VERSION};
use crate::file::COMPONENT_BYTES_MAX;
use crate::sandbox::bindings::exports::lastword::agent::{epilogue, turn};
use std::fmt;
use std::path::Path;
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
    /// The bytes do not begin like WebAssembly.
    #[error(
        "this is not a WebAssembly file; build the agent with `cargo build --release --target wasm32-wasip2` and name the .wasm that it writes"
    )]
    NotWasm,
    /// A core module rather than a component.
    #[error(
        "this is a core WebAssembly module, not a component; build it for the target `wasm32-wasip2`, which makes components, instead of `wasm32-wasip1` or `wasm32-unknown-unknown`"
    )]
    CoreModule,
    /// A component that is no agent.
    #[error(
        "this component is not an agent: it does not export `{WIT_PACKAGE}/turn@{WIT_VERSION}` (it exports {}); write it against lastword's agent SDK",
        list(exports)
    )]
    OtherWorld {
        /// What it exports instead.
        exports: Vec<String>,
    },
    /// An agent of another version of the WIT package.
    #[error(
        "this agent was built for another version of `{WIT_PACKAGE}`: it has {}, and this host speaks {WIT_VERSION}; build it with an SDK of that version, or use another lastword",
        list(found)
    )]
    WrongVersion {
        /// The names with their versions.
        found: Vec<String>,
    },
    /// The component imports what this host does not have.
    #[error(
        "this component imports what the host does not offer: {}; build the agent without it",
        list(names)
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
    /// Too many bytes.
    #[error("this component has {bytes} bytes; at most {COMPONENT_BYTES_MAX} are loaded")]
    TooLarge {
        /// How many it has.
        bytes: u64,
    },
    /// The bytes are not valid.
    #[error("this component is damaged or invalid: {0}; build it again")]
    Invalid(String),
    /// A function has another type than the host's.
    #[error(
        "this component does not fit the host's functions: {0}; build it with an SDK of version {WIT_VERSION}"
    )]
    Mismatch(String),
    /// The component traps or hangs while it describes itself.
    #[error(
        "the agent could not say what it is: {0}; `describe` is called with everything denied and must only return the manifest"
    )]
    Describe(String),
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        return "nothing".to_owned();
    }
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

/// A component that can be instantiated, any number of times.
pub(crate) struct Loaded<T: 'static> {
    pub(super) pre: InstancePre<GuestState<T>>,
    pub(super) turn: turn::GuestIndices,
    pub(super) epilogue: Option<epilogue::GuestIndices>,
    pub(crate) digest: Digest,
    pub(crate) inspection: Inspection,
    /// Whether the cache had it.
    pub(crate) cached: bool,
}

impl<T: Send + 'static> Loaded<T> {
    /// Inspects, compiles and links. Blocks for as long as compiling takes, which cannot be
    /// interrupted; what is compiled is cached before anything else is done with it.
    pub(crate) fn load(
        engine: &Engine,
        linker: &Linker<GuestState<T>>,
        cache: Option<&Path>,
        wasm: &[u8],
    ) -> Result<Self, ComponentError> {
        if wasm.len() > COMPONENT_BYTES_MAX {
            let bytes = wasm.len() as u64;
            return Err(ComponentError::TooLarge { bytes });
        }
        let inspection = inspect(wasm)?;
        let digest = Digest::of(wasm);
        let (component, cached) = compile(engine, cache, wasm, &digest)?;
        let mismatch = |error: wasmtime::Error| ComponentError::Mismatch(format!("{error:#}"));
        let pre = linker.instantiate_pre(&component).map_err(mismatch)?;
        let turn = turn::GuestIndices::new(&pre).map_err(mismatch)?;
        let epilogue = match inspection.has_epilogue() {
            true => Some(epilogue::GuestIndices::new(&pre).map_err(mismatch)?),
            false => None,
        };
        Ok(Self {
            pre,
            turn,
            epilogue,
            digest,
            inspection,
            cached,
        })
    }

    /// Whether the agent brings closing words.
    pub(crate) fn has_epilogue(&self) -> bool {
        self.epilogue.is_some()
    }
}

fn compile(
    engine: &Engine,
    directory: Option<&Path>,
    wasm: &[u8],
    digest: &Digest,
) -> Result<(Component, bool), ComponentError> {
    let cache = directory.and_then(|directory| {
        Cache::open(directory)
            .inspect_err(|error| {
                let directory = directory.display();
                tracing::warn!(%error, %directory, "compiled components are not cached");
            })
            .ok()
    });
    let engine = engine.wasmtime();
    if let Some(component) = cache.as_ref().and_then(|cache| cache.load(engine, digest)) {
        return Ok((component, true));
    }
    let component = Component::from_binary(engine, wasm).map_err(|error| invalid(&error))?;
    if let Some(cache) = &cache {
        cache.store(engine, digest, &component);
    }
    Ok((component, false))
}

fn invalid(error: &wasmtime::Error) -> ComponentError {
    let text = format!("{error:#}");
    match text.contains("async") {
        true => ComponentError::Async,
        false => ComponentError::Invalid(text),
    }
}
