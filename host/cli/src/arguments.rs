//! The arguments of the command line, and their help.

mod later;
mod manual;
mod mcp;
mod permissions;
mod serve;

pub(crate) use later::{
    Backup, Cancel, Delete, Doctor, Export, Follow, Format, Queue, Rename, Resume,
};
pub(crate) use manual::{Completions, Man};
pub(crate) use mcp::{Mcp, OfMcp};
pub(crate) use permissions::{
    Answer, Budget, Grants, ListGrants, OfGrants, Permissions, Questions, Word,
};
pub(crate) use serve::{Listen, NamedAgent, OnLast, Serve};

use crate::units::{Deadline, Memory, Span};
use clap::builder::Styles;
use clap::builder::styling::{AnsiColor, Effects};
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().effects(Effects::BOLD))
    .usage(AnsiColor::Green.on_default().effects(Effects::BOLD))
    .literal(AnsiColor::Cyan.on_default().effects(Effects::BOLD))
    .placeholder(AnsiColor::Cyan.on_default());

const EXAMPLES: &str = "\
\x1b[1;32mExamples:\x1b[0m
  lastword run examples/census --workspace .       Build a crate's agent and run it here
  lastword run census.wasm \"What is in here?\" --workspace ~/notes
  lastword check census.wasm                       What does it want? Runs nothing
  lastword sessions                                What was said before
  lastword show latest                             The last conversation, with receipts
  lastword follow 01990b6e-7c1d                    What a run says, from its beginning to its end
  lastword serve --agent census=census.wasm        Keep a host running for others

Commands reach each other: while one owns the data directory, the others go through it.

\x1b[1;32mExit codes:\x1b[0m
  0    completed
  1    the run failed or was interrupted, or the output could not be written; of `doctor`,
       something is damaged
  2    wrong usage or bad input, or no server answers; nothing was run
  3    the agent requires a capability that is not granted; nothing was run
  130  the run was stopped: Ctrl-C, a signal, its deadline, or a reader that went away";

const RUN_EXAMPLES: &str = "\
\x1b[1;32mExamples:\x1b[0m
  lastword run examples/census --workspace .
  lastword run assistant.wasm \"Why is the sky blue?\" --model ollama:llama3.2
  git diff | lastword run reviewer.wasm - --model openai:gpt-5-mini
  lastword run assistant.wasm \"What is odd here?\" --attach plot.png --model openai:gpt-5-mini
  lastword run assistant.wasm \"Go on.\" --session 01990b6e-7c1d
  lastword run assistant \"Hello?\" --server http://127.0.0.1:8020      One that the server has
  lastword run census.wasm --workspace . --json | jq -r 'select(.type == \"text.delta\").text'

Nothing is allowed that is not granted: --workspace grants reading that directory, --model grants
asking that model, and --allow grants the rest. What no rule decides is asked at the terminal, or
with --ask from another one (`lastword questions`, `lastword answer`); else it is denied. --deny
stands before everything. Rules can stand in the settings under [permissions], as `allow` and `deny`
with `ask`; lastword.toml in the current directory may only deny.

Ctrl-C stops the run and keeps every word that was said, also while the output is held or its reader
takes nothing; the command then leaves a second later. SIGTERM and a closed terminal (SIGHUP, unless
under nohup) end the host in order. A second Ctrl-C or SIGTERM leaves at once; the next start then
writes the run's end.

What does not show, or reorders what does, is written as \\u{202e} in questions, rules, diffs and
names; rules may be given so, too: --allow 'write-files=a\\u{202e}b'.

While another command or `lastword serve` owns the data directory, or with --server, the run
belongs to that host: the agent is loaded there under its name (in the place of another one of
that name, for later runs), and losing the connection does not end the run. The model, --memory
and --grace are then that host's to decide.";

/// Run sandboxed agents whose last word is always on disk.
#[derive(Debug, Parser)]
#[command(
    name = "lastword",
    version,
    styles = STYLES,
    after_help = EXAMPLES,
    max_term_width = 100
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) shared: Shared,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run an agent: a .wasm file, or a crate that is built first
    Run(Box<Run>),
    /// Say what an agent is and wants, without running it; a crate is built first
    Check(Check),
    /// List the sessions, newest first
    Sessions(Sessions),
    /// Print a conversation with the end of each run
    Show(Show),
    /// List the runs, newest first
    Runs(Runs),
    /// Print what a run said and says, until it ends
    Follow(Follow),
    /// List the agents that a host has
    Agents(Agents),
    /// Own the data directory and answer other programs, until it is stopped
    Serve(Box<Serve>),
    /// Stop a run, or all that a session does
    Cancel(Cancel),
    /// List, change or take back the prompts that wait in a session
    Queue(Queue),
    /// List what agents ask people, or show one question whole
    Questions(Questions),
    /// Answer a question that an agent asks
    Answer(Answer),
    /// List what answers have granted, or take it back
    Grants(Grants),
    /// List the MCP servers of the settings, or log in at one
    Mcp(Mcp),
    /// Go on with prompts that are held, or with a run that ended early
    Resume(Box<Resume>),
    /// Give a session another title
    Rename(Rename),
    /// Delete a session with all that was said
    Delete(Delete),
    /// Write a session down, as Markdown or JSON
    Export(Export),
    /// Copy all sessions into one file, also while a host is at work
    Backup(Backup),
    /// Look for damage in what is kept, and say what is lost by it
    Doctor(Doctor),
    /// Print a script that completes commands and options in a shell
    Completions(Completions),
    /// Write the manual pages into a folder
    Man(Man),
}

