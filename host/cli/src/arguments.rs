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

// Each paragraph is one line, which is wrapped to the width of the terminal.
const EXAMPLES: &str = "\
\x1b[1;32mExamples:\x1b[0m
  lastword run examples/census --workspace .       Build a crate's agent and run it here
  lastword run census.wasm \"What is in here?\" --workspace ~/notes
  lastword check census.wasm                       What the agent asks for; does not run it
  lastword sessions                                The conversations so far
  lastword show latest                             The last conversation, and how each run ended
  lastword follow 01990b6e-7c1d                    A run's output, from its beginning to its end
  lastword serve --agent census=census.wasm        Keep a host running for other commands

One command at a time owns the data directory; while it runs, the others go through it.

\x1b[1;32mExit codes:\x1b[0m
  0    The run completed, or the command did what was asked
  1    The run failed or was interrupted, the output could not be written, the connection to the
       host was lost, or `doctor` found damage
  2    Wrong usage or bad input, or no server answers; nothing was run
  3    A capability that the agent requires is not granted, or the server does not allow what was
       asked; nothing was run
  130  The run was stopped by Ctrl-C, a signal or its deadline, or because its reader went away";

const RUN_EXAMPLES: &str = "\
\x1b[1;32mExamples:\x1b[0m
  lastword run examples/census --workspace .
  lastword run assistant.wasm \"Why is the sky blue?\" --model ollama:llama3.2
  git diff | lastword run reviewer.wasm - --model openai:gpt-5-mini
  lastword run assistant.wasm \"What is odd here?\" --attach plot.png --model openai:gpt-5-mini
  lastword run assistant.wasm \"Go on.\" --session 01990b6e-7c1d
  lastword run workbench.wasm \"Mend the typos.\" -w . -m openai:gpt-5-mini -a 'write-files=docs/**'
  lastword run assistant \"Hello?\" --server http://127.0.0.1:8020      An agent that the server has
  lastword run census.wasm --workspace . --json | jq -r 'select(.type == \"text.delta\").text'

\x1b[1;32mPermissions:\x1b[0m
Nothing is allowed that is not granted. --workspace grants reading that directory, --model grants \
asking that model, and --allow grants the rest; --deny takes precedence over all of them. If no \
rule decides, you are asked at the terminal, or with --ask from another one (`lastword questions`, \
`lastword answer`); otherwise the access is denied. Rules can also stand in the settings, as `allow`, \
`deny` and `ask` under [permissions]; in lastword.toml of the current directory only `deny`. \
Characters that are invisible or reorder text are shown as \\u{202e} in questions, rules, diffs and \
names; rules may contain them in that form: --allow 'write-files=a\\u{202e}b'.

\x1b[1;32mStopping:\x1b[0m
Ctrl-C stops the run, and everything that it said is kept. If the output is blocked, the command \
leaves a second after the run's end. SIGTERM and closing the terminal (SIGHUP, unless under nohup) \
end the host of this command in order. A second Ctrl-C or SIGTERM leaves at once; the next start then \
writes the run's end.

\x1b[1;32mAt another host:\x1b[0m
While another command or `lastword serve` owns the data directory, or with --server, the run takes \
place at that host, and losing the connection does not end it. The agent is loaded there under its \
name, in place of an earlier one of that name. The model, --memory, --grace, the --max options and \
`--deadline none` are that host's to decide, and are refused here.";

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
    /// Describe an agent and what it asks for, without running it; a crate is built first
    Check(Check),
    /// List the sessions, newest first
    Sessions(Sessions),
    /// Print a conversation, and how each run ended
    Show(Show),
    /// List the runs, newest first
    Runs(Runs),
    /// Print a run's output from its beginning until the run ends
    Follow(Follow),
    /// List the agents that a running host has loaded
    Agents(Agents),
    /// Keep a host running for other commands and programs, until it is stopped
    Serve(Box<Serve>),
    /// Stop a run, or everything that a session does
    Cancel(Cancel),
    /// List, change or withdraw the prompts that wait in a session
    Queue(Queue),
    /// List the open questions of agents, or show one in full
    Questions(Questions),
    /// Answer a question of an agent
    Answer(Answer),
    /// List or revoke what answers granted for longer than once
    Grants(Grants),
    /// List the MCP servers of the settings, or log in to one
    Mcp(Mcp),
    /// Continue held prompts, or a run that ended early
    Resume(Box<Resume>),
    /// Give a session another title
    Rename(Rename),
    /// Delete a session with all that was said
    Delete(Delete),
    /// Print a session as Markdown or JSON
    Export(Export),
    /// Copy all sessions into one file, also while a host is running
    Backup(Backup),
    /// Look for damage in the data directory, and say what is lost by it
    Doctor(Doctor),
    /// Print a script for a shell that completes commands and options
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
    /// A settings file that takes precedence over your own ($XDG_CONFIG_HOME/lastword/config.toml or
    /// ~/.config/lastword/config.toml) [default: lastword.toml in the current directory]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Everywhere")]
    pub(crate) config_file: Option<PathBuf>,
    /// The address of a lastword server to use, such as http://127.0.0.1:8020 [default: the owner of
    /// the data directory]
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "LASTWORD_SERVER",
        hide_env_values = true,
        help_heading = "Everywhere"
    )]
    pub(crate) server: Option<String>,
    /// The file with the server's token; takes precedence over LASTWORD_TOKEN [default: `token` in
    /// the data directory]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Everywhere")]
    pub(crate) token_file: Option<PathBuf>,
    /// Show the log lines of agents and of the host on stderr, and all figures of receipts; RUST_LOG
    /// selects log lines more finely
    #[arg(short, long, global = true, help_heading = "Everywhere")]
    pub(crate) verbose: bool,
    /// Print without colors; the variable NO_COLOR does the same
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub(crate) no_color: bool,
}

/// The arguments of `lastword run`.
#[derive(Clone, Debug, Args)]
#[command(after_help = RUN_EXAMPLES)]
pub(crate) struct Run {
    /// A .wasm file, the folder of a crate, or the name of an agent that the host has
    #[arg(value_name = "AGENT")]
    pub(crate) agent: PathBuf,
    /// What to ask; `-` reads it from stdin [default: the agent's own prompt]
    #[arg(value_name = "PROMPT")]
    pub(crate) prompt: Option<String>,
    /// Send a file with the prompt, such as an image, of up to 8 MiB; may be repeated
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
    /// Continue a session: its id, a unique beginning of it, or `latest` [default: a new session]
    #[arg(short, long, value_name = "ID")]
    pub(crate) session: Option<String>,
    /// The agent's name in sessions [default: that of the package or the file]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// The agent's configuration for this run: '{"depth": 2}' or @settings.json [default: the
    /// agent's own]
    #[arg(long, value_name = "JSON|@FILE")]
    pub(crate) config: Option<String>,
    /// A name for this request: the same key in the same session returns the run that it began,
    /// instead of beginning another
    #[arg(long, requires = "session")]
    pub(crate) key: Option<String>,
    /// Stop the run after this long: 30s, 5m, none [default: 30m]
    #[arg(long, value_name = "TIME", help_heading = "Limits")]
    pub(crate) deadline: Option<Deadline>,
    /// How long a stopped agent may go on to finish its work [default: 0s]
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
    /// Print the agent's output exactly as it is [default: control characters are escaped, as \u{1b}]
    #[arg(long, conflicts_with = "json")]
    pub(crate) raw: bool,
    /// Keep everything in memory: nothing of the run is stored, and no other command can see it
    #[arg(long, conflicts_with_all = ["session", "detach"])]
    pub(crate) ephemeral: bool,
    /// Print the run's id and leave once the prompt is on disk; needs a host that stays, such as
    /// `lastword serve`
    #[arg(short, long)]
    pub(crate) detach: bool,
}

const CHECK: &str = "\
Prints the agent's name, its default prompt, the capabilities that it asks for, and the option that \
grants each of them. An agent that no host would load is refused, with the reason.

If AGENT is a crate, it is built first: its build scripts and macros, and those of its dependencies, \
run with your rights and outside of any sandbox. They get the environment variables that compilers \
need, and none of your keys. Name a .wasm file to run nothing at all.

\x1b[1;32mExamples:\x1b[0m
  lastword check examples/census
  lastword check census.wasm --json | jq .wants";

/// The arguments of `lastword check`.
#[derive(Debug, Args)]
#[command(after_help = CHECK)]
pub(crate) struct Check {
    /// A .wasm file, or the folder of a crate
    #[arg(value_name = "AGENT")]
    pub(crate) agent: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

const SESSIONS: &str = "\
Works beside a running host. `lastword show` prints a session, and `lastword run --session` \
continues it.

\x1b[1;32mExamples:\x1b[0m
  lastword sessions --workspace . --limit 5
  lastword sessions --json | jq -r .title";

/// The arguments of `lastword sessions`.
#[derive(Debug, Args)]
#[command(after_help = SESSIONS)]
pub(crate) struct Sessions {
    /// Only the sessions of this workspace
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workspace: Option<PathBuf>,
    /// List at most this many
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    pub(crate) limit: usize,
    /// Print one JSON object per line
    #[arg(long)]
    pub(crate) json: bool,
}

const RUNS: &str = "\
Works beside a running host. `lastword follow` prints a run, `lastword cancel` stops it, and \
`lastword resume` continues one that ended early.

\x1b[1;32mExamples:\x1b[0m
  lastword runs --session latest
  lastword runs --json | jq -r 'select(.state == \"running\").run'";

/// The arguments of `lastword runs`.
#[derive(Debug, Args)]
#[command(after_help = RUNS)]
pub(crate) struct Runs {
    /// Only the runs of a session: its id, a unique beginning of it, or `latest`
    #[arg(short, long, value_name = "ID")]
    pub(crate) session: Option<String>,
    /// List at most this many
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    pub(crate) limit: usize,
    /// Print one JSON object per line
    #[arg(long)]
    pub(crate) json: bool,
}

const AGENTS: &str = "\
Asks the server that --server names, or else the owner of the data directory. `lastword run NAME` \
runs one of its agents there.

\x1b[1;32mExamples:\x1b[0m
  lastword agents
  lastword agents --server http://127.0.0.1:8020";

/// The arguments of `lastword agents`.
#[derive(Debug, Args)]
#[command(after_help = AGENTS)]
pub(crate) struct Agents {
    /// Print one JSON object per line
    #[arg(long)]
    pub(crate) json: bool,
}

const SHOW: &str = "\
Works beside a running host. The figures after each run are its receipt: how it ended, how long it \
took, and what it used.

\x1b[1;32mExamples:\x1b[0m
  lastword show
  lastword show 01990b6e-7c1d --json | jq -r '.runs[].receipt.cause'";

/// The arguments of `lastword show`.
#[derive(Debug, Args)]
#[command(after_help = SHOW)]
pub(crate) struct Show {
    /// A session's id, a unique beginning of it, or `latest`
    #[arg(value_name = "SESSION", default_value = "latest")]
    pub(crate) session: String,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    /// Print the agent's output exactly as it is [default: control characters are escaped, as \u{1b}]
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

    #[test]
    fn the_help_of_every_command_shows_an_example() {
        let examples = |command: &clap::Command| {
            let after = command.get_after_help().map(ToString::to_string);
            after
                .is_some_and(|after| after.contains("Examples:") && after.contains("\n  lastword "))
        };
        let grammar = Arguments::command();
        assert!(examples(&grammar));
        for command in grammar.get_subcommands() {
            assert!(examples(command), "no example: {}", command.get_name());
        }
        assert!(!examples(&clap::Command::new("bare")));
    }
}
