//! Commands that ask a model, or think aloud.
//!
//! It does not know what a model answers.

use lastword_guest::prelude::*;

use crate::ProbeTurn;
use crate::forever::spin;

pub(crate) fn run(turn: &ProbeTurn, command: &str, argument: &str) -> Option<Result<Outcome>> {
    Some(match command {
        "model" => through_the_guest(turn, argument),
        "model-transcript" => through_the_host(turn, argument),
        "think" => turn.think(argument).map(|()| spin()),
        _ => return None,
    })
}

fn through_the_guest(turn: &ProbeTurn, question: &str) -> Result<Outcome> {
    for delta in turn.model().ask(question)? {
        turn.say(&delta?)?;
    }
    Ok(Outcome::end_turn())
}

fn through_the_host(turn: &ProbeTurn, question: &str) -> Result<Outcome> {
    let completion = turn.model().complete(Request::new().user(question))?;
    Ok(Outcome::from(&completion.to_transcript()?))
}
