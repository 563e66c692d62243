//! Signals as requests to stop. Knows nothing of what is stopped.

use crate::failure::Exit;
use std::io;
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

/// Listens from now on. The first signal is handed on; the second ends the process on the spot,
/// whatever it is doing, and leaves the run's end to the next start.
pub(crate) fn listen() -> io::Result<mpsc::Receiver<Stop>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (sender, stops) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut heard = false;
        loop {
            let stop = tokio::select! {
                _ = interrupt.recv() => Stop::Cancel,
                _ = terminate.recv() => Stop::Shutdown,
            };
            if heard {
                std::process::exit(Exit::Cancelled.code());
            }
            heard = true;
            let _nobody_listens = sender.try_send(stop);
        }
    });
    Ok(stops)
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