/// What every command takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct Shared {
    /// Where sessions are kept [default: $XDG_DATA_HOME/lastword or ~/.local/share/lastword]
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "LASTWORD_DATA_DIR",
        hide_env_values = true,
        help_heading = "Everywhere"
    )]
    pub(crate) data_dir: Option<PathBuf>,
    /// Where compiled agents are kept [default: `cache` in the data directory]
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "LASTWORD_CACHE_DIR",
        hide_env_values = true,
        help_heading = "Everywhere"
    )]
    pub(crate) cache_dir: Option<PathBuf>,
    /// Settings over your own, which are in $XDG_CONFIG_HOME/lastword/config.toml or
    /// ~/.config/lastword/config.toml [default: lastword.toml in the current directory]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Everywhere")]
    pub(crate) config_file: Option<PathBuf>,
    /// Go through the lastword server at this address [default: the owner of the data directory]
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "LASTWORD_SERVER",
        hide_env_values = true,
        help_heading = "Everywhere"
    )]
    pub(crate) server: Option<String>,
    /// The file with a server's token, over LASTWORD_TOKEN [default: `token` in the data directory]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Everywhere")]
    pub(crate) token_file: Option<PathBuf>,
    /// Show agents' log lines and the host's own on stderr; RUST_LOG chooses more finely
    #[arg(short, long, global = true, help_heading = "Everywhere")]
    pub(crate) verbose: bool,
    /// Print plain text; so does NO_COLOR
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub(crate) no_color: bool,
}

