//! Signals as requests to stop. Knows nothing of what is stopped.

use crate::failure::{Exit, Failure};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// SIGINT: end the run.
    Cancel,
    /// SIGTERM: end the host.
    Shutdown,
}

/// Signals as they come. The first is handed on; the second ends the process on the spot,
/// whatever it is doing, and leaves the run's end to the next start.
pub(crate) struct Stops {
    stops: mpsc::Receiver<Stop>,
    heard: Arc<AtomicBool>,
}

impl Stops {
    /// Listens from now on.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let failed =
            |error: io::Error| Failure::usage(format!("cannot listen to signals: {error}"));
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let (sender, stops) = mpsc::channel(1);
        let heard = Arc::new(AtomicBool::new(false));
        let before = Arc::clone(&heard);
        tokio::spawn(async move {
            loop {
                let stop = tokio::select! {
                    _ = interrupt.recv() => Stop::Cancel,
                    _ = terminate.recv() => Stop::Shutdown,
                };
                if before.swap(true, Ordering::Relaxed) {
                    std::process::exit(Exit::Cancelled.code());
                }
                let _nobody_listens = sender.try_send(stop);
            }
        });
        Ok(Self { stops, heard })
    }

    /// The next request to stop; never returns if there is none.
    pub(crate) async fn recv(&mut self) -> Stop {
        match self.stops.recv().await {
            Some(stop) => stop,
            None => std::future::pending().await,
        }
    }

    /// What was asked for is done: the next signal is a first one again.
    pub(crate) fn begin_again(&self) {
        self.heard.store(false, Ordering::Relaxed);
    }
}

/// SIGXFSZ, which kills a process that writes beyond `ulimit -f` unless it is handled; the write
/// then fails like one to a full disk.
pub(crate) fn ignore_file_size() {
    const SIGXFSZ: i32 = if cfg!(any(target_arch = "mips", target_arch = "mips64")) {
        31
    } else {
        25
    };
    // The handler outlives what is returned here.
    let _unavailable_here = signal(SignalKind::from_raw(SIGXFSZ));
}
