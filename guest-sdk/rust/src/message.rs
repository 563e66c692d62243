//! The values of a conversation, as the interface has them, with shorter ways to make and read them.

pub use crate::bindings::types::{
    Blob, Body, Content, Extra, Message, Part, Role, Source, ToolCall, ToolResult, Usage,
};

impl From<Body> for Part {
    fn from(body: Body) -> Self {
        Self {
            body,
            extra: Vec::new(),
        }
    }
}

impl Part {
    /// Text.
    pub fn text(text: impl Into<String>) -> Self {
        Body::Text(text.into()).into()
    }

    /// Reasoning, which stands beside the answer.
    pub fn reasoning(text: impl Into<String>) -> Self {
        Body::Reasoning(text.into()).into()
    }

    /// Bytes of a media type.
    pub fn data(media_type: impl Into<String>, bytes: Vec<u8>) -> Self {
        Body::Data(Blob::inline(media_type, bytes)).into()
    }

    /// Bytes of a media type, with the name of a file.
    pub fn file(media_type: impl Into<String>, name: impl Into<String>, bytes: Vec<u8>) -> Self {
        Body::Data(Blob {
            name: Some(name.into()),
            ..Blob::inline(media_type, bytes)
        })
        .into()
    }

    /// A tool call that the agent serves itself; its result goes to
    /// [`Turn::record_result`](crate::Turn::record_result).
    pub fn tool_call(
        id: impl Into<String>,
        name: impl Into<String>,
        arguments_json: impl Into<String>,
    ) -> Self {
        Body::ToolCall(ToolCall {
            id: id.into(),
            name: name.into(),
            arguments_json: arguments_json.into(),
        })
        .into()
    }

    /// The text, if it is a text part.
    pub fn as_text(&self) -> Option<&str> {
        match &self.body {
            Body::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The bytes, or where they are, if it is a data part.
    /// [`Turn::bytes`](crate::Turn::bytes) reads them.
    pub fn as_data(&self) -> Option<&Blob> {
        match &self.body {
            Body::Data(blob) => Some(blob),
            _ => None,
        }
    }

    /// The call, if it is a tool call.
    pub fn as_tool_call(&self) -> Option<&ToolCall> {
        match &self.body {
            Body::ToolCall(call) => Some(call),
            _ => None,
        }
    }

    /// Whether it is a tool call that was cut off before it was whole. It is never carried out,
    /// whatever its arguments are.
    pub fn is_incomplete(&self) -> bool {
        let marked = |(name, json): &(String, String)| name == "incomplete" && json == "true";
        self.as_tool_call().is_some() && self.extra.iter().any(marked)
    }

    /// The result, if it is a tool's.
    pub fn as_tool_result(&self) -> Option<&ToolResult> {
        match &self.body {
            Body::ToolResult(result) => Some(result),
            _ => None,
        }
    }
}

impl Blob {
    /// Bytes in place, without a name.
    pub fn inline(media_type: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self {
            media_type: media_type.into(),
            name: None,
            source: Source::Inline(bytes),
        }
    }
}

impl Message {
    /// The text parts, joined.
    pub fn text(&self) -> String {
        joined_text(&self.parts)
    }
}

impl Usage {
    /// No tokens.
    pub fn none() -> Self {
        Self {
            input_tokens: 0,
            output_tokens: 0,
            extra: Vec::new(),
        }
    }

    /// Adds the tokens of another answer. Counts in `extra`, such as `cache_read_tokens`, are
    /// summed by their names; other values there are left out.
    pub fn add(&mut self, other: &Self) {
        self.input_tokens = self.input_tokens.saturating_add(other.input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(other.output_tokens);
        for (name, json) in &other.extra {
            let Ok(more) = json.parse::<u64>() else {
                continue;
            };
            match self.extra.iter_mut().find(|(own, _)| own == name) {
                Some((_, total)) => {
                    let sum = total.parse::<u64>().unwrap_or(0).saturating_add(more);
                    *total = sum.to_string();
                }
                None => self.extra.push((name.clone(), json.clone())),
            }
        }
    }
}

impl ToolResult {
    /// A result of text.
    pub fn text(call_id: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            call_id: call_id.into(),
            content: vec![Content::Text(text.into())],
            structured_json: None,
            is_error: false,
        }
    }

    /// A result that says what went wrong.
    pub fn error(call_id: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            is_error: true,
            ..Self::text(call_id, message)
        }
    }

    /// The text of the content, joined.
    pub fn joined_text(&self) -> String {
        let texts = self.content.iter().map(|content| match content {
            Content::Text(text) => text.as_str(),
            _ => "",
        });
        texts.collect()
    }
}

/// The text parts among `parts`, one after the other as they were written.
pub(crate) fn joined_text(parts: &[Part]) -> String {
    parts.iter().filter_map(Part::as_text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_add_up_by_their_names() {
        let usage = |input_tokens, extra: &[(&str, &str)]| Usage {
            input_tokens,
            output_tokens: 1,
            extra: extra
                .iter()
                .map(|(name, json)| ((*name).into(), (*json).into()))
                .collect(),
        };
        let mut total = Usage::none();
        total.add(&usage(
            5,
            &[("cache_read_tokens", "3"), ("tier", "\"batch\"")],
        ));
        total.add(&usage(
            u64::MAX,
            &[("cache_read_tokens", "4"), ("cache_write_tokens", "1")],
        ));
        let expected = usage(
            u64::MAX,
            &[("cache_read_tokens", "7"), ("cache_write_tokens", "1")],
        );
        assert_eq!(
            total,
            Usage {
                output_tokens: 2,
                ..expected
            }
        );
    }

    #[test]
    fn only_a_call_that_was_marked_is_incomplete() {
        let mut call = Part::tool_call("1", "read", "{}");
        assert!(!call.is_incomplete());
        call.extra.push(("incomplete".into(), "true".into()));
        assert!(call.is_incomplete());
        let text = Part {
            extra: call.extra,
            ..Part::text("half")
        };
        assert!(!text.is_incomplete());
    }

    #[test]
    fn only_text_is_joined() {
        let parts = [
            Part::text("one "),
            Part::reasoning("hm"),
            Part::data("image/png", vec![1]),
            Part::text("two"),
        ];
        assert_eq!(joined_text(&parts), "one two");
    }
}
