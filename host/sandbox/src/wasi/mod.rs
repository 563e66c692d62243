//! The system that a guest sees: the workspace at `/workspace`, a `/tmp` of its own, a clock,
//! randomness, and standard output that becomes log lines. No environment, no arguments, no
//! standard input, no sockets; requests over HTTP as the host carries them out.
//!
//! Everything is WASI 0.2 as wasmtime implements it, but for what [`files`] puts before it.

mod files;
mod http;
mod stdio;

pub use files::{Directory, Files};
pub use http::{Outgoing, OutgoingBody, OutgoingError};
pub use stdio::{GuestLines, LineSource};

use super::Limiter;
use std::sync::Arc;
use wasmtime::component::{Linker, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

/// Bytes of randomness per call.
const RANDOM_BYTES_MAX: u64 = 64 << 10;
/// Files, directories and streams that a guest may have open at once.
const OPEN_MAX: usize = 1024;

/// Everything that the sandbox keeps for one guest, and the host's own data beside it.
pub struct GuestState<T> {
    /// The host's data: what its functions work on.
    pub host: T,
    limiter: Limiter,
    files: Files,
    http: http::Http,
    wasi: WasiCtx,
    table: ResourceTable,
}

impl<T> GuestState<T> {
    /// The state of a guest that has done nothing yet.
    pub fn new(host: T, limiter: Limiter, files: Files, lines: &Arc<dyn GuestLines>) -> Self {
        let mut wasi = WasiCtx::builder();
        wasi.max_random_size(RANDOM_BYTES_MAX)
            .stdout(stdio::Lines::new(LineSource::Stdout, lines))
            .stderr(stdio::Lines::new(LineSource::Stderr, lines));

        let mut table = ResourceTable::new();
        table.set_max_capacity(OPEN_MAX);

        Self {
            host,
            limiter,
            files,
            http: http::Http::denied(),
            wasi: wasi.build(),
            table,
        }
    }

    /// The same with somebody who carries its requests out; without, they are denied.
    pub fn outgoing(mut self, outgoing: Option<Arc<dyn Outgoing>>) -> Self {
        self.http.allow(outgoing);
        self
    }

    /// The limiter of the guest's store.
    pub fn limiter(&mut self) -> &mut Limiter {
        &mut self.limiter
    }
}

impl<T: Send> WasiView for GuestState<T> {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

/// Links WASI, with our own checks before opening and writing files.
pub(super) fn link<T: Send + 'static>(linker: &mut Linker<GuestState<T>>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    http::link(linker)?;
    linker.allow_shadowing(true);
    files::link(linker)?;
    linker.allow_shadowing(false);
    Ok(())
}
