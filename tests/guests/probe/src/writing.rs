//! Commands that have the host write as much as it takes, by one import.
//!
//! It does not know how much that is.

use lastword_guest::bindings::{control, log, model, secrets, state, tools, transcript, types};
use lastword_guest::model::Request;
use lastword_guest::prelude::*;
use lastword_guest::{Blob, ToolResult};

use crate::{ProbeTurn, number, word};

/// `write-out IMPORT COUNT`: calls an import so many times, each time with something else in it,
/// whatever it answers.
pub(crate) fn run(turn: &ProbeTurn, command: &str, argument: &str) -> Option<Result<Outcome>> {
    (command == "write-out").then(|| write_out(turn, argument))
}

fn write_out(turn: &ProbeTurn, argument: &str) -> Result<Outcome> {
    let (import, count) = word(argument);
    let newest = turn.history(None, 1)?;
    let newest = newest.last().map(|message| message.id.clone());
    let through = newest.unwrap_or_default();
    for i in 0..number::<u32>(count)? {
        step(import, i, &through)?;
    }
    Ok(Outcome::end_turn())
}

fn step(import: &str, i: u32, through: &str) -> Result<()> {
    match import {
        "transcript/history" => _ = transcript::history(None, 10),
        // What takes six times as much as JSON.
        "transcript/append-text" => _ = transcript::append_text(&"\u{1}".repeat(1024)),
        "transcript/append-reasoning" => {
            // A part of its own each time.
            _ = transcript::append_reasoning(&"\u{1}".repeat(128));
            _ = transcript::append_text(&"\u{1}".repeat(128));
        }
        "transcript/append-part" => _ = transcript::append_part(&part(i)),
        "transcript/record-result" => {
            let id = format!("c{i}");
            _ = transcript::append_part(&Part::tool_call(&id, "t", "{}"));
            _ = transcript::record_result(&result(i, &id));
        }
        "transcript/summarise" => _ = transcript::summarise(&long(i, 8192), through),
        "transcript/set-title" => _ = transcript::set_title(&long(i, 70)),
        "transcript/read-blob" => _ = transcript::read_blob(&long(i, 64)),
        "model/complete" => _ = model::complete(&request()),
        "model/completion.next" => {
            if let Ok(completion) = model::complete(&request()) {
                while let Ok(Some(_)) = completion.next() {}
            }
        }
        "model/completion.to-transcript" => {
            if let Ok(completion) = model::complete(&request()) {
                _ = completion.to_transcript();
            }
        }
        "model/models" => _ = model::models(),
        "tools/available" => _ = tools::available(),
        "tools/call" => _ = tools::call(&plan(i)),
        "tools/call-all" => _ = tools::call_all(&[plan(2 * i), plan(2 * i + 1)]),
        "state/get" => _ = state::get(Scope::Session, &i.to_string()),
        "state/set" => _ = state::set(scope(i), &i.to_string(), long(i, 4096).as_bytes()),
        "state/compare-and-set" => {
            let (key, value) = (i.to_string(), long(i, 4096));
            _ = state::compare_and_set(scope(i), &key, None, value.as_bytes());
        }
        "state/delete" => _ = state::delete(scope(i), &i.to_string()),
        "state/keys" => _ = state::keys(Scope::Session, ""),
        "control/interruption" => _ = control::interruption(),
        "control/remaining-ms" => _ = control::remaining_ms(),
        "secrets/exists" => _ = secrets::exists(&i.to_string()),
        "log/write" => log::write(Level::Debug, &long(i, 4096), Some(&long(i, 4096))),
        _ => return Err(Error::new("invalid", format!("no import `{import}`"))),
    }
    Ok(())
}

/// A text of so many bytes that begins like no other.
fn long(i: u32, bytes: usize) -> String {
    format!("{i:010}{}", "x".repeat(bytes - 10))
}

fn scope(i: u32) -> Scope {
    match i % 2 {
        0 => Scope::Session,
        _ => Scope::Workspace,
    }
}

/// Each field of a part in turn.
fn part(i: u32) -> Part {
    match i % 5 {
        0 => Part::data("image/png", long(i, 65536).into_bytes()),
        1 => {
            let mut part = Part::tool_call(format!("d{i}"), "t", "{}");
            part.extra
                .push(("note".to_owned(), format!("\"{}\"", long(i, 8192))));
            part
        }
        2 => Part::tool_call(format!("c{i}"), "t", long(i, 8192)),
        3 => Part::data(long(i, 8192), Vec::new()),
        _ => Part {
            body: types::Body::Other((long(i, 4096), format!("\"{}\"", long(i, 4096)))),
            extra: Vec::new(),
        },
    }
}

fn result(i: u32, id: &str) -> ToolResult {
    let mut result = ToolResult::text(id, "x");
    let data = Blob::inline("image/png", long(i, 16384).into_bytes());
    result.content.push(types::Content::Data(data));
    result.structured_json = Some(format!("\"{}\"", long(i, 1024)));
    result
}

/// A plan of the session, which people see.
fn plan(i: u32) -> types::ToolCall {
    let point = |n: u32| {
        let content = long(i.wrapping_add(n), 400);
        format!("{{\"content\":\"{content}\",\"status\":\"pending\"}}")
    };
    let points: Vec<String> = (0..100).map(point).collect();
    types::ToolCall {
        id: String::new(),
        name: "todo".to_owned(),
        arguments_json: format!("{{\"todo\":[{}]}}", points.join(",")),
    }
}

fn request() -> model::Request {
    Request::new().user("write").into()
}
