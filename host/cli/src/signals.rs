//! Turns signals into requests to stop, which the commands handle.

use crate::failure::{Exit, Failure};
use crate::printer::printer;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// The word of a process that a second signal ends.
const LEAVING: &str = "a second signal: leaving at once; what has no end on disk yet gets it from its host, or at the next \
     start";

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// SIGINT: end the run.
    Cancel,
    /// SIGTERM, or SIGHUP as the terminal is closed: end the host.
    Shutdown,
}

/// Signals as they arrive. The first is passed on; the second ends the process at once, and leaves
/// the run's end to the next start. SIGHUP is never that second
/// one: a terminal that is closed sends it more than once, by the kernel and by the shell.
pub(crate) struct Stops {
    stops: mpsc::Receiver<Stop>,
    heard: Arc<AtomicBool>,
    heeds_hangup: bool,
}

impl Stops {
    /// Listens from now on.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let failed =
            |error: io::Error| Failure::usage(format!("cannot listen to signals: {error}"));
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let hangup = (!is_hangup_ignored()).then(|| signal(SignalKind::hangup()));
        let mut hangup = hangup.transpose().map_err(failed)?;
        let heeds_hangup = hangup.is_some();
        let (sender, stops) = mpsc::channel(1);
        let heard = Arc::new(AtomicBool::new(false));
        let before = Arc::clone(&heard);
        tokio::spawn(async move {
            loop {
                let (stop, insists) = tokio::select! {
                    _ = interrupt.recv() => (Stop::Cancel, true),
                    _ = terminate.recv() => (Stop::Shutdown, true),
                    () = received(&mut hangup) => (Stop::Shutdown, false),
                };
                if insists && before.swap(true, Ordering::Relaxed) {
                    printer().at_once(LEAVING);
                    std::process::exit(Exit::Cancelled.code());
                }
                printer().hurry();
                let _nobody_listens = sender.try_send(stop);
            }
        });
        Ok(Self {
            stops,
            heard,
            heeds_hangup,
        })
    }

    /// The next request to stop; never returns if there is none.
    pub(crate) async fn recv(&mut self) -> Stop {
        match self.stops.recv().await {
            Some(stop) => stop,
            None => std::future::pending().await,
        }
    }

    /// Whether a terminal that is closed asks for the end.
    pub(crate) fn heeds_hangup(&self) -> bool {
        self.heeds_hangup
    }

    /// Makes the next signal a first one again, once the request is done.
    pub(crate) fn begin_again(&self) {
        self.heard.store(false, Ordering::Relaxed);
    }
}

async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Whether this was started to outlive its terminal, as `nohup` does.
fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignores(&status, SignalKind::hangup().as_raw_value())
}

/// Whether a signal is ignored, as the kernel tells it of a process.
fn ignores(status: &str, signal: i32) -> bool {
    let mut lines = status.lines();
    let mask = lines.find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ignored_signal_is_known() {
        let status = "Name:\tx\nSigBlk:\tffffffffffffffff\nSigIgn:\t0000000000001001\n";
        assert!(ignores(status, 1) && ignores(status, 13));
        assert!(!ignores(status, 2) && !ignores("", 1));
    }
}
