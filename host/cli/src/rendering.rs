//! How tool calls, their results, diffs, questions and answers look to people, both live and when
//! read later. Every word comes from an agent or a tool. Whatever people base a decision on goes
//! through [`lastword::text`], uncut, so that it cannot look different from what it is.

use crate::terminal::{Stream, brief, cut, line};
use crate::units;
use lastword::session::{Answer, Asked, Content, Question, ToolResult, Within};
use lastword::{Capability, text};
use serde_json::Value;

/// Characters of the longest line about a tool call.
const CALL_CHARS: usize = 160;
/// Characters of one argument in it.
const ARGUMENT_CHARS: usize = 60;
/// Lines of the longest diff that is shown beside other things.
pub(crate) const DIFF_LINES: usize = 60;
/// Characters of the longest line of a diff.
const DIFF_CHARS: usize = 300;
/// Characters of a row of text that is shown uncut.
const ROW_CHARS: usize = 100;
/// The prefix of each line that an agent wrote, so that it cannot be taken for one of ours.
const GUTTER: &str = "  │ ";
/// The same for the continuation of a line.
const GUTTER_ON: &str = "  ┆ ";
/// The words that replace rows that are left out.
const MORE: &str = "more rows";

/// A tool call in one line: its name and its arguments, each shortened.
pub(crate) fn call(name: &str, input: &str) -> String {
    let arguments = match serde_json::from_str(input) {
        Ok(Value::Object(members)) => {
            let members = members.iter().map(|(name, value)| {
                let value = match value {
                    Value::String(text) => brief(text, ARGUMENT_CHARS),
                    other => brief(&other.to_string(), ARGUMENT_CHARS),
                };
                format!("{name}={value}")
            });
            members.collect::<Vec<_>>().join(" ")
        }
        _ => input.to_owned(),
    };

    brief(&format!("→ {name} {arguments}"), CALL_CHARS)
}

/// Returns the result of a tool in one line.
pub(crate) fn result(result: &ToolResult) -> String {
    let texts = result.content.iter().map(|content| match content {
        Content::Text { text } => text.clone(),
        Content::Data {
            media_type,
            name,
            bytes,
            ..
        } => data(name.as_deref(), media_type, *bytes),
        Content::Other { kind, .. } => format!("[{kind}]"),
    });
    let text: Vec<_> = texts.collect();
    let sign = if result.is_error { "✗" } else { "←" };
    brief(
        &format!("{sign} {} {}", result.name, text.join(" ")),
        CALL_CHARS,
    )
}

/// Bytes that a message names: by name, type and size.
pub(crate) fn data(name: Option<&str>, media_type: &str, bytes: u64) -> String {
    let name = name.map(|name| format!("{name}, ")).unwrap_or_default();
    format!("[{name}{media_type}, {}]", units::bytes(bytes))
}

/// The diff that a tool left for clients.
pub(crate) fn diff_of(result: &ToolResult) -> Option<String> {
    let metadata: Value = serde_json::from_str(result.metadata.as_deref()?).ok()?;
    let diff = metadata.get("diff")?.as_str()?;
    (!diff.trim().is_empty()).then(|| diff.to_owned())
}

/// A diff in its colours, each line with a gutter; rows that do not fit are counted.
pub(crate) fn diff(diff: &str, lines: usize, stream: &Stream) -> String {
    coloured(diff, lines, stream, |shown| {
        let count = shown.chars().count();
        let mut text: String = shown.chars().take(DIFF_CHARS).collect();
        if count > DIFF_CHARS {
            text.push_str(&format!("… {} more characters", count - DIFF_CHARS));
        }
        vec![text]
    })
}

/// Rows of a diff in its colours, each made of a line without what does not show.
fn coloured(diff: &str, rows: usize, stream: &Stream, cut: impl Fn(&str) -> Vec<String>) -> String {
    let paint = |written: &str, text: &str| match written.as_bytes().first() {
        Some(b'+') => stream.green(text),
        Some(b'-') => stream.red(text),
        Some(b'@') => stream.dim(text),
        _ => text.to_owned(),
    };

    // Not `lines`, which would drop a carriage return at the end of a line.
    let written = diff.strip_suffix('\n').unwrap_or(diff).split('\n');
    let painted = written.flat_map(|written| {
        let cut = cut(&text::lines(written)).into_iter().enumerate();
        cut.map(move |(at, row)| format!("{}{}\n", gutter(at), paint(written, &row)))
    });
    counted(&painted.collect::<Vec<_>>(), rows)
}

/// Adds a gutter to escaped text. Only whole rows are left out, and they are counted.
fn whole(text: &str, rows: usize) -> String {
    let all = text.split('\n').flat_map(|line| {
        let rows = wrapped(line).into_iter().enumerate();
        rows.map(|(at, row)| format!("{}{row}\n", gutter(at)))
    });
    counted(&all.collect::<Vec<_>>(), rows)
}

/// A line in rows.
fn wrapped(line: &str) -> Vec<String> {
    let letters: Vec<char> = line.chars().collect();
    let mut rows: Vec<String> = letters
        .chunks(ROW_CHARS)
        .map(|row| row.iter().collect())
        .collect();
    if rows.is_empty() {
        rows.push(String::new());
    }

    rows
}

/// Returns the gutter of a row, which differs for a wrapped line, so that it is not taken for
/// another line.
fn gutter(row_of_line: usize) -> &'static str {
    match row_of_line {
        0 => GUTTER,
        _ => GUTTER_ON,
    }
}

