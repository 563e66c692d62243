//! A guest's standard output and error: cut into lines and passed to the host, bounded, and never
//! an error for the guest. A full pipe would make a guest's `println!` panic; here the rest is
//! dropped.

use bytes::Bytes;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// The largest number of bytes of a line that is passed on; the rest of it becomes further lines.
const LINE_BYTES_MAX: usize = 4096;
/// The largest number of bytes of one write.
const WRITE_BYTES_MAX: usize = 64 << 10;

/// The stream that a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineSource {
    /// The guest's standard output.
    Stdout,
    /// The guest's standard error.
    Stderr,
}

/// Receives what a guest prints, line by line. Must return quickly and drop the excess.
pub trait GuestLines: Send + Sync + 'static {
    /// Receives one line, without its line end.
    fn line(&self, source: LineSource, line: &str);
}

/// One of a guest's two output streams.
#[derive(Clone)]
pub(super) struct LineWriter {
    shared: Arc<Shared>,
}

struct Shared {
    source: LineSource,
    sink: Arc<dyn GuestLines>,
    partial: Mutex<Vec<u8>>,
}

impl LineWriter {
    pub(super) fn new(source: LineSource, sink: &Arc<dyn GuestLines>) -> Self {
        Self {
            shared: Arc::new(Shared {
                source,
                sink: Arc::clone(sink),
                partial: Mutex::default(),
            }),
        }
    }

    fn take(&self, bytes: &[u8]) {
        let shared = &self.shared;
        let mut partial = shared
            .partial
            .lock()
            .unwrap_or_else(PoisonError::into_inner);

        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            partial.extend_from_slice(piece);
            while partial.ends_with(b"\n") || partial.len() >= LINE_BYTES_MAX {
                let length = partial.len().min(LINE_BYTES_MAX);
                let rest = partial.split_off(length);
                let line = std::mem::replace(&mut *partial, rest);
                let line = String::from_utf8_lossy(&line);
                shared.sink.line(shared.source, line.trim_end_matches('\n'));
            }
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let partial = self
            .partial
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        if !partial.is_empty() {
            self.sink
                .line(self.source, &String::from_utf8_lossy(partial));
        }
    }
}

impl IsTerminal for LineWriter {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LineWriter {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait::async_trait]
impl Pollable for LineWriter {
    async fn ready(&mut self) {}
}

impl OutputStream for LineWriter {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.take(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

impl AsyncWrite for LineWriter {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
