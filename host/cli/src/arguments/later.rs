//! The arguments of the commands about existing sessions: follow, cancel, queue, resume, rename,
//! delete, export, doctor, backup.

use clap::{Args, ValueEnum};
use std::path::PathBuf;

const FOLLOW: &str = "\
Of a session, the run that is under way is printed, or else the first that waits, or else the last \
one. Ctrl-C leaves without stopping the run; `lastword cancel` stops it. The exit code is that of \
`lastword run`.

\x1b[1;32mExamples:\x1b[0m
  lastword follow
  lastword follow 01990b6e-7c1d --json";

/// The arguments of `lastword follow`.
#[derive(Debug, Args)]
#[command(after_help = FOLLOW)]
pub(crate) struct Follow {
    /// The id of a run or a session, a unique beginning of it, or `latest` for the newest session
    #[arg(value_name = "RUN|SESSION", default_value = "latest")]
    pub(crate) what: String,
    /// Print the run's events as they are logged, one JSON object per line
    #[arg(long)]
    pub(crate) json: bool,
    /// Print the agent's output exactly as it is [default: control characters are escaped, as \u{1b}]
    #[arg(long, conflicts_with = "json")]
    pub(crate) raw: bool,
}

const CANCEL: &str = "\
Of a session, the run that is under way is stopped, every prompt that waits is withdrawn, and no time \
or answer continues the session. Prints the end of each run once it is on disk; the exit code is 1 if \
an end is not on disk in time.

\x1b[1;32mExamples:\x1b[0m
  lastword cancel latest
  lastword cancel 01990b6e-7c1d --json | jq -r .cause";

/// The arguments of `lastword cancel`.
#[derive(Debug, Args)]
#[command(after_help = CANCEL)]
pub(crate) struct Cancel {
    /// The id of a run or a session, a unique beginning of it, or `latest` for the newest session
    #[arg(value_name = "RUN|SESSION")]
    pub(crate) what: String,
    /// Print each receipt as one JSON object per line
    #[arg(long)]
    pub(crate) json: bool,
}

const QUEUE: &str = "\
Lists the prompts in the order in which they will run, unless one of them is changed. A prompt that \
has begun can no longer be changed; `lastword cancel` stops it.

\x1b[1;32mExamples:\x1b[0m
  lastword queue latest
  lastword queue latest --edit 01990b6e-7c1d \"Only the folder src.\"
  lastword queue latest --withdraw 01990b6e-7c1d";

/// The arguments of `lastword queue`.
#[derive(Debug, Args)]
#[command(after_help = QUEUE)]
pub(crate) struct Queue {
    /// A session's id, a unique beginning of it, or `latest`
    #[arg(value_name = "SESSION", default_value = "latest")]
    pub(crate) session: String,
    /// Replace the text of a waiting prompt, named by its run's id or a unique beginning of it; the
    /// attached files stay
    #[arg(long, num_args = 2, value_names = ["RUN", "TEXT"], conflicts_with = "withdraw")]
    pub(crate) edit: Vec<String>,
    /// Withdraw a waiting prompt, named by its run's id or a unique beginning of it
    #[arg(long, value_name = "RUN")]
    pub(crate) withdraw: Option<String>,
    /// Print one JSON object per line
    #[arg(long)]
    pub(crate) json: bool,
}

const RESUME: &str = "\
Of a session, all held prompts are continued, or else the last run if it ended early. A held prompt \
(one that had not begun when its host or workspace closed) runs as it was asked. A run that was \
interrupted, cancelled or failed is asked again in a new run, which sees everything that was said.

The options of this command decide what these runs may do, and replace what the workspace was opened \
with before: give --workspace, --model and --allow again. A host of this command does not know the \
agent: name it with --agent. A running host may have it loaded, and has a model of its own: --model is \
refused there, and `--allow model` lets the agent ask that one.

\x1b[1;32mExamples:\x1b[0m
  lastword resume latest --agent census.wasm --workspace .
  lastword resume 01990b6e-7c1d --agent assistant.wasm --model openai:gpt-5-mini";

/// The arguments of `lastword resume`.
#[derive(Debug, Args)]
#[command(after_help = RESUME)]
pub(crate) struct Resume {
    /// The id of a run or a session, a unique beginning of it, or `latest` for the newest session
    #[arg(value_name = "RUN|SESSION", default_value = "latest")]
    pub(crate) what: String,
    /// The agent: a .wasm file, or the folder of a crate [default: the one that the host has loaded]
    #[arg(long, value_name = "AGENT")]
    pub(crate) agent: Option<PathBuf>,
    /// Let the agent read this directory, which must be the session's own, as /workspace
    #[arg(short, long, value_name = "DIR", help_heading = "Grants")]
    pub(crate) workspace: Option<PathBuf>,
    /// Let the agent ask this model, such as openai:NAME or ollama:NAME
    #[arg(short, long, value_name = "PROVIDER:NAME", help_heading = "Grants")]
    pub(crate) model: Option<String>,
    #[command(flatten)]
    pub(crate) permissions: super::Permissions,
    /// Print the run's events as they are logged, one JSON object per line
    #[arg(long)]
    pub(crate) json: bool,
    /// Print the agent's output exactly as it is [default: control characters are escaped, as \u{1b}]
    #[arg(long, conflicts_with = "json")]
    pub(crate) raw: bool,
}

const RENAME: &str = "\
\x1b[1;32mExamples:\x1b[0m
  lastword rename latest \"Where the time goes\"";

/// The arguments of `lastword rename`.
#[derive(Debug, Args)]
#[command(after_help = RENAME)]
pub(crate) struct Rename {
    /// A session's id, a unique beginning of it, or `latest`
    #[arg(value_name = "SESSION")]
    pub(crate) session: String,
    /// The new title, of 1 to 200 characters
    #[arg(value_name = "TITLE")]
    pub(crate) title: String,
}

const DELETE: &str = "\
Its runs are stopped first. Messages, events and attached files are deleted for good; `lastword \
export` prints them before.

\x1b[1;32mExamples:\x1b[0m
  lastword delete 01990b6e-7c1d";

/// The arguments of `lastword delete`.
#[derive(Debug, Args)]
#[command(after_help = DELETE)]
pub(crate) struct Delete {
    /// A session's id, or a unique beginning of it; `latest` is refused, since it may change
    #[arg(value_name = "SESSION")]
    pub(crate) session: String,
}

const EXPORT: &str = "\
Works beside a running host.

\x1b[1;32mExamples:\x1b[0m
  lastword export latest > session.md
  lastword export 01990b6e-7c1d --format json | jq -r '.runs[].receipt.cause'";

/// The arguments of `lastword export`.
#[derive(Debug, Args)]
#[command(after_help = EXPORT)]
pub(crate) struct Export {
    /// A session's id, a unique beginning of it, or `latest`
    #[arg(value_name = "SESSION", default_value = "latest")]
    pub(crate) session: String,
    /// The format of the output
    #[arg(short, long, value_name = "FORMAT", default_value = "md")]
    pub(crate) format: Format,
    /// Print Markdown exactly as it is [default: control characters are escaped, as \u{1b}]
    #[arg(long)]
    pub(crate) raw: bool,
}

const DOCTOR: &str = "\
Reads every row as a host does, compares stored files with their digests and messages with the log, \
and lets SQLite check its file. Says what cannot be read, where it is, what is lost by it, and how to \
save the rest. Changes nothing, and works beside a running host. The exit code is 1 if anything is \
damaged.

\x1b[1;32mExamples:\x1b[0m
  lastword doctor
  lastword doctor --data-dir /var/lib/lastword --json";

/// The arguments of `lastword doctor`.
#[derive(Debug, Args)]
#[command(after_help = DOCTOR)]
pub(crate) struct Doctor {
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// The arguments of `lastword backup`.
#[derive(Debug, Args)]
#[command(after_help = BACKUP)]
pub(crate) struct Backup {
    /// The file to create; a file that exists is not replaced
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

const BACKUP: &str = "\
Copies the database as it is at that moment; a running host goes on meanwhile. Only you can read the \
copy, which is checked before the command ends. To restore it, stop the host and put the file into an \
empty data directory:

  mv ~/.local/share/lastword ~/lastword.old
  mkdir -m 700 ~/.local/share/lastword
  cp FILE ~/.local/share/lastword/lastword.db

Never copy it over a database whose lastword.db-wal is still beside it: the next start would write its \
content into the copy. The token, the tokens of MCP servers and compiled agents are other files in the \
data directory, and not in the copy.

\x1b[1;32mExamples:\x1b[0m
  lastword backup ~/lastword-$(date +%F).db";

/// How a session is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Markdown, for people.
    Md,
    /// JSON, for programs.
    Json,
}
