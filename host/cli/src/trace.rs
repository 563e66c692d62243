//! Log lines of the host and of agents, on standard error. Knows only how loud they are.

use crate::terminal::Terminal;
use tracing_subscriber::EnvFilter;

const QUIET: &str = "warn,lastword::agent=off,genai=off";
const VERBOSE: &str = "warn,lastword=debug,lastword::agent=trace";

/// Starts to show log lines: the host's warnings, or all that concerns runs and
/// what agents log; `RUST_LOG` wins over both.
pub(crate) fn start(verbose: bool, terminal: &Terminal) {
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
    tracing_subscriber::fmt()
        .compact()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(terminal.err.is_coloured())
        .without_time()
        .init();
}
