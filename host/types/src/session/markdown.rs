//! A whole session as a Markdown page for people. Texts of agents, people and tools are Markdown
//! themselves and can end anywhere, since a run can be stopped while it writes them. Each is
//! embedded so that everything that it opens is closed before the next one. Pure.
//!
//! | words | embedded |
//! |---|---|
//! | a message's text | as Markdown, whose last fence is closed and whose HTML is shown, not obeyed |
//! | reasoning | the same, as a quotation |
//! | arguments, results | in a fence longer than any that they hold |
//! | names of tools and files | as code, likewise |
//! | titles, models, details of an end | in one line |

use super::{Content, Export, ExportedRun, Message, Part, PartBody, Role, ToolCall, ToolResult};
use crate::run::RunState;
use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag};
use std::fmt::Write as _;

impl Export {
    /// Returns the session as Markdown: the title, each message with its author, tool calls as
    /// code, and why a run ended early.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let mut page = String::new();
        let unnamed = || format!("Session {}", self.session.id);
        let title = self.session.title.clone().unwrap_or_else(unnamed);
        line(&mut page, &format!("# {}", inline(&title)));
        for run in &self.runs {
            for message in &run.messages {
                write_message(&mut page, message);
            }
            if let Some(label) = label(run) {
                line(&mut page, &format!("> {label}"));
            }
        }
        page.truncate(page.trim_end().len());
        page.push('\n');
        page
    }
}

/// Writes a block, and the empty line after it.
fn line(page: &mut String, text: &str) {
    // Writing to a string cannot fail.
    let _ = write!(page, "{text}\n\n");
}

fn write_message(page: &mut String, message: &Message) {
    let who = match message.role {
        Role::User => "User",
        Role::Assistant => "Assistant",
        Role::Tool => "Tool",
        Role::System => "System",
    };
    match &message.model {
        Some(model) => line(page, &format!("## {who} ({})", inline(model))),
        None => line(page, &format!("## {who}")),
    }
    for part in &message.parts {
        write_part(page, part);
    }
}

fn write_part(page: &mut String, part: &Part) {
    match &part.body {
        PartBody::Text { text } => line(page, &embedded(text)),
        PartBody::Reasoning { text, .. } => line(page, &quoted(text)),
        PartBody::ToolCall(ToolCall { name, input, .. }) => {
            line(page, &format!("Calls {}:", code(name)));
            line(page, &fenced("json", input));
        }
        PartBody::ToolResult(result) => write_result(page, result),
        PartBody::Data {
            media_type,
            name,
            bytes,
            ..
        } => line(page, &data(name.as_deref(), media_type, *bytes)),
        PartBody::Other { kind, json } => {
            line(page, &format!("*{}*:", inline(kind)));
            line(page, &fenced("json", json));
        }
        // The run itself shows how it ended.
        PartBody::Finish { .. } => {}
    }
}

fn write_result(page: &mut String, result: &ToolResult) {
    let what = if result.is_error {
        "failed"
    } else {
        "answered"
    };
    line(page, &format!("{} {what}:", code(&result.name)));
    for content in &result.content {
        match content {
            Content::Text { text } => line(page, &fenced("", text)),
            Content::Data {
                media_type,
                name,
                bytes,
                ..
            } => line(page, &data(name.as_deref(), media_type, *bytes)),
            Content::Other { json, .. } => line(page, &fenced("json", json)),
        }
    }
}

/// Describes data by name, type and size.
fn data(name: Option<&str>, media_type: &str, bytes: u64) -> String {
    let name = name
        .map(|name| format!("{}, ", code(name)))
        .unwrap_or_default();
    format!("*{name}{}, {bytes} bytes*", inline(media_type))
}

/// Returns how a run ended that did not complete, or that has no end.
fn label(run: &ExportedRun) -> Option<String> {
    let Some(receipt) = &run.receipt else {
        return Some(format!("**{}**", run.state));
    };
    if receipt.state == RunState::Completed {
        return None;
    }
    let detail = receipt.detail.as_deref().unwrap_or_default();
    let mut label = format!("**{}** ({})", receipt.state, receipt.cause);
    if !detail.is_empty() {
        let _ = write!(label, ": {}", inline(detail));
    }
    Some(label)
}

