//! The arguments of `lastword serve`.

use crate::units::Span;
use clap::Args;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

const EXAMPLES: &str = "\
\x1b[1;32mExamples:\x1b[0m
  lastword serve --agent examples/census --root ~/projects
  lastword serve --listen none --exit-when-idle    Only for your own commands, as long as needed
  lastword run census.wasm --server http://127.0.0.1:8020 --workspace ~/projects/a

\x1b[1;32mClients:\x1b[0m
Your own commands reach the server through the socket in the data directory, and may use any \
directory as a workspace. Clients over TCP have to send the token, and may use only directories inside \
a --root; without --root, only workspaces that are names and have no directory.

\x1b[1;32mThe end:\x1b[0m
SIGTERM, SIGHUP or Ctrl-C ends the server in order: it takes nothing new, lets runs go on for --drain, \
then stops them and writes their ends. A second SIGTERM or Ctrl-C leaves at once. Prompts that wait are \
kept and run after the next start, in their workspaces with the same grants. Agents that clients sent \
are kept as well, and are loaded before those of --agent.

\x1b[1;32mSettings:\x1b[0m
Every option can stand in the settings under [serve], the agents as `agents = { NAME = \"PATH\" }`. \
lastword.toml in the current directory may not set whom the server lets in, to which directories, which \
agents it loads or how long streams are kept; your own settings and --config-file may.

\x1b[1;32mExit codes:\x1b[0m
  0    It ended in order
  1    A run's end is left to the next start, or the data directory can no longer be written
  2    It could not start
  130  A second signal ended it";

/// The arguments of `lastword serve`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Serve {
    /// The address to listen on, or `none` for the socket only [default: 127.0.0.1:8020]
    #[arg(short, long, value_name = "ADDRESS")]
    pub(crate) listen: Option<Listen>,
    /// Let in every client that connects over TCP from this machine, without a token
    #[arg(long)]
    pub(crate) no_token: bool,
    /// Let clients over TCP use directories inside this one as workspaces; may be repeated [default:
    /// none]
    #[arg(short, long, value_name = "DIR")]
    pub(crate) root: Vec<PathBuf>,
    /// Accept requests under this host name, in addition to loopback names and the address; may be
    /// repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) allow_host: Vec<String>,
    /// Load an agent: a .wasm file or a crate that is built first; may be repeated
    #[arg(short, long, value_name = "[NAME=]PATH")]
    pub(crate) agent: Vec<NamedAgent>,
    /// The model for agents that are granted `model`: openai:NAME, anthropic:NAME, gemini:NAME,
    /// ollama:NAME, scripted:FILE [default: none]
    #[arg(short, long, value_name = "PROVIDER:NAME")]
    pub(crate) model: Option<String>,
    /// How many runs execute at the same time; others wait [default: 256, or as many as fit into
    /// memory]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) concurrent_runs: Option<u32>,
    /// How many event streams one client may have open at the same time [default: half of the
    /// connections]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) streams: Option<u32>,
    /// How long runs may go on once the server is told to end [default: 0s]
    #[arg(long, value_name = "TIME")]
    pub(crate) drain: Option<Span>,
    /// End by itself after this long without clients, runs and sessions that wait for a time; 30s if
    /// no time is given [default: go on until stopped]
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "30s")]
    pub(crate) exit_when_idle: Option<Span>,
    /// What happens to the runs of a workspace when its last client leaves [default: keep-running]
    #[arg(long, value_name = "WHAT")]
    pub(crate) on_last_client: Option<OnLast>,
    /// Delete the events of runs that ended longer ago than this, such as 30d; messages and receipts
    /// stay [default: never]
    #[arg(long, value_name = "TIME")]
    pub(crate) retention: Option<Span>,
    /// Print a JSON object on stdout once the server is ready
    #[arg(long)]
    pub(crate) json: bool,
}

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum Listen {
    /// On the socket only.
    Nowhere,
    /// On TCP too.
    Tcp(SocketAddr),
}

impl Listen {
    /// Whether other machines can reach it.
    pub(crate) fn is_public(self) -> bool {
        match self {
            Self::Nowhere => false,
            Self::Tcp(address) => !address.ip().to_canonical().is_loopback(),
        }
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self::Nowhere);
        }

        let numeric = match text.strip_prefix("localhost:") {
            Some(port) => format!("127.0.0.1:{port}"),
            None => text.to_owned(),
        };

        let address = numeric.parse().map(Self::Tcp);
        address.map_err(|_| {
            format!(
                "`{text}` is no address to listen on; write `127.0.0.1:8020`, `[::1]:8020` or `none`"
            )
        })
    }
}

impl TryFrom<String> for Listen {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// An agent, and the name under which it is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedAgent {
    pub(crate) name: Option<String>,
    pub(crate) path: PathBuf,
}

impl FromStr for NamedAgent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The first `=` ends the name, so that a path with a `=` needs a name before it.
        let (name, path) = match text.split_once('=') {
            Some((name, path)) => (Some(name.to_owned()), path),
            None => (None, text),
        };

        if path.is_empty() || name.as_deref() == Some("") {
            return Err(format!(
                "`{text}` names no agent; write `census=census.wasm`, or only a path"
            ));
        }

        let path = path.into();
        Ok(Self { name, path })
    }
}

/// What becomes of runs once no client is there any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum OnLast {
    /// They go on.
    KeepRunning,
    /// They are stopped, and waiting prompts are held.
    Cancel,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let public = |text: &str| text.parse().map(Listen::is_public);
        assert_eq!(public("127.0.0.1:0"), Ok(false));
        assert_eq!(public("[::1]:8020"), Ok(false));
        assert_eq!(public("[::ffff:127.0.0.1]:1"), Ok(false));
        assert_eq!(public("localhost:8020"), Ok(false));
        assert_eq!(public("0.0.0.0:8020"), Ok(true));
        assert_eq!(public("none"), Ok(false));
        for text in ["", "8020", "example.org:1", "127.0.0.1", "localhost:"] {
            assert!(public(text).is_err(), "{text}");
        }
    }

    #[test]
    fn agents_are_read() {
        let read = |text: &str| text.parse::<NamedAgent>();
        let named = read("a=b=c.wasm").unwrap();
        assert_eq!(
            (named.name.as_deref(), named.path),
            (Some("a"), "b=c.wasm".into())
        );
        assert_eq!(read("c.wasm").unwrap().name, None);
        assert!(read("a=").is_err() && read("=a").is_err() && read("").is_err());
    }
}