/// The first rows, and how many more there are.
fn counted(all: &[String], rows: usize) -> String {
    let mut shown = all[..rows.min(all.len())].concat();
    if all.len() > rows {
        shown.push_str(&format!("{GUTTER}… {} {MORE}\n", all.len() - rows));
    }
    shown
}

/// Words of an agent over several lines, with a gutter.
fn quoted(text: &str, lines: usize) -> String {
    let shown = text.lines().take(lines);
    let mut shown: String = shown
        .map(|written| format!("{GUTTER}{}\n", line(written, DIFF_CHARS)))
        .collect();
    if text.lines().count() > lines {
        shown.push_str(&format!("{GUTTER}…\n"));
    }
    shown
}

/// A line about what a capability is needed for. The words of a command are escaped already, as a
/// shell has them.
fn short(capability: &str, text: &str, chars: usize) -> String {
    if is_command(capability) {
        return brief(text, chars);
    }
    cut(&text::line(text), chars)
}

fn is_command(capability: &str) -> bool {
    capability == Capability::RunCommands.as_str()
}

/// What a question is about, in one line.
pub(crate) fn subject(asked: &Asked) -> String {
    match asked {
        Asked::Permission {
            title,
            capability,
            target,
            ..
        } => {
            let title = short(capability, title, 120);
            let target = short(capability, target, 200);
            format!("{title} ({} {target})", brief(capability, 40))
        }
        Asked::Input { text, .. } => line(text, 200),
    }
}

/// Returns a question with everything that is needed to answer it; rows beyond the limit are
/// counted.
pub(crate) fn question(question: &Question, lines: usize, stream: &Stream) -> String {
    let agent = text::line(question.agent.as_str());
    match &question.asked {
        Asked::Permission {
            title,
            capability,
            target,
            diff,
            details,
            ..
        } => {
            // A title that is cut here is shown below.
            let title = stream.bold(&short(capability, title, 200));
            let mut shown = format!("? {agent} wants to: {title}\n");
            let target = if is_command(capability) {
                text::seen(target)
            } else {
                text::line(target)
            };
            let target = format!("{} {target}", brief(capability, 40));
            // Never cut: the rest could be what matters.
            shown.push_str(&whole(&target, lines));
            if let Some(details) = details {
                shown.push_str(&whole(&text::seen(details), lines));
            }
            if let Some(diff) = diff {
                shown.push_str(&coloured(diff, lines, stream, wrapped));
            }
            shown
        }
        Asked::Input { text, choices } => {
            let mut shown = format!("? {agent} asks:\n{}", quoted(text, lines));
            for (at, choice) in choices.iter().enumerate() {
                shown.push_str(&format!("  {}) {}\n", at + 1, line(choice, 200)));
            }
            shown
        }
    }
}

/// Whether rows of a question were left out.
pub(crate) fn is_cut(shown: &str) -> bool {
    let left_out = |row: &str| row.starts_with(&format!("{GUTTER}…")) && row.ends_with(MORE);
    shown.lines().any(left_out)
}

/// An answer in a few words.
pub(crate) fn answer(answer: &Answer) -> String {
    match answer {
        Answer::Allow { remember: None } => "yes, this once".to_owned(),
        Answer::Allow {
            remember: Some(remember),
        } => {
            let within = match remember.within {
                Within::Session => "yes, for the session",
                Within::Workspace => "yes, for the workspace",
            };
            match &remember.rule {
                None => within.to_owned(),
                Some(rule) => format!("{within}: {}", text::seen(rule)),
            }
        }
        Answer::Deny { reason: None } => "no".to_owned(),
        Answer::Deny {
            reason: Some(reason),
        } => format!("no: {}", line(reason, 200)),
        Answer::Text { text } => format!("“{}”", line(text, 200)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Stream = Stream::plain();

    #[test]
    fn a_call_is_one_short_line() {
        assert_eq!(
            call("read_file", r#"{"path":"src/a.rs","lines":[1,2]}"#),
            "→ read_file path=src/a.rs lines=[1,2]"
        );
        let long = format!(r#"{{"text":"{}","path":"a"}}"#, "x".repeat(500));
        let shown = call("write_file", &long);
        assert!(
            shown.ends_with("… path=a") || shown.ends_with('x'),
            "{shown}"
        );
        assert!(shown.chars().count() <= CALL_CHARS);
        assert_eq!(call("t", "{"), "→ t {");
        assert!(!call("t", "{\"a\":\"\\u001b[2J\"}").contains('\x1b'));
    }

    #[test]
    fn a_diff_has_nothing_that_a_terminal_obeys_and_says_what_it_leaves_out() {
        let shown = diff("+a\x1b[2K\r-b\n-c\u{202e}\n d\n", 2, &PLAIN);
        let rows = "  │ +a\\u{1b}[2K\\u{d}-b\n  │ -c\\u{202e}\n  │ … 1 more rows\n";
        assert_eq!(shown, rows);
        let ends = diff("-a\r\n+a\n", 9, &PLAIN);
        assert_eq!(ends, "  │ -a\\u{d}\n  │ +a\n");
        let long = format!("+{}", "x".repeat(DIFF_CHARS + 9));
        assert!(diff(&long, 9, &PLAIN).contains("… 10 more characters"));
    }

    #[test]
    fn details_are_shown_to_their_last_letter_or_counted() {
        let long = format!("a  b\n{}", "x".repeat(ROW_CHARS + 1));
        let rows = format!("  │ a  b\n  │ {}\n  ┆ x\n", "x".repeat(ROW_CHARS));
        assert_eq!(whole(&long, 3), rows);
        assert!(whole(&long, 2).ends_with("  │ … 1 more rows\n"));
    }
}
