//! The values of a conversation as the interface defines them, with shorter ways to create and read
//! them.

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
    /// Creates a text part.
    pub fn text(text: impl Into<String>) -> Self {
        Body::Text(text.into()).into()
    }

    /// Creates a reasoning part, which is shown apart from the answer.
    pub fn reasoning(text: impl Into<String>) -> Self {
        Body::Reasoning(text.into()).into()
    }

    /// Creates a data part from bytes and their media type.
    pub fn data(media_type: impl Into<String>, bytes: Vec<u8>) -> Self {
        Body::Data(Blob::inline(media_type, bytes)).into()
    }

    /// Creates a data part from bytes, their media type and a file name.
    pub fn file(media_type: impl Into<String>, name: impl Into<String>, bytes: Vec<u8>) -> Self {
        Body::Data(Blob {
            name: Some(name.into()),
            ..Blob::inline(media_type, bytes)
        })
        .into()
    }

    /// Creates a tool call that the agent serves itself. Pass its result to
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

    /// Returns the text, if this is a text part.
    pub fn as_text(&self) -> Option<&str> {
        match &self.body {
            Body::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the bytes or the id under which the host keeps them, if this is a data part.
    /// [`Turn::bytes`](crate::Turn::bytes) reads both kinds.
    pub fn as_data(&self) -> Option<&Blob> {
        match &self.body {
            Body::Data(blob) => Some(blob),
            _ => None,
        }
    }

    /// Returns the call, if this is a tool call.
    pub fn as_tool_call(&self) -> Option<&ToolCall> {
        match &self.body {
            Body::ToolCall(call) => Some(call),
            _ => None,
        }
    }

    /// Whether this is a tool call that was cut off before it was complete. Such a call is never
    /// carried out, whatever its arguments are.
    pub fn is_incomplete(&self) -> bool {
        let marked = |(name, json): &(String, String)| name == "incomplete" && json == "true";
        self.as_tool_call().is_some() && self.extra.iter().any(marked)
    }

    /// Returns the result, if this is a tool result.
    pub fn as_tool_result(&self) -> Option<&ToolResult> {
        match &self.body {
            Body::ToolResult(result) => Some(result),
            _ => None,
        }
    }
}

impl Blob {
    /// Creates a blob that holds its bytes itself, without a name.
    pub fn inline(media_type: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self {
            media_type: media_type.into(),
            name: None,
            source: Source::Inline(bytes),
        }
    }
}

impl Message {
    /// Returns the text parts, joined.
    pub fn text(&self) -> String {
        joined_text(&self.parts)
    }
}

impl Usage {
    /// Returns a usage of no tokens.
    pub fn none() -> Self {
        Self {
            input_tokens: 0,
            output_tokens: 0,
            extra: Vec::new(),
        }
    }

    /// Adds the tokens of another answer. Counts in `extra`, such as `cache_read_tokens`, are added
    /// by name; other values in `extra` are left out.
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
    /// Creates a result with a text.
    pub fn text(call_id: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            call_id: call_id.into(),
            content: vec![Content::Text(text.into())],
            structured_json: None,
            is_error: false,
        }
    }

    /// Creates a result that reports an error.
    pub fn error(call_id: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            is_error: true,
            ..Self::text(call_id, message)
        }
    }

    /// Returns the texts of the content, joined.
    pub fn joined_text(&self) -> String {
        let texts = self.content.iter().map(|content| match content {
            Content::Text(text) => text.as_str(),
            _ => "",
        });
        texts.collect()
    }
}

/// Returns the text parts among `parts`, joined in their order.
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
