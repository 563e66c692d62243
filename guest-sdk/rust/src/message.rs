//! The values of a conversation, as the interface has them, with shorter ways to make and read them.
//!
//! It does not know where a message comes from or where a part goes.

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
