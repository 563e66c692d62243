//! Renders messages as text for a model that summarises them. Pure.

use std::borrow::Cow;
use std::fmt::Write;

use crate::{Body, Content, Message, Part, Role, ToolResult};

/// Returns a message as text, with at most this number of bytes of each part. Reasoning is left
/// out; of data only the name and type are shown.
pub(super) fn message(message: &Message, part_bytes_max: usize) -> String {
    let role = match message.role {
        Role::User => "User",
        Role::Assistant => "Assistant",
        Role::Tool => "Tools",
        Role::System => "System",
    };
    let mut text = format!("# {role}\n");
    for part in &message.parts {
        if let Some(part) = rendered(part) {
            text.push_str(&excerpt(&part, part_bytes_max));
            text.push('\n');
        }
    }
    text
}

fn rendered(part: &Part) -> Option<Cow<'_, str>> {
    Some(match &part.body {
        Body::Text(text) => Cow::Borrowed(text.as_str()),
        Body::Reasoning(_) => return None,
        Body::ToolCall(call) if part.is_incomplete() => {
            format!("[cut off: call {} of `{}`]", call.id, call.name).into()
        }
        Body::ToolCall(call) => format!(
            "[call {} of `{}`] {}",
            call.id, call.name, call.arguments_json
        )
        .into(),
        Body::ToolResult(result) => result_text(result).into(),
        Body::Data(blob) => {
            let name = blob.name.as_deref().unwrap_or("without a name");
            format!("[data: {}, {name}]", blob.media_type).into()
        }
        Body::Other((kind, _)) => format!("[{kind}]").into(),
    })
}

fn result_text(result: &ToolResult) -> String {
    let outcome = if result.is_error { "error" } else { "result" };
    let mut text = format!("[{outcome} of {}] ", result.call_id);
    for content in &result.content {
        let written = match content {
            Content::Text(words) => text.write_str(words),
            Content::Data(blob) => write!(text, "[data: {}]", blob.media_type),
            Content::Other((kind, _)) => write!(text, "[{kind}]"),
        };
        written.expect("a string takes all that is written to it");
    }
    text
}

/// Returns a text of about this number of bytes: the whole text, or its beginning and its end with
/// a note between them that says how much is left out.
pub(super) fn excerpt(text: &str, bytes_max: usize) -> Cow<'_, str> {
    if text.len() <= bytes_max {
        return Cow::Borrowed(text);
    }
    let begin = text.floor_char_boundary(bytes_max / 4 * 3);
    let end = text.ceil_char_boundary(text.len() - bytes_max / 4);
    let gone = end - begin;
    Cow::Owned(format!(
        "{}\n[… {gone} bytes are left out here …]\n{}",
        &text[..begin],
        &text[end..]
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_who_and_what() {
        let call = Part::tool_call("1", "read_file", r#"{"path":"a"}"#);
        let cut = Part {
            extra: vec![("incomplete".into(), "true".into())],
            ..Part::tool_call("2", "read_file", "{\"pa")
        };
        let result = |result| Part::from(Body::ToolResult(result));
        let text = |role, parts| {
            message(
                &Message {
                    id: "m".into(),
                    role,
                    parts,
                    finish: None,
                    created_ms: 0,
                    extra: Vec::new(),
                },
                80,
            )
        };
        assert_eq!(
            text(
                Role::User,
                vec![
                    Part::text("Look"),
                    Part::file("image/png", "a.png", vec![1])
                ]
            ),
            "# User\nLook\n[data: image/png, a.png]\n"
        );
        assert_eq!(
            text(
                Role::Assistant,
                vec![Part::reasoning("Hm"), Part::text("I look."), call, cut]
            ),
            "# Assistant\nI look.\n[call 1 of `read_file`] {\"path\":\"a\"}\n\
             [cut off: call 2 of `read_file`]\n"
        );
        assert_eq!(
            text(Role::Tool, vec![result(ToolResult::error("1", "gone"))]),
            "# Tools\n[error of 1] gone\n"
        );
        let long = text(
            Role::Tool,
            vec![result(ToolResult::text("1", "x".repeat(1000)))],
        );
        assert!(
            long.contains("bytes are left out here") && long.len() < 200,
            "{long}"
        );
    }

    #[test]
    fn an_excerpt_is_short_and_whole_characters() {
        assert_eq!(excerpt("whole", 5), "whole");
        for bytes in 0..60 {
            let text = excerpt(&"ä€😀x".repeat(20), bytes).into_owned();
            assert!(text.contains("left out here"), "{bytes}");
            assert!(text.len() <= bytes + 60, "{bytes}: {}", text.len());
        }
    }
}
