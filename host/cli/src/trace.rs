//! Log lines of the host and of agents, on standard error, and spans for whoever collects them.
//! Knows only how loud they are.

use crate::terminal::{LogLines, Terminal};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

// What a host notices at its start is told to the user by itself.
const QUIET: &str = "warn,lastword::agent=off,lastword::notice=off,rmcp=off";
const VERBOSE: &str = "warn,lastword=debug,lastword::agent=trace,lastword::notice=off,rmcp=off";

/// What is to be sent before the process ends.
pub(crate) struct Traces {
    #[cfg(feature = "otlp")]
    export: Option<crate::otlp::Export>,
}

impl Traces {
    /// Sends what is left, within a bound.
    pub(crate) fn flush(self) {
        #[cfg(feature = "otlp")]
        if let Some(export) = self.export {
            export.flush();
        }
    }
}

/// Starts to show log lines: the host's warnings, or all that concerns runs and
/// what agents log; `RUST_LOG` wins over both. Spans are collected where the
/// environment names a collector.
pub(crate) fn start(verbose: bool, terminal: &Terminal) -> Traces {
    let fallback = if verbose { VERBOSE } else { QUIET };
    let filter = std::env::var("RUST_LOG").ok();
    let filter = filter.filter(|directives| !directives.trim().is_empty());
    let filter = match filter.map(EnvFilter::try_new) {
        None => EnvFilter::new(fallback),
        Some(Ok(filter)) => filter,
        Some(Err(error)) => {
            terminal.warn(&format!(
                "RUST_LOG is not understood: {error}; using `{fallback}`"
            ));
            EnvFilter::new(fallback)
        }
    };
    let at_terminal = terminal.err.terminal;
    let lines = tracing_subscriber::fmt::layer()
        .compact()
        .with_writer(move || LogLines {
            terminal: at_terminal,
        })
        .with_ansi(terminal.err.is_coloured())
        .without_time()
        .with_filter(filter);
    let registry = tracing_subscriber::registry().with(lines);
    #[cfg(feature = "otlp")]
    {
        let (spans, export) = crate::otlp::start(terminal);
        registry.with(spans).init();
        Traces { export }
    }
    #[cfg(not(feature = "otlp"))]
    {
        registry.init();
        Traces {}
    }
}
