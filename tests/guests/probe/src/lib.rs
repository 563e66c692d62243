//! An agent for the tests of the host: its prompt is a command line, and it does what that says.
//! `README.md` lists the commands.
//!
//! It does not know what a host should make of any of them.

mod conversation;
mod endings;
mod forever;
mod keeping;
mod machine;
mod network;
mod thinking;
mod tooling;
mod writing;

use lastword_guest::prelude::*;

struct Probe;

impl Agent for Probe {
    /// Whatever was set: the command `config` says it.
    type Config = serde_json::Value;

    fn manifest() -> Manifest {
        Manifest::new("probe", env!("CARGO_PKG_VERSION"))
            .describe("Does what its prompt says")
            .wants(Capability::ReadFiles, "to read what it is told to")
            .wants(Capability::Model, "to ask what it is told to")
            .wants(Capability::WriteFiles, "to write what it is told to")
            .wants(Capability::State, "to keep what it is told to")
            .wants(Capability::Tools, "to call what it is told to")
            .wants(Capability::Network, "to fetch what it is told to")
            .wants(Capability::RunAgents, "to run whom it is told to")
            .wants(Capability::RunCommands, "to run what it is told to")
            .wants(Capability::Secrets, "to use what it is told to")
    }

    fn run(turn: &Turn<Self::Config>) -> Result<Outcome> {
        // What wakes a session has no words of a test's.
        let awake = turn.config()["on_wake"].as_str();
        let awake = awake.filter(|_| turn.origin() == "wake");
        carry_out(turn, awake.unwrap_or(turn.prompt()))
    }
}

/// Does what a line says.
fn carry_out(turn: &ProbeTurn, line: &str) -> Result<Outcome> {
    let (command, argument) = word(line);
    let families: [Family; 9] = [
        endings::run,
        forever::run,
        conversation::run,
        thinking::run,
        keeping::run,
        machine::run,
        tooling::run,
        network::run,
        writing::run,
    ];
    families
        .iter()
        .find_map(|family| family(turn, command, argument))
        .unwrap_or_else(|| Err(Error::new("invalid", format!("no command `{command}`"))))
}

/// The turn of this agent.
type ProbeTurn = Turn<serde_json::Value>;

/// Commands of one kind: none if the command is of another.
type Family = fn(&ProbeTurn, &str, &str) -> Option<Result<Outcome>>;

/// The first word, and what follows it.
fn word(line: &str) -> (&str, &str) {
    let line = line.trim();
    line.split_once(char::is_whitespace)
        .map_or((line, ""), |(word, rest)| (word, rest.trim_start()))
}

/// The argument as a number.
fn number<N: std::str::FromStr>(argument: &str) -> Result<N> {
    argument
        .parse()
        .map_err(|_| Error::new("invalid", format!("`{argument}` is no number here")))
}

/// Says one thing and ends.
fn said(turn: &ProbeTurn, text: &str) -> Result<Outcome> {
    turn.say(text)?;
    Ok(Outcome::end_turn())
}

/// Says what came out, or why nothing did, and ends: the error is the answer, not the end.
fn said_result<E: std::fmt::Display>(
    turn: &ProbeTurn,
    result: std::result::Result<String, E>,
) -> Result<Outcome> {
    match result {
        Ok(text) => said(turn, &text),
        Err(error) => said(turn, &format!("error: {error}")),
    }
}

/// The same for a call to the host, with the code in front: `error denied: …`.
fn said_answer(turn: &ProbeTurn, result: Result<String>) -> Result<Outcome> {
    match result {
        Ok(text) => said(turn, &text),
        Err(error) => said(
            turn,
            &format!("error {}: {}", error.code(), error.message()),
        ),
    }
}

lastword_guest::export!(Probe);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_word_and_the_rest() {
        assert_eq!(word("echo  a b "), ("echo", "a b"));
        assert_eq!(word(" nothing\n"), ("nothing", ""));
    }
}
