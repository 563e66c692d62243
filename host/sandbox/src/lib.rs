//! Runs guests: one engine, one store per run, limits, and the means to stop a guest at any time.
//! The only crate that uses wasmtime. It is generic over the host's data and functions, which
//! `lastword` provides.

#[expect(
    missing_docs,
    reason = "generated; the WIT files are the documentation"
)]
pub mod bindings;
mod cache;
mod compile;
mod component;
mod cost;
pub mod descriptors;
mod engine;
mod inspect;
mod instance;
mod interrupt;
mod limits;
mod memory;
mod run_queue;
mod scheduler;
mod wasi;
mod worker;

pub use compile::Compiler;
pub use component::{ComponentError, Digest};
pub use engine::EngineError;
pub use inspect::{Inspection, WIT_PACKAGE, WIT_VERSION};
pub use limits::{Limits, UnknownLimit};
pub use worker::compile_worker;

pub use compile::Compilers;
pub use component::Loaded;
pub use engine::{ConcurrentRuns, Engine, EngineOptions};
pub use instance::{Call, CallClose, CallDescribe, CallNothing, CallResult, CallRun, Fault, call};
pub use interrupt::Interrupt;
pub use limits::Limiter;
pub use scheduler::{Share, processors};
pub use wasi::{
    Directory, Files, GuestLines, GuestState, LineSource, Outgoing, OutgoingBody, OutgoingError,
};

/// The types of the engine that host functions need.
pub use wasmtime::Result as HostResult;
pub use wasmtime::component::{HasSelf, Linker, Resource, ResourceTable};

/// Creates a linker with WASI, and nothing of the host's own yet.
pub fn linker<T: Send + 'static>(engine: &Engine) -> HostResult<Linker<GuestState<T>>> {
    let mut linker = Linker::new(engine.wasmtime());
    wasi::link(&mut linker)?;
    Ok(linker)
}
