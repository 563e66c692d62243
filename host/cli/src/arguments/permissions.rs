//! The arguments about what agents may do: rules, whether people are asked, what a run may use up,
//! and the commands `questions`, `answer` and `grants`.

use crate::units::Cost;
use clap::{Args, Subcommand, ValueEnum};
use lastword::permission::{InvalidRule, Rule};
use std::path::PathBuf;

/// What is allowed, what is denied, and who decides the rest.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Permissions {
    /// Grant a capability, or a part of it: state, write-files=src/**, network=example.com; may be
    /// repeated
    #[arg(
        short,
        long,
        value_name = "CAPABILITY[=TARGET]",
        value_parser = rule,
        help_heading = "Grants"
    )]
    pub(crate) allow: Vec<Rule>,
    /// Deny a capability, or a part of it, whatever is granted or answered: read-files=**/.env; may be
    /// repeated
    #[arg(
        long,
        value_name = "CAPABILITY[=TARGET]",
        value_parser = rule,
        help_heading = "Grants"
    )]
    pub(crate) deny: Vec<Rule>,
    /// If no rule decides, ask: at this terminal, or through `lastword questions` from another one
    /// [default: only at a terminal]
    #[arg(long, conflicts_with = "no_ask", help_heading = "Grants")]
    pub(crate) ask: bool,
    /// If no rule decides, deny [default: where there is no terminal]
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
    /// End the run once its models have used more tokens than this [default: no limit]
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub(crate) max_tokens: Option<u64>,
    /// End the run once its models have cost more US dollars than this, such as 0.50 [default: no
    /// limit]
    #[arg(long, value_name = "USD", help_heading = "Limits")]
    pub(crate) max_cost: Option<Cost>,
    /// End the run once it has made more tool calls than this [default: 1000]
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub(crate) max_tool_calls: Option<u32>,
    /// How many times in a row the session may wake itself, without a person in between [default:
    /// 1000]
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub(crate) max_wakes: Option<u32>,
}

const QUESTIONS: &str = "\
Runs that were started with --ask, and runs of a server whose client asked for it, wait until their \
questions are answered with `lastword answer`.

\x1b[1;32mExamples:\x1b[0m
  lastword questions
  lastword questions latest                    With the whole diff or input, and the rules to grant";

/// The arguments of `lastword questions`.
#[derive(Debug, Args)]
#[command(after_help = QUESTIONS)]
pub(crate) struct Questions {
    /// A question's id, a unique beginning of it, or `latest`
    #[arg(value_name = "QUESTION")]
    pub(crate) question: Option<String>,
    /// Only the questions of this session and of those that it started
    #[arg(short, long, value_name = "ID", conflicts_with = "question")]
    pub(crate) session: Option<String>,
    /// Print one JSON object per line
    #[arg(long)]
    pub(crate) json: bool,
}

const ANSWER: &str = "\
\x1b[1;32mExamples:\x1b[0m
  lastword answer latest yes
  lastword answer 01990b6e-7c1d session                  Not asked again in this session
  lastword answer 01990b6e-7c1d workspace --rule 'write-files=src/**'
  lastword answer 01990b6e-7c1d no \"Not on a Friday.\"
  lastword answer 01990b6e-7c1d text \"The second one.\"

The first answer counts. `lastword grants` lists what answers granted for longer than once.";

/// The arguments of `lastword answer`.
#[derive(Debug, Args)]
#[command(after_help = ANSWER)]
pub(crate) struct Answer {
    /// A question's id, a unique beginning of it, or `latest`
    #[arg(value_name = "QUESTION")]
    pub(crate) question: String,
    /// The answer
    #[arg(value_name = "ANSWER")]
    pub(crate) answer: Word,
    /// The words of the answer `text`, or the reason for `no`
    #[arg(value_name = "TEXT")]
    pub(crate) text: Option<String>,
    /// What to grant with `session` or `workspace`: one of the rules that the question offers
    /// [default: exactly what was asked for]
    #[arg(long, value_name = "RULE")]
    pub(crate) rule: Option<String>,
    /// Print the result as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// An answer in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Word {
    /// Allow it this once.
    Yes,
    /// Deny it, or leave a question without an answer.
    No,
    /// Allow it for the rest of this session.
    Session,
    /// Allow it to this agent in this workspace, also in other sessions.
    Workspace,
    /// Answer in words.
    Text,
}

const GRANTS: &str = "\
\x1b[1;32mExamples:\x1b[0m
  lastword grants --workspace .
  lastword grants revoke 01990b6e-7c1d";

/// The arguments of `lastword grants`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = GRANTS)]
pub(crate) struct Grants {
    #[command(subcommand)]
    pub(crate) what: Option<OfGrants>,
    #[command(flatten)]
    pub(crate) list: ListGrants,
}

/// What to do with grants.
#[derive(Debug, Subcommand)]
pub(crate) enum OfGrants {
    /// List the grants, as `lastword grants` does
    List(ListGrants),
    /// Revoke a grant, for every decision from now on
    Revoke {
        /// A grant's id, or a unique beginning of it
        #[arg(value_name = "GRANT")]
        grant: String,
    },
}

/// Which grants to list.
#[derive(Debug, Args)]
pub(crate) struct ListGrants {
    /// Only the grants in this workspace
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workspace: Option<PathBuf>,
    /// Print one JSON object per line
    #[arg(long)]
    pub(crate) json: bool,
}

fn rule(word: &str) -> Result<Rule, String> {
    word.parse().map_err(|error: InvalidRule| error.to_string())
}