/// Run an agent and stream what it says. A folder with a Cargo.toml is built first.
#[derive(Clone, Debug, Args)]
#[command(after_help = RUN_EXAMPLES)]
pub(crate) struct Run {
    /// A .wasm file, the folder of a crate, or the name of an agent that the host has
    #[arg(value_name = "AGENT")]
    pub(crate) agent: PathBuf,
    /// What to ask; `-` reads stdin [default: the agent's own prompt]
    #[arg(value_name = "PROMPT")]
    pub(crate) prompt: Option<String>,
    /// Send a file with the prompt, such as an image; can be given several times
    #[arg(long, value_name = "FILE")]
    pub(crate) attach: Vec<PathBuf>,
    /// Let the agent read this directory, as /workspace
    #[arg(short, long, value_name = "DIR", help_heading = "Grants")]
    pub(crate) workspace: Option<PathBuf>,
    /// Let the agent ask this model: openai:NAME, anthropic:NAME, gemini:NAME, ollama:NAME, scripted:FILE
    #[arg(short, long, value_name = "PROVIDER:NAME", help_heading = "Grants")]
    pub(crate) model: Option<String>,
    #[command(flatten)]
    pub(crate) permissions: Permissions,
    /// Go on with a session: its id, the unique beginning of one, or `latest`
    #[arg(short, long, value_name = "ID")]
    pub(crate) session: Option<String>,
    /// The name that sessions know the agent by [default: the package's or the file's]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// The agent's configuration for this run
    #[arg(long, value_name = "JSON|@FILE")]
    pub(crate) config: Option<String>,
    /// Name this request: with the same key and --session again, nothing is started anew
    #[arg(long, requires = "session")]
    pub(crate) key: Option<String>,
    /// Stop the run after this long: 30s, 5m, none [default: 30m]
    #[arg(long, value_name = "TIME", help_heading = "Limits")]
    pub(crate) deadline: Option<Deadline>,
    /// Let a stopped agent bring its work to an end for this long [default: 0s]
    #[arg(long, value_name = "TIME", help_heading = "Limits")]
    pub(crate) grace: Option<Span>,
    /// The most memory that the agent may use [default: 128MiB]
    #[arg(long, value_name = "SIZE", help_heading = "Limits")]
    pub(crate) memory: Option<Memory>,
    #[command(flatten)]
    pub(crate) budget: Budget,
    /// Print the run's events as they are logged, one JSON object per line
    #[arg(long)]
    pub(crate) json: bool,
    /// Print an agent's words as they are, with what a terminal would obey; else it is escaped
    #[arg(long, conflicts_with = "json")]
    pub(crate) raw: bool,
    /// Keep everything in memory: nothing of the run is stored, and no other command finds it
    #[arg(long, conflicts_with_all = ["session", "detach"])]
    pub(crate) ephemeral: bool,
    /// Leave once the prompt is durable, and print the run's id; needs a host that goes on
    #[arg(short, long)]
    pub(crate) detach: bool,
}

/// Say what an agent is and wants, without running it.
///
/// A crate is built first: its build scripts and macros, and those of what it depends on, run with
/// your rights, outside of any sandbox, with the variables that compilers need and none of your keys.
/// To run nothing at all, name a .wasm file.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// A .wasm file, or the folder of a crate
    #[arg(value_name = "AGENT")]
    pub(crate) agent: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// List the sessions, newest first. Works beside a host that is running.
#[derive(Debug, Args)]
pub(crate) struct Sessions {
    /// Only those of this directory
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workspace: Option<PathBuf>,
    /// At most this many
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    pub(crate) limit: usize,
    /// Print one JSON object per line
    #[arg(long)]
    pub(crate) json: bool,
}

/// List the runs, newest first. Works beside a host that is running.
#[derive(Debug, Args)]
pub(crate) struct Runs {
    /// Only those of a session: its id, the unique beginning of one, or `latest`
    #[arg(short, long, value_name = "ID")]
    pub(crate) session: Option<String>,
    /// At most this many
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    pub(crate) limit: usize,
    /// Print one JSON object per line
    #[arg(long)]
    pub(crate) json: bool,
}

/// List the agents that a host has: the server that is named, or the data directory's owner. `lastword
/// run NAME` runs one of them there.
#[derive(Debug, Args)]
pub(crate) struct Agents {
    /// Print one JSON object per line
    #[arg(long)]
    pub(crate) json: bool,
}

/// Print a conversation with the end of each run. Works beside a host that is running.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// A session's id, the unique beginning of one, or `latest`
    #[arg(value_name = "SESSION", default_value = "latest")]
    pub(crate) session: String,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    /// Print an agent's words as they are, with what a terminal would obey; else it is escaped
    #[arg(long, conflicts_with = "json")]
    pub(crate) raw: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_grammar_is_sound() {
        Arguments::command().debug_assert();
    }
}
