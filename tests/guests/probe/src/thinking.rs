//! Commands that ask a model, or think aloud.
//!
//! It does not know what a model answers.

use lastword_guest::prelude::*;
use lastword_guest::{Blob, Content, ToolResult};

use crate::forever::spin;
use crate::{ProbeTurn, number};

pub(crate) fn run(turn: &ProbeTurn, command: &str, argument: &str) -> Option<Result<Outcome>> {
    Some(match command {
        "model" => through_the_guest(turn, argument),
        "model-transcript" => through_the_host(turn, argument),
        "model-session" => about_the_session(turn),
        "model-image" => number(argument).and_then(|bytes| with_image(turn, bytes)),
        "model-shot" => number(argument).and_then(|bytes| with_shot(turn, bytes)),
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

fn about_the_session(turn: &ProbeTurn) -> Result<Outcome> {
    let request = Request::new().context(Context::SinceSummary);
    let completion = turn.model().complete(request)?;
    Ok(Outcome::from(&completion.to_transcript()?))
}

/// Asks about bytes that the session does not keep.
fn with_image(turn: &ProbeTurn, bytes: usize) -> Result<Outcome> {
    let parts = vec![
        Part::text("what is it?"),
        Part::data("image/png", vec![0x89; bytes]),
    ];
    let request = Request::new().message(Role::User, parts);
    let completion = turn.model().complete(request)?;
    Ok(Outcome::from(&completion.to_transcript()?))
}

/// Asks about bytes that a tool gave.
fn with_shot(turn: &ProbeTurn, bytes: usize) -> Result<Outcome> {
    turn.append_part(&Part::tool_call("c1", "shot", "{}"))?;
    let mut result = ToolResult::text("c1", "here it is");
    let image = Blob::inline("image/png", vec![0x89; bytes]);
    result.content.push(Content::Data(image));
    turn.record_result(&result)?;
    about_the_session(turn)
}
