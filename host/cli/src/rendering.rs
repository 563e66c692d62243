//! How tool calls, their results, diffs, questions and answers look to people, live and read
//! again. Every word comes from an agent or a tool: what a terminal obeys is taken out here.

use crate::terminal::{Stream, clean, line};
use crate::units;
use lastword::session::{Answer, Asked, Content, Question, ToolResult, Within};
use serde_json::Value;

/// Characters of the longest line about a tool call.
const CALL_CHARS: usize = 160;
/// Characters of one argument in it.
const ARGUMENT_CHARS: usize = 60;
/// Lines of the longest diff that is shown beside other things.
pub(crate) const DIFF_LINES: usize = 60;
/// Characters of the longest line of a diff.
const DIFF_CHARS: usize = 300;
/// Characters of a row of what is shown whole.
const ROW_CHARS: usize = 100;
/// Before each line that an agent wrote, so that it cannot be taken for one of ours.
const GUTTER: &str = "  │ ";

/// A tool call in one line: its name and its arguments, each shortened.
pub(crate) fn call(name: &str, input: &str) -> String {
    let arguments = match serde_json::from_str(input) {
        Ok(Value::Object(members)) => {
            let members = members.iter().map(|(name, value)| {
                let value = match value {
                    Value::String(text) => line(text, ARGUMENT_CHARS),
                    other => line(&other.to_string(), ARGUMENT_CHARS),
                };
                format!("{name}={value}")
            });
            members.collect::<Vec<_>>().join(" ")
        }
        _ => input.to_owned(),
    };
    line(&format!("→ {name} {arguments}"), CALL_CHARS)
}

/// What a tool answered, in one line.
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
    line(
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

/// A diff in its colours, a line each with a gutter; what is left out is counted.
pub(crate) fn diff(diff: &str, lines: usize, stream: &Stream) -> String {
    let total = diff.lines().count();
    let mut shown = String::new();
    for written in diff.lines().take(lines) {
        let clean = clean(written);
        let count = clean.chars().count();
        let mut text: String = clean.chars().take(DIFF_CHARS).collect();
        if count > DIFF_CHARS {
            text.push_str(&format!("… {} more characters", count - DIFF_CHARS));
        }
        let painted = match written.as_bytes().first() {
            Some(b'+') => stream.green(&text),
            Some(b'-') => stream.red(&text),
            Some(b'@') => stream.dim(&text),
            _ => text,
        };
        shown.push_str(&format!("{GUTTER}{painted}\n"));
    }
    if total > lines {
        shown.push_str(&format!("{GUTTER}… {} more lines\n", total - lines));
    }
    shown
}

/// Words with a gutter, none of which is left out but by whole rows, which are counted.
fn whole(text: &str, rows: usize) -> String {
    let clean = clean(text);
    let split = |line: &str| -> Vec<String> {
        let letters: Vec<char> = line.chars().collect();
        let rows = letters.chunks(ROW_CHARS).map(|row| row.iter().collect());
        rows.collect()
    };
    let all: Vec<String> = clean.lines().flat_map(split).collect();
    let shown = all.iter().take(rows);
    let mut shown: String = shown.map(|row| format!("{GUTTER}{row}\n")).collect();
    if all.len() > rows {
        shown.push_str(&format!("{GUTTER}… {} more rows\n", all.len() - rows));
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

/// What a question is about, in one line.
pub(crate) fn subject(asked: &Asked) -> String {
    match asked {
        Asked::Permission {
            title,
            capability,
            target,
            ..
        } => {
            let (title, target) = (line(title, 120), line(target, 200));
            format!("{title} ({} {target})", line(capability, 40))
        }
        Asked::Input { text, .. } => line(text, 200),
    }
}

/// A question with all that one needs to know to answer it.
pub(crate) fn question(question: &Question, lines: usize, stream: &Stream) -> String {
    let agent = line(question.agent.as_str(), 60);
    match &question.asked {
        Asked::Permission {
            title,
            capability,
            target,
            diff: change,
            details,
            ..
        } => {
            let title = stream.bold(&line(title, 200));
            let mut text = format!("? {agent} wants to: {title}\n");
            // Shown whole: what is cut off could be what matters.
            let target = format!("{} {}", line(capability, 40), line(target, 4000));
            text.push_str(&format!("{GUTTER}{target}\n"));
            if let Some(details) = details {
                text.push_str(&whole(details, lines));
            }
            if let Some(change) = change {
                text.push_str(&diff(change, lines, stream));
            }
            text
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
                Some(rule) => format!("{within}: {}", line(rule, 200)),
            }
        }
        Answer::Deny { reason: None } => "no".to_owned(),
        Answer::Deny {
            reason: Some(reason),
        } => format!("no: {}", line(reason, 200)),
        Answer::Text { text } => format!("“{}”", line(text, 200)),
    }
}

/// A word as a shell takes it.
pub(crate) fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,@%+".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
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
        assert_eq!(shown, "  │ +a␛[2K␍-b\n  │ -c\n  │ … 1 more lines\n");
        let long = format!("+{}", "x".repeat(DIFF_CHARS + 9));
        assert!(diff(&long, 9, &PLAIN).contains("… 10 more characters"));
    }

    #[test]
    fn details_are_shown_to_their_last_letter_or_counted() {
        let long = format!("a  b\n{}", "x".repeat(ROW_CHARS + 1));
        let rows = format!("  │ a  b\n  │ {}\n  │ x\n", "x".repeat(ROW_CHARS));
        assert_eq!(whole(&long, 3), rows);
        assert!(whole(&long, 2).ends_with("  │ … 1 more rows\n"));
    }

    #[test]
    fn words_for_a_shell_are_quoted() {
        assert_eq!(shell("write-files=src/a.rs"), "write-files=src/a.rs");
        assert_eq!(shell("tools=git.*"), "'tools=git.*'");
        assert_eq!(shell("tools=it's"), r"'tools=it'\''s'");
    }
}
