//! A whole session as one value, to be taken elsewhere, and as a page for people. Pure; knows
//! no storage.

use super::{Content, Message, Part, PartBody, Role, SessionRecord, ToolCall, ToolResult};
use crate::id::RunId;
use crate::run::{Receipt, RunState};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// A session with everything that its runs said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Export {
    /// The session.
    pub session: SessionRecord,
    /// Its runs, in the order of acceptance.
    pub runs: Vec<ExportedRun>,
}

/// A run with its messages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ExportedRun {
    /// Its id.
    pub id: RunId,
    /// Where it stands.
    pub state: RunState,
    /// Its end, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
    /// What was said: what has a place in the history first, in order.
    pub messages: Vec<Message>,
}

impl Export {
    /// The same as Markdown: the title, who spoke, tool calls as code, and why a run ended
    /// early.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let mut page = String::new();
        let unnamed = || format!("Session {}", self.session.id);
        let title = self.session.title.clone().unwrap_or_else(unnamed);
        line(&mut page, &format!("# {title}"));
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

/// A block, and the empty line behind it.
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
        Some(model) => line(page, &format!("## {who} ({model})")),
        None => line(page, &format!("## {who}")),
    }
    for part in &message.parts {
        write_part(page, part);
    }
}

fn write_part(page: &mut String, part: &Part) {
    match &part.body {
        PartBody::Text { text } => line(page, text.trim_end()),
        PartBody::Reasoning { text, .. } => line(page, &quoted(text)),
        PartBody::ToolCall(ToolCall { name, input, .. }) => {
            line(page, &format!("Calls `{name}`:"));
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
            line(page, &format!("*{kind}*:"));
            line(page, &fenced("json", json));
        }
        // The run says how it ended.
        PartBody::Finish { .. } => {}
    }
}

fn write_result(page: &mut String, result: &ToolResult) {
    let what = if result.is_error {
        "failed"
    } else {
        "answered"
    };
    line(page, &format!("`{}` {what}:", result.name));
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

/// Bytes, by name, type and size.
fn data(name: Option<&str>, media_type: &str, bytes: u64) -> String {
    let name = name.map(|name| format!("`{name}`, ")).unwrap_or_default();
    format!("*{name}{media_type}, {bytes} bytes*")
}

/// How a run ended that did not complete, or that has no end.
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
        let _ = write!(label, ": {}", detail.replace('\n', " "));
    }
    Some(label)
}

fn quoted(text: &str) -> String {
    let lines: Vec<_> = text
        .trim_end()
        .lines()
        .map(|line| format!("> {line}"))
        .collect();
    lines.join("\n")
}

/// A block of code whose fence is longer than any that stands in it.
fn fenced(language: &str, text: &str) -> String {
    let mut longest = 0;
    let mut length = 0;
    for character in text.chars() {
        length = if character == '`' { length + 1 } else { 0 };
        longest = longest.max(length);
    }
    let fence = "`".repeat(3.max(longest + 1));
    format!("{fence}{language}\n{}\n{fence}", text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_is_longer_than_what_it_holds() {
        assert_eq!(fenced("", "a"), "```\na\n```");
        assert_eq!(fenced("md", "````\nb"), "`````md\n````\nb\n`````");
    }

    #[test]
    fn reasoning_is_quoted_line_by_line() {
        assert_eq!(quoted("a\nb\n"), "> a\n> b");
    }
}
