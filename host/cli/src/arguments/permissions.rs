//! The arguments about what agents may do: rules, whether people are asked, what a run may use up,
//! and the commands `questions`, `answer` and `grants`.

use crate::units::Cost;
use clap::{Args, Subcommand, ValueEnum};
use lastword::permission::{InvalidRule, Rule};
use std::path::PathBuf;

/// What is allowed, what is denied, and who decides the rest.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Permissions {
    /// Grant a capability, or some of it: write-files=src/**, network=example.com; may be repeated
    #[arg(
        short,
        long,
        value_name = "CAPABILITY[=TARGET]",
        value_parser = rule,
        help_heading = "Grants"
    )]
    pub(crate) allow: Vec<Rule>,
    /// Deny a capability, or some of it, whatever grants and answers allow; may be repeated
    #[arg(
        long,
        value_name = "CAPABILITY[=TARGET]",
        value_parser = rule,
        help_heading = "Grants"
    )]
    pub(crate) deny: Vec<Rule>,
    /// Ask about what no rule decides; here, or by `lastword questions` [default: at a terminal]
    #[arg(long, conflicts_with = "no_ask", help_heading = "Grants")]
    pub(crate) ask: bool,
    /// Deny what no rule decides
    #[arg(long, help_heading = "Grants")]
    pub(crate) no_ask: bool,
}

impl Permissions {
    /// Whether people are asked, if that was said.
    pub(crate) fn asks(&self) -> Option<bool> {
        match (self.ask, self.no_ask) {
            (true, _) => Some(true),
            (false, true) => Some(false),
            (false, false) => None,
        }
    }
}

/// What a run may use up.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct Budget {
    /// End the run once its models have used this many tokens
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub(crate) max_tokens: Option<u64>,
    /// End the run once its models have cost this many US dollars: 0.50
    #[arg(long, value_name = "USD", help_heading = "Limits")]
    pub(crate) max_cost: Option<Cost>,
    /// End the run once it has called this many tools
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub(crate) max_tool_calls: Option<u32>,
    /// Wake the session this often in a row, without a person in between [default: 1000]
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub(crate) max_wakes: Option<u32>,
}

/// List the open questions of agents, or show one of them whole.
#[derive(Debug, Args)]
pub(crate) struct Questions {
    /// A question's id, the unique beginning of one, or `latest`
    #[arg(value_name = "QUESTION")]
    pub(crate) question: Option<String>,
    /// Only those of this session
    #[arg(short, long, value_name = "ID", conflicts_with = "question")]
    pub(crate) session: Option<String>,
    /// Print one JSON object per line
    #[arg(long)]
    pub(crate) json: bool,
}

const ANSWER: &str = "\
\x1b[1;32mExamples:\x1b[0m
  lastword answer latest yes
  lastword answer 01990b6e-7c1d session                  The same needs no answer in this session
  lastword answer 01990b6e-7c1d workspace --rule 'write-files=src/**'
  lastword answer 01990b6e-7c1d no \"Not on a Friday.\"
  lastword answer 01990b6e-7c1d text \"The second one.\"

The first answer counts. `lastword grants` lists what answers have granted for longer than once.";

/// Answer a question that an agent asks.
#[derive(Debug, Args)]
#[command(after_help = ANSWER)]
pub(crate) struct Answer {
    /// A question's id, the unique beginning of one, or `latest`
    #[arg(value_name = "QUESTION")]
    pub(crate) question: String,
    /// What to answer
    #[arg(value_name = "ANSWER")]
    pub(crate) answer: Word,
    /// The answer in words, or why not
    #[arg(value_name = "TEXT")]
    pub(crate) text: Option<String>,
    /// What to grant: one of the rules that the question offers [default: the very thing]
    #[arg(long, value_name = "RULE")]
    pub(crate) rule: Option<String>,
    /// Print what came of it, as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// An answer in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Word {
    /// It may be done, this once.
    Yes,
    /// It may not be done; or, there is no answer.
    No,
    /// It may be done, and again in this session.
    Session,
    /// It may be done, and again by this agent in this workspace.
    Workspace,
    /// In words.
    Text,
}

/// List what answers have granted for longer than once, or take it back.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Grants {
    #[command(subcommand)]
    pub(crate) what: Option<OfGrants>,
    #[command(flatten)]
    pub(crate) list: ListGrants,
}

/// What to do with grants.
#[derive(Debug, Subcommand)]
pub(crate) enum OfGrants {
    /// List them
    List(ListGrants),
    /// Take one back, for every decision from now on
    Revoke {
        /// A grant's id, or the unique beginning of one
        #[arg(value_name = "GRANT")]
        grant: String,
    },
}

/// Which grants to list.
#[derive(Debug, Args)]
pub(crate) struct ListGrants {
    /// Only those of this directory
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workspace: Option<PathBuf>,
    /// Print one JSON object per line
    #[arg(long)]
    pub(crate) json: bool,
}

fn rule(word: &str) -> Result<Rule, String> {
    word.parse().map_err(|error: InvalidRule| error.to_string())
}
