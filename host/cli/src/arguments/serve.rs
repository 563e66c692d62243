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
  lastword serve --listen none --exit-when-idle    Only for commands of this user
  lastword run census.wasm --server http://127.0.0.1:8020 --workspace ~/projects/a

Over the socket in the data directory answers this user's own commands, who may name any directory
as a workspace. Over TCP answers whoever sends the token, and only directories inside of a --root
may become workspaces: without one, there are none but names.

SIGTERM, SIGHUP or Ctrl-C ends the host in order: nothing new is taken, what runs may go on for
--drain, is then stopped and its end written. A second SIGTERM or Ctrl-C leaves at once. What waits is
held, and goes on at the next start, in its workspace as it was opened last, with the same grants. Agents that clients
sent are kept, and loaded again before those of --agent.

Every option can stand in lastword.toml under [serve], the agents as `agents = { NAME = \"PATH\" }`.
The one in the current directory may not say who is let in, to what, which agents there are and how
long streams are kept; one that is named with --config-file may.

\x1b[1;32mExit codes:\x1b[0m
  0    it ended in order
  1    a run's end is left to the next start
  2    it could not start
  130  a second signal ended it";

/// Own the data directory and answer other programs, until it is stopped.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Serve {
    /// The address to listen on, or `none` for the socket only [default: 127.0.0.1:8020]
    #[arg(short, long, value_name = "ADDRESS")]
    pub(crate) listen: Option<Listen>,
    /// Let in every client that connects over TCP from this machine, without a token
    #[arg(long)]
    pub(crate) no_token: bool,
    /// Let directories inside of this one become workspaces over TCP; may be repeated
    #[arg(short, long, value_name = "DIR")]
    pub(crate) root: Vec<PathBuf>,
    /// Answer under this host name too; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) allow_host: Vec<String>,
    /// Load an agent: a .wasm file or a crate that is built first; may be repeated
    #[arg(short, long, value_name = "[NAME=]PATH")]
    pub(crate) agent: Vec<NamedAgent>,
    /// The model of agents that may ask one: openai:NAME, anthropic:NAME, gemini:NAME, ollama:NAME, scripted:FILE
    #[arg(short, long, value_name = "PROVIDER:NAME")]
    pub(crate) model: Option<String>,
    /// Runs at the same time; the others wait [default: 256, or as many as fit into memory]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) concurrent_runs: Option<u32>,
    /// Event streams that one client may have open at the same time [default: half of the connections]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) streams: Option<u32>,
    /// How long runs may go on once the host ends [default: 0s]
    #[arg(long, value_name = "TIME")]
    pub(crate) drain: Option<Span>,
    /// End once nothing was claimed, nothing ran and no session waited for a time, for this long [default: 30s]
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "30s")]
    pub(crate) exit_when_idle: Option<Span>,
    /// What becomes of runs once no client is there any more [default: keep-running]
    #[arg(long, value_name = "WHAT")]
    pub(crate) on_last_client: Option<OnLast>,
    /// Fold what an ended run streamed into its messages after this long [default: never]
    #[arg(long, value_name = "TIME")]
    pub(crate) retention: Option<Span>,
    /// Say that it is ready with a JSON object on stdout
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
    /// They are stopped, and what waits is held.
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
