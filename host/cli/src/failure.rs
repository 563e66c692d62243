//! How a command ends: its exit code, and the message that tells a person what to do.

use crate::hints;
use crate::terminal::Terminal;
use crate::units;
use lastword::id::SessionId;
use lastword::text;
use lastword::{Hint, HostError, OpenError, StoreError};
use lastword_client::{ClientError, Refusal};

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// What the TLS library says of an answer that is none of TLS.
const NO_TLS: &str = "InvalidContentType";
/// The largest number of damaged places that are listed; `lastword doctor` lists all of them.
const DAMAGES_TOLD: usize = 5;

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The run completed, or the command did what was asked.
    Completed,
    /// The run failed or was interrupted.
    Failed,
    /// Wrong usage or bad input; nothing was run.
    Usage,
    /// The agent requires a capability that is not granted; nothing was run.
    Denied,
    /// The run was stopped: by Ctrl-C, SIGTERM, its deadline, or a reader that closed the output.
    Cancelled,
}

impl Exit {
    /// Returns this code, or `end` in place of success, for a command that could not print
    /// everything.
    pub(crate) fn cut_short(self, end: Self) -> Self {
        match self {
            Self::Completed => end,
            exit => exit,
        }
    }

    /// The code for the shell.
    pub(crate) fn code(self) -> i32 {
        match self {
            Self::Completed => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Denied => 3,
            Self::Cancelled => 130,
        }
    }
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// What happened, why, and what to do.
    pub(crate) message: String,
    /// Whether the data directory's owner is shutting down, or is gone, and did not carry out the
    /// request, so that the next owner can be asked instead.
    pub(crate) handover: bool,
}

impl Failure {
    /// Bad input.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Usage,
            message: message.into(),
            handover: false,
        }
    }

    /// A session of the workspace with this stored key was named in another one; `is_default` if the
    /// command would be in that workspace without `--workspace`.
    pub(crate) fn other_workspace(session: SessionId, key: &str, is_default: bool) -> Self {
        Self::usage(format!(
            "session {session} belongs to {}; {}, or begin a new session without `--session`",
            crate::paths::workspace(key),
            crate::paths::how_to_name(key, is_default),
        ))
    }

    /// A session of this agent was named for another one.
    pub(crate) fn other_agent(session: SessionId, agent: &str) -> Self {
        let hint = Hint::UseAgent {
            session,
            agent: agent.to_owned(),
        };
        let happened = format!("session {session} belongs to the agent `{agent}`");
        Self::usage(with_hint(happened, Some(&hint)))
    }

    /// The prompt is empty, and the agent has no default prompt.
    pub(crate) fn empty_prompt(agent: &str) -> Self {
        let agent = text::line(agent);
        Self::usage(format!(
            "the prompt is empty and the agent `{agent}` has no default prompt; say what it shall \
             do: `lastword run AGENT \"PROMPT\"`"
        ))
    }

    /// Any other failure.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Failed,
            message: message.into(),
            handover: false,
        }
    }
}

impl From<HostError> for Failure {
    fn from(error: HostError) -> Self {
        let happened = match &error {
            HostError::Open(error) => return Self::usage(open(error)),
            HostError::OtherAgent { session, agent } => {
                format!("session {session} belongs to the agent `{agent}`")
            }
            HostError::StoreUnavailable(why) => {
                format!("cannot write to the data directory: {why}")
            }
            HostError::Damaged(damage) => format!("what is stored is damaged: {damage}"),
            _ => error.to_string(),
        };

        Self::usage(with_hint(happened, error.hint().as_ref()))
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let handover = error.is_repeatable();
        let mut failure = match error {
            ClientError::InvalidAddress { address, reason } => Self::usage(format!(
                "`{address}` is no address of a lastword server: {reason}; write \
                 `--server http://127.0.0.1:8020`"
            )),
            ClientError::Unreachable {
                address, reason, ..
            } if address.starts_with("https:") && reason.contains(NO_TLS) => Self::usage(format!(
                "what answers at {address} does not speak TLS ({reason}); if it is a server on \
                     this machine or in a network that you trust, write `http:` instead"
            )),
            ClientError::Unreachable {
                address, reason, ..
            } => Self::usage(format!(
                "cannot reach a lastword server at {address}: {reason}; start one with \
                 `lastword serve`, or name the address of one that runs"
            )),
            ClientError::Foreign { address, reason } => Self::usage(format!(
                "what answers at {address} is no lastword server that this client knows: {reason}; \
                 check the address, and that the server is lastword {VERSION}, as this is"
            )),
            ClientError::Refused(refusal) => refused(*refusal),
            other => Self::failed(other.to_string()),
        };

        failure.handover = handover;
        failure
    }
}

fn refused(refusal: Refusal) -> Failure {
    let Refusal { address, problem } = refusal;
    let detail = problem.detail;
    let message = match (problem.name.as_str(), problem.damage) {
        ("unauthenticated", _) => format!(
            "{address} does not let you in: {detail}; name the file that holds its token with \
             `--token-file`, or set LASTWORD_TOKEN"
        ),
        ("unknown-route", _) => format!(
            "what answers at {address} has no such request: {detail}; check the address, and that the \
             server is lastword {VERSION}, as this is"
        ),
        ("outside-roots", _) => format!("{detail} (`lastword serve --root DIRECTORY`)"),
        ("store-damaged", Some(damage)) => damaged(&damage),
        (name, _) => match hints::of_name(name) {
            Some(hint) => format!("{detail}; {hint}"),
            None => detail,
        },
    };

    let exit = match (problem.name.as_str(), problem.status) {
        ("forbidden", _) => Exit::Denied,
        (_, 500..) => Exit::Failed,
        _ => Exit::Usage,
    };

    Failure {
        exit,
        message,
        handover: false,
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        Self::usage(open(&error))
    }
}

fn open(error: &OpenError) -> String {
    let told = with_hint(error.to_string(), error.hint().as_ref());
    match error {
        // Continuing without it helps as well.
        OpenError::Damaged { .. } => with_hint(told, Some(&Hint::OtherDataDirectory)),
        _ => told,
    }
}

/// Returns the message with the command that helps.
fn with_hint(happened: String, hint: Option<&Hint>) -> String {
    match hint.and_then(hints::of) {
        Some(hint) => format!("{happened}; {hint}"),
        None => happened,
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Damaged(damage) => Self::failed(damaged(damage)),
            _ => Self::usage(error.to_string()),
        }
    }
}

/// Returns what to do about data that cannot be read.
fn damaged(damage: &impl std::fmt::Display) -> String {
    let happened = format!("what is stored is damaged: {damage}");
    with_hint(happened, Some(&Hint::Examine))
}

/// Warns of entries that were left out because they cannot be read.
pub(crate) fn tell_damaged(damaged: &[String], terminal: &Terminal) {
    for damage in damaged.iter().take(DAMAGES_TOLD) {
        terminal.warn(damage);
    }

    if !damaged.is_empty() {
        let places = units::count(damaged.len() as u64, "place");
        terminal.warn(&format!(
            "{places} of what is stored cannot be read; everything else goes on: `lastword doctor` \
             says what is lost, and how to export the rest"
        ));
    }
}