fn quoted(text: &str) -> String {
    let embedded = embedded(text);
    // A carriage return ends a line as well.
    let lines = embedded.split(['\n', '\r']).map(|line| format!("> {line}"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Returns Markdown that can be embedded in a page: nothing that it leaves open affects what
/// follows.
fn embedded(text: &str) -> String {
    let mut text = without_html(text.trim_end());
    if let Some(fence) = open_fence(&text) {
        text.push('\n');
        text.push_str(&fence);
    }
    text
}

/// Returns the text with its HTML escaped: tags and comments that are not closed would hide or
/// reformat what follows.
fn without_html(text: &str) -> String {
    let mut text = text.to_owned();
    loop {
        let events = Parser::new(&text).into_offset_iter();
        let html =
            events.filter(|(event, _)| matches!(event, Event::Html(_) | Event::InlineHtml(_)));
        let mut begins: Vec<usize> = html
            .flat_map(|(_, range)| {
                let found = text[range.clone()].match_indices('<');
                found
                    .map(move |(at, _)| range.start + at)
                    .collect::<Vec<_>>()
            })
            .collect();
        if begins.is_empty() {
            return text;
        }
        begins.sort_unstable();
        begins.dedup();
        for at in begins.into_iter().rev() {
            text.replace_range(at..=at, "&lt;");
        }
    }
}

/// Returns the fence that closes the one that a text leaves open, if there is one. A heading ends
/// every other block.
fn open_fence(text: &str) -> Option<String> {
    let closed = format!("{text}\n\n# x");
    let mut depth = 0_usize;
    let mut last = None;
    for (event, range) in Parser::new(&closed).into_offset_iter() {
        match event {
            Event::Start(tag) => {
                if depth == 0 {
                    last = Some((tag, range.start));
                }
                depth += 1;
            }
            Event::End(_) => depth -= 1,
            _ => {}
        }
    }
    let Some((Tag::CodeBlock(CodeBlockKind::Fenced(_)), begin)) = last else {
        return None;
    };
    let opening = closed[begin..].trim_start_matches(' ');
    let mark = opening.chars().next()?;
    Some(opening.chars().take_while(|c| *c == mark).collect())
}

/// Returns words for a line, escaped so that they neither end the line nor begin HTML.
fn inline(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    words.join(" ").replace('<', "&lt;")
}

/// Returns a name as inline code.
fn code(name: &str) -> String {
    let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
    let marks = "`".repeat(longest_run(&name) + 1);
    if name.starts_with('`') || name.ends_with('`') {
        return format!("{marks} {name} {marks}");
    }
    format!("{marks}{name}{marks}")
}

/// Returns a block of code whose fence is longer than any in the text.
fn fenced(language: &str, text: &str) -> String {
    let fence = "`".repeat(3.max(longest_run(text) + 1));
    format!("{fence}{language}\n{}\n{fence}", text.trim_end())
}

/// Returns the length of the longest sequence of backticks.
fn longest_run(text: &str) -> usize {
    let mut longest = 0;
    let mut length = 0;
    for character in text.chars() {
        length = if character == '`' { length + 1 } else { 0 };
        longest = longest.max(length);
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_is_longer_than_what_it_holds() {
        assert_eq!(fenced("", "a"), "```\na\n```");
        assert_eq!(fenced("md", "````\nb"), "`````md\n````\nb\n`````");
        assert_eq!(code("a`b"), "``a`b``");
        assert_eq!(code("`"), "`` ` ``");
    }

    #[test]
    fn reasoning_is_quoted_line_by_line() {
        assert_eq!(quoted("a\nb\n"), "> a\n> b");
        assert_eq!(quoted("a\r```"), "> a\n> ```\n> ```");
    }

    #[test]
    fn whole_texts_stay_as_they_are() {
        for text in [
            "plain\n\n* a\n* b",
            "```rust\nfn f() -> Vec<u8> {}\n```\nafter",
            "- ```\n  code\n  ```\n- more",
            "- ```\n  open within a list, which ends\n\nafter",
            "> ```\n> open within a quotation",
            "~~~\n```\n~~~",
            "`<b>` and <https://example.org> and 1 < 2",
            "    ```\n    indented",
        ] {
            assert_eq!(embedded(text), text);
        }
    }

    #[test]
    fn what_is_open_is_closed() {
        for (text, expected) in [
            ("a\n```rust\nfn f() {", "a\n```rust\nfn f() {\n```"),
            ("~~~~\n~~~", "~~~~\n~~~\n~~~~"),
            (
                "- a\n\n  ```````\n``````` x\n```",
                "- a\n\n  ```````\n``````` x\n```\n```````",
            ),
            ("```", "```\n```"),
            ("a <!-- b", "a <!-- b"),
            ("<!-- b\n\nc", "&lt;!-- b\n\nc"),
            ("<details>\n\nx", "&lt;details>\n\nx"),
            ("a <s>b", "a &lt;s>b"),
            ("<pre>\n```\n<b>\n", "&lt;pre>\n```\n&lt;b>\n```"),
        ] {
            let shown = embedded(text);
            assert_eq!(shown, expected);
            assert_eq!(open_fence(&shown), None, "{shown}");
        }
    }
}
