//! Commands about values that are kept between runs. Every answer is said, errors included.
//!
//! It does not know how long the host keeps them.

use lastword_guest::prelude::*;

use crate::{ProbeTurn, said_answer, word};

pub(crate) fn run(turn: &ProbeTurn, command: &str, argument: &str) -> Option<Result<Outcome>> {
    let command = command.strip_prefix("state-")?;
    Some(said_answer(turn, keep(turn, command, argument)))
}

fn keep(turn: &ProbeTurn, command: &str, argument: &str) -> Result<String> {
    let (scope, rest) = word(argument);
    let state = turn.state(match scope {
        "session" => Scope::Session,
        "workspace" => Scope::Workspace,
        other => return Err(Error::new("invalid", format!("no scope `{other}`"))),
    });
    let (key, rest) = word(rest);
    match command {
        "get" => Ok(match state.get(key)? {
            Some(value) => String::from_utf8(value)?,
            None => "none".to_owned(),
        }),
        "set" => state.set(key, rest.as_bytes()).map(|()| "done".to_owned()),
        "cas" => {
            let (expected, value) = word(rest);
            let expected = (expected != "-").then_some(expected.as_bytes());
            let set = state.compare_and_set(key, expected, value.as_bytes())?;
            Ok(set.to_string())
        }
        "delete" => state.delete(key).map(|()| "done".to_owned()),
        "keys" => Ok(state.keys(key)?.join("\n")),
        other => Err(Error::new("invalid", format!("no command `state-{other}`"))),
    }
}
