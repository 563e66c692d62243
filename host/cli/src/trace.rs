//! Sets up log lines of the host and of agents on standard error, and the spans that `otlp.rs` sends to
//! a collector.

use crate::terminal::{LogLines, Terminal};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

// Notices at a host's start are shown to the user separately (`owner::tell_recovery`).
const QUIET: &str = "warn,lastword::agent=off,lastword::notice=off,rmcp=off";
const VERBOSE: &str = "warn,lastword=debug,lastword::agent=trace,lastword::notice=off,rmcp=off";

/// Spans to send before the process ends.
pub(crate) struct Traces {
    #[cfg(feature = "otlp")]
    export: Option<crate::otlp::Export>,
}

impl Traces {
    /// Sends the remaining spans, for a bounded time.
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
        if is_collector_named(|name| std::env::var(name).ok()) {
            terminal.warn(
                "traces are not exported: this lastword was built without OTLP; build it with \
                 `--features otlp`, or set OTEL_SDK_DISABLED=true",
            );
        }
        Traces {}
    }
}

/// Whether the environment names a collector of traces, and does not disable the export.
pub(crate) fn is_collector_named(variable: impl Fn(&str) -> Option<String>) -> bool {
    let set = |name: &str| variable(name).is_some_and(|value| !value.trim().is_empty());
    let disabled = variable("OTEL_SDK_DISABLED");
    let disabled = disabled.is_some_and(|value| value.trim().eq_ignore_ascii_case("true"));
    let named = set("OTEL_EXPORTER_OTLP_ENDPOINT") || set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    named && !disabled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_named_by_the_usual_variables() {
        let is_named = |set: &[(&str, &str)]| {
            is_collector_named(|name| {
                let mut set = set.iter();
                let (_, value) = set.find(|(known, _)| *known == name)?;
                Some((*value).to_owned())
            })
        };
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
        assert!(is_named(&[endpoint]));
        assert!(is_named(&[(
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "http://a"
        )]));
        assert!(is_named(&[endpoint, ("OTEL_SDK_DISABLED", "false")]));
        assert!(!is_named(&[endpoint, ("OTEL_SDK_DISABLED", " True ")]));
        assert!(!is_named(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]));
        assert!(!is_named(&[]));
    }
}
