//! The arguments of `lastword mcp`.

use clap::{Args, Subcommand};

const EXAMPLES: &str = "\
\x1b[1;32mExamples:\x1b[0m
  lastword mcp                      The state of each server under [mcp] of the settings
  lastword mcp login tracker        Consent in a browser; waits for five minutes
  lastword mcp logout tracker

The tokens of a login are in `mcp-tokens` of the data directory, in files that only you can read. A \
running host uses them from then on, without a restart.";

/// The arguments of `lastword mcp`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Mcp {
    #[command(subcommand)]
    pub(crate) what: Option<OfMcp>,
    /// Print one JSON object per line
    #[arg(long)]
    pub(crate) json: bool,
}

/// What to do with a server.
#[derive(Debug, Subcommand)]
pub(crate) enum OfMcp {
    /// Consent in a browser to what a server asks for, and store its tokens
    Login {
        /// A server's name: NAME of [mcp.NAME]
        #[arg(value_name = "NAME")]
        server: String,
        /// The local port to which the browser returns, for servers that allow only a registered
        /// address [default: a free one]
        #[arg(
            long,
            value_name = "PORT",
            default_value_t = 0,
            hide_default_value = true
        )]
        port: u16,
    },
    /// Delete the tokens of a server
    Logout {
        /// A server's name: NAME of [mcp.NAME]
        #[arg(value_name = "NAME")]
        server: String,
    },
}
