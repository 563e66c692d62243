//! Commands that write to the conversation or read it.
//!
//! It does not know how the host keeps it.

use lastword_guest::ToolResult;
use lastword_guest::prelude::*;

use crate::forever::spin;
use crate::{ProbeTurn, number, said, said_answer};

pub(crate) fn run(turn: &ProbeTurn, command: &str, argument: &str) -> Option<Result<Outcome>> {
    Some(match command {
        "half-call" => turn
            .append_part(&Part::tool_call("c1", "t", "{\"a\":"))
            .map(|()| spin()),
        "served-call" => serve(turn).and_then(|()| said(turn, "done")),
        "two-steps" => turn
            .say("one")
            .and_then(|()| serve(turn))
            .and_then(|()| said(turn, "two")),
        "history" => history(turn),
        "title" => said_answer(turn, turn.set_title(argument).map(|()| "done".to_owned())),
        "summarise" => said_answer(turn, summarise(turn, argument)),
        "data" => number(argument).and_then(|bytes| data(turn, bytes)),
        "attached" => attached(turn),
        "appends" => number(argument).and_then(|count| appends(turn, count)),
        "config" => said(turn, turn.config_json()),
        "log" => number(argument).and_then(|lines| log(turn, lines)),
        _ => return None,
    })
}

fn serve(turn: &ProbeTurn) -> Result<()> {
    turn.append_part(&Part::tool_call("c1", "t", "{\"a\":1}"))?;
    turn.record_result(&ToolResult::text("c1", "served"))
}

/// One line for each message, from the first to the newest, with what stands beside it.
fn history(turn: &ProbeTurn) -> Result<Outcome> {
    let mut messages = turn.messages().collect::<Result<Vec<_>>>()?;
    messages.reverse();
    for message in messages {
        let role = match message.role {
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::Tool => "tool",
            Role::System => "system",
        };
        let beside = message.extra.iter();
        let beside: String = beside
            .map(|(name, json)| format!(" [{name}={json}]"))
            .collect();
        turn.say(&format!("{role}: {}{beside}\n", message.text()))?;
    }
    Ok(Outcome::end_turn())
}

fn summarise(turn: &ProbeTurn, text: &str) -> Result<String> {
    let newest = turn.history(None, 1)?;
    let newest = newest
        .last()
        .ok_or_else(|| Error::new("not-found", "the history is empty"))?;
    turn.summarise(text, &newest.id)?;
    Ok("done".to_owned())
}

fn data(turn: &ProbeTurn, bytes: usize) -> Result<Outcome> {
    turn.append_part(&Part::data("image/png", vec![0x89; bytes]))?;
    Ok(Outcome::end_turn())
}

/// One line for each data part of the prompt: its type, its name and its bytes as text.
fn attached(turn: &ProbeTurn) -> Result<Outcome> {
    for blob in turn.prompt_data() {
        let bytes = turn.bytes(blob)?;
        let name = blob.name.as_deref().unwrap_or("-");
        let text = String::from_utf8_lossy(&bytes);
        turn.say(&format!("{} {name} {text}\n", blob.media_type))?;
    }
    Ok(Outcome::end_turn())
}

fn appends(turn: &ProbeTurn, count: u64) -> Result<Outcome> {
    for _ in 0..count {
        turn.say("8 bytes ")?;
    }
    Ok(Outcome::end_turn())
}

fn log(turn: &ProbeTurn, lines: u64) -> Result<Outcome> {
    for line in 0..lines {
        let fields = serde_json::json!({ "line": line });
        turn.log_with(Level::Info, &format!("line {line}"), &fields);
    }
    said(turn, "done")
}
