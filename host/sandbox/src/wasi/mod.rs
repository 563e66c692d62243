//! The system that a guest sees: the workspace at `/workspace`, a `/tmp` of its own, a clock,
//! randomness, standard output that becomes log lines, and HTTP requests through the host. No
//! environment, arguments, standard input or sockets.
//!
//! Everything is WASI 0.2 as wasmtime implements it, except for the functions that [`files`]
//! replaces.

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

/// The largest number of random bytes per call.
const RANDOM_BYTES_MAX: u64 = 64 << 10;
/// The largest number of files, directories and streams that a guest may have open at once.
const OPEN_MAX: usize = 1024;

/// The sandbox's state of one guest, with the host's own data.
pub struct GuestState<T> {
    /// The data that the host's functions work on.
    pub host: T,
    limiter: Limiter,
    files: Files,
    http: http::Http,
    wasi: WasiCtx,
    table: ResourceTable,
}

impl<T> GuestState<T> {
    /// Creates the state of a guest that has not started.
    pub fn new(host: T, limiter: Limiter, files: Files, lines: &Arc<dyn GuestLines>) -> Self {
        let mut wasi = WasiCtx::builder();
        wasi.max_random_size(RANDOM_BYTES_MAX)
            .stdout(stdio::LineWriter::new(LineSource::Stdout, lines))
            .stderr(stdio::LineWriter::new(LineSource::Stderr, lines));

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

    /// Sets the sender of the guest's requests; without one, they are denied.
    pub fn outgoing(mut self, outgoing: Arc<dyn Outgoing>) -> Self {
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

/// Links WASI, with our own checks before files are opened and written.
pub(super) fn link<T: Send + 'static>(linker: &mut Linker<GuestState<T>>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    http::link(linker)?;
    linker.allow_shadowing(true);
    files::link(linker)?;
    linker.allow_shadowing(false);
    Ok(())
}
