//! The arguments of `lastword mcp`.

use clap::{Args, Subcommand};

const EXAMPLES: &str = "\
\x1b[1;32mExamples:\x1b[0m
  lastword mcp                      How each server of [mcp] stands
  lastword mcp login tracker        Consent in a browser; the tokens are kept for all hosts
  lastword mcp logout tracker

Tokens are in `mcp-tokens` of the data directory, in files that only you can read. A host that
runs uses what is there: it need not be started again.";

/// List the MCP servers of the settings, or log in at one that asks for a person's consent.
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
    /// Consent in a browser to what the server asks for, and keep its tokens
    Login {
        /// A server's name: NAME of [mcp.NAME]
        #[arg(value_name = "NAME")]
        server: String,
        /// The port of this machine that the browser is sent back to [default: a free one]
        #[arg(
            long,
            value_name = "PORT",
            default_value_t = 0,
            hide_default_value = true
        )]
        port: u16,
    },
    /// Forget the tokens of a server
    Logout {
        /// A server's name: NAME of [mcp.NAME]
        #[arg(value_name = "NAME")]
        server: String,
    },
}
