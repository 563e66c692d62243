//! Commands that call the host's tools, or end a run that waits.
//!
//! It does not know what a tool does.

use lastword_guest::bindings::types::{Content, ToolCall, ToolResult};
use lastword_guest::prelude::*;

use crate::{ProbeTurn, carry_out, number, said, said_answer, word};

pub(crate) fn run(turn: &ProbeTurn, command: &str, argument: &str) -> Option<Result<Outcome>> {
    Some(match command {
        "tools" => names(turn),
        "tool" => call(turn, argument),
        "tool-with-id" => with_id(turn, argument),
        "tools-all" => all(turn, argument),
        "tools-each" => each(turn, argument),
        "tool-times" => times(turn, argument),
        "tool-paced" => paced(turn, argument),
        "wait" => waiting(argument),
        "wait-then" => waiting_then(turn, argument),
        "wait-for" => waiting_for(argument),
        "wait-both" => waiting_for_both(argument),
        "origin" => said(turn, &format!("{}: {}", turn.origin(), argument)),
        _ => return None,
    })
}

fn names(turn: &ProbeTurn) -> Result<Outcome> {
    let tools = turn.tools().available();
    let names = tools.map(|tools| {
        let names: Vec<String> = tools.into_iter().map(|tool| tool.name).collect();
        names.join(" ")
    });
    said_answer(turn, names)
}

fn made(id: &str, line: &str) -> ToolCall {
    let (name, arguments) = word(line);
    ToolCall {
        id: id.to_owned(),
        name: name.to_owned(),
        arguments_json: arguments.to_owned(),
    }
}

fn shown(result: &ToolResult) -> String {
    let pieces = result.content.iter().map(|content| match content {
        Content::Text(text) => text.clone(),
        Content::Data(blob) => format!("[{}]", blob.media_type),
        Content::Other((kind, _)) => format!("[{kind}]"),
    });
    let text: String = pieces.collect();
    match result.is_error {
        true => format!("failed: {text}"),
        false => text,
    }
}

/// `NAME JSON`
fn call(turn: &ProbeTurn, argument: &str) -> Result<Outcome> {
    let result = turn.tools().serve(&made("", argument));
    said_answer(turn, result.map(|result| shown(&result)))
}

/// `ID NAME JSON`
fn with_id(turn: &ProbeTurn, argument: &str) -> Result<Outcome> {
    let (id, line) = word(argument);
    let result = turn.tools().serve(&made(id, line));
    said_answer(turn, result.map(|result| shown(&result)))
}

/// One call a line; says one answer a line.
fn all(turn: &ProbeTurn, argument: &str) -> Result<Outcome> {
    let calls: Vec<ToolCall> = argument.lines().map(|line| made("", line)).collect();
    let answers = turn.tools().serve_all(&calls).into_iter();
    let lines: Vec<String> = answers
        .map(|answer| match answer {
            Ok(result) => shown(&result),
            Err(error) => format!("error {}", error.code()),
        })
        .collect();
    said(turn, &lines.join("\n"))
}

/// One call a line, each once the one before is answered; says one answer a line.
fn each(turn: &ProbeTurn, argument: &str) -> Result<Outcome> {
    let answers = argument.lines().map(|line| {
        let answer = turn.tools().serve(&made("", line));
        answer.map_or_else(|error| format!("error {}", error.code()), |r| shown(&r))
    });
    let answers: Vec<String> = answers.collect();
    said(turn, &answers.join("\n"))
}

/// `N NAME JSON`: says how many had a result.
fn times(turn: &ProbeTurn, argument: &str) -> Result<Outcome> {
    let (count, line) = word(argument);
    let mut made_it = 0;
    for _ in 0..number::<u32>(count)? {
        made_it += u32::from(turn.tools().serve(&made("", line)).is_ok());
    }
    said(turn, &made_it.to_string())
}

/// `N NAME JSON`: says the median of a call's nanoseconds, when an agent thinks before each.
fn paced(turn: &ProbeTurn, argument: &str) -> Result<Outcome> {
    let (count, line) = word(argument);
    let call = made("", line);
    let mut taken = Vec::new();
    for _ in 0..number::<u32>(count)? {
        std::thread::sleep(std::time::Duration::from_millis(3));
        let began = std::time::Instant::now();
        turn.tools().serve(&call)?;
        taken.push(began.elapsed().as_nanos());
    }
    taken.sort_unstable();
    said(turn, &taken[taken.len() / 2].to_string())
}

fn waiting(milliseconds: &str) -> Result<Outcome> {
    let after: u64 = number(milliseconds)?;
    Ok(Outcome::waiting().extra("wake-after-ms", &after.into()))
}

/// `MS COMMAND`: does that first.
fn waiting_then(turn: &ProbeTurn, argument: &str) -> Result<Outcome> {
    let (milliseconds, line) = word(argument);
    carry_out(turn, line)?;
    waiting(milliseconds)
}

fn waiting_for(question: &str) -> Result<Outcome> {
    let ask = serde_json::json!({ "text": question, "choices": ["yes", "no"] });
    Ok(Outcome::waiting().extra("ask", &ask))
}

/// `MS QUESTION`: whichever comes first.
fn waiting_for_both(argument: &str) -> Result<Outcome> {
    let (milliseconds, question) = word(argument);
    let after: u64 = number(milliseconds)?;
    Ok(waiting_for(question)?.extra("wake-after-ms", &after.into()))
}
