//! The arguments of the commands about existing sessions: follow, cancel, queue, resume, rename,
//! delete, export, doctor, backup.

use clap::{Args, ValueEnum};
use std::path::PathBuf;

const FOLLOW: &str = "\
Of a session: the run that goes on, else the first that waits, else the last one. Ctrl-C leaves the
run alone; `lastword cancel` stops it. The exit code is that of `lastword run`.";

/// Print what a run said from its beginning, and what it says until it ends.
#[derive(Debug, Args)]
#[command(after_help = FOLLOW)]
pub(crate) struct Follow {
    /// The id of a run or a session, the unique beginning of one, or `latest` (a session)
    #[arg(value_name = "RUN|SESSION", default_value = "latest")]
    pub(crate) what: String,
    /// Print the run's events as they are logged, one JSON object per line
    #[arg(long)]
    pub(crate) json: bool,
    /// Print an agent's words as they are, with what a terminal would obey; else it is escaped
    #[arg(long, conflicts_with = "json")]
    pub(crate) raw: bool,
}

/// Stop a run, or all that a session does: the run that goes on, every prompt that waits, and the
/// time or answer that it waits for.
#[derive(Debug, Args)]
pub(crate) struct Cancel {
    /// The id of a run or a session, the unique beginning of one, or `latest` (a session)
    #[arg(value_name = "RUN|SESSION")]
    pub(crate) what: String,
    /// Print one receipt per line, as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// List the prompts that wait in a session, in their order, or change one of them.
#[derive(Debug, Args)]
pub(crate) struct Queue {
    /// A session's id, the unique beginning of one, or `latest`
    #[arg(value_name = "SESSION", default_value = "latest")]
    pub(crate) session: String,
    /// Ask something else with a prompt that waits, by its id or the unique beginning of one; what
    /// is attached to it stays
    #[arg(long, num_args = 2, value_names = ["RUN", "TEXT"], conflicts_with = "withdraw")]
    pub(crate) edit: Vec<String>,
    /// Take a prompt back that waits, by its id or the unique beginning of one
    #[arg(long, value_name = "RUN")]
    pub(crate) withdraw: Option<String>,
    /// Print one JSON object per line
    #[arg(long)]
    pub(crate) json: bool,
}

const RESUME: &str = "\
Of a session: the prompts that are held, or else the last run if it ended early. A held prompt runs
as it was asked; a run that was interrupted, cancelled or failed is asked again in a new run, which
has all that was said in its history.

Grants are not stored, so they are given again: --workspace DIR for reading it, --model or
--allow. Where nobody owns the data directory, name the agent with --agent; a running host may have
it loaded.";

/// Go on with prompts that are held, or with a run that ended early.
#[derive(Debug, Args)]
#[command(after_help = RESUME)]
pub(crate) struct Resume {
    /// The id of a run or a session, the unique beginning of one, or `latest` (a session)
    #[arg(value_name = "RUN|SESSION", default_value = "latest")]
    pub(crate) what: String,
    /// The agent: a .wasm file, or the folder of a crate
    #[arg(long, value_name = "AGENT")]
    pub(crate) agent: Option<PathBuf>,
    /// Let the agent read the session's directory, as /workspace
    #[arg(short, long, value_name = "DIR", help_heading = "Grants")]
    pub(crate) workspace: Option<PathBuf>,
    /// Let the agent ask this model
    #[arg(short, long, value_name = "PROVIDER:NAME", help_heading = "Grants")]
    pub(crate) model: Option<String>,
    #[command(flatten)]
    pub(crate) permissions: super::Permissions,
    /// Print the run's events as they are logged, one JSON object per line
    #[arg(long)]
    pub(crate) json: bool,
    /// Print an agent's words as they are, with what a terminal would obey; else it is escaped
    #[arg(long, conflicts_with = "json")]
    pub(crate) raw: bool,
}

/// Give a session another title.
#[derive(Debug, Args)]
pub(crate) struct Rename {
    /// A session's id, the unique beginning of one, or `latest`
    #[arg(value_name = "SESSION")]
    pub(crate) session: String,
    /// The title
    #[arg(value_name = "TITLE")]
    pub(crate) title: String,
}

/// Delete a session with all that was said. Its runs are ended first; nothing of it is left.
#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// A session's id, or the unique beginning of one
    #[arg(value_name = "SESSION")]
    pub(crate) session: String,
}

/// Write a session down, with all that was said.
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// A session's id, the unique beginning of one, or `latest`
    #[arg(value_name = "SESSION", default_value = "latest")]
    pub(crate) session: String,
    /// For people or for programs
    #[arg(short, long, value_name = "FORMAT", default_value = "md")]
    pub(crate) format: Format,
    /// Write what was said as it is, with what a terminal would obey; else Markdown has it escaped
    #[arg(long)]
    pub(crate) raw: bool,
}

const DOCTOR: &str = "\
Every row is read as a host reads it, bytes are held against their digests and messages against the
log, and SQLite checks its file. Nothing is changed. The exit code is 0 if nothing is damaged, else 1.";

/// Look for damage in what is kept: what cannot be read, where, what is lost by it, and how to save
/// the rest. Works beside a host that is running.
#[derive(Debug, Args)]
#[command(after_help = DOCTOR)]
pub(crate) struct Doctor {
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Copy the database into a new file that only you can read: all sessions, as they are at that
/// moment. A host that is at work goes on meanwhile.
#[derive(Debug, Args)]
#[command(after_help = BACKUP)]
pub(crate) struct Backup {
    /// The file to make
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

const BACKUP: &str = "\
To restore, stop the host and put the file into an empty data directory:

  mv ~/.local/share/lastword ~/lastword.old
  mkdir -m 700 ~/.local/share/lastword
  cp FILE ~/.local/share/lastword/lastword.db

Never copy it over a database whose lastword.db-wal is still beside it: what is in there would be
written into the copy. The token, tokens of MCP servers and compiled agents are files of their own in
the data directory.";

/// How a session is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Markdown, for people.
    Md,
    /// JSON, for programs.
    Json,
}
