//! An answer of a model as a value: asked for with a schema, read, and asked for again with the
//! mistake named.
//!
//! It does not know what the value is for.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::model::{Event, Request};
use crate::{Error, Result, ToolResult, Turn};

/// How often a model may mend an answer that does not fit.
const REPAIRS_MAX: u32 = 2;

/// Bytes of an answer that a model is shown again.
const SHOWN_BYTES_MAX: usize = 16 * 1024;

impl<C> Turn<C> {
    /// Asks a model for a value that fits a JSON Schema. The answer is not part of the
    /// transcript. One that does not fit goes back to the model with the reason, twice at the
    /// most.
    ///
    /// ```
    /// # use lastword_guest::prelude::*;
    /// #[derive(serde::Deserialize)]
    /// struct Mood {
    ///     cheerful: bool,
    /// }
    ///
    /// fn is_cheerful(turn: &Turn<()>) -> Result<bool> {
    ///     let schema = serde_json::json!({
    ///         "type": "object",
    ///         "properties": { "cheerful": { "type": "boolean" } },
    ///         "required": ["cheerful"],
    ///         "additionalProperties": false,
    ///     });
    ///     let request = Request::new().user(format!("What mood is this?\n{}", turn.prompt()));
    ///     Ok(turn.ask_json::<Mood>(request, &schema)?.cheerful)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Model::complete`](crate::model::Model::complete), or `invalid` with the last mistake.
    pub fn ask_json<T: DeserializeOwned>(&self, request: Request, schema: &Value) -> Result<T> {
        let mut request = request.output_schema(schema);
        let mut repairs = 0;
        loop {
            let (text, finish) = self.hear(&request)?;
            let error = match read(&text) {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            if repairs == REPAIRS_MAX {
                let end = match finish.as_str() {
                    "max_tokens" => "; it was cut off at its longest length",
                    _ => "",
                };
                let message = format!("the model's answer does not fit: {error}{end}");
                return Err(Error::new("invalid", message));
            }
            repairs += 1;
            request = request.assistant(shown(&text)).user(format!(
                "That does not fit: {error}. Answer again, with nothing but JSON that fits this \
                 schema:\n{schema}"
            ));
        }
    }

    /// The text of an answer, which is kept out of the transcript, and why it ended.
    fn hear(&self, request: &Request) -> Result<(String, String)> {
        let mut text = String::new();
        let mut finish = String::new();
        for event in self.model().complete(request.clone())? {
            match event? {
                Event::Text(delta) => text.push_str(&delta),
                Event::Finish(reason) => finish = reason,
                // No tools were offered; a call is recorded all the same, and needs a result.
                Event::Part(part) => {
                    if let Some(call) = part.as_tool_call() {
                        let refused = ToolResult::error(&call.id, "no tools can be called here");
                        self.record_result(&refused)?;
                    }
                }
                _ => {}
            }
        }
        Ok((text, finish))
    }
}

/// The beginning of an answer; an empty one is no message that every service takes.
fn shown(text: &str) -> &str {
    let mut end = text.len().min(SHOWN_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    match text[..end].trim() {
        "" => "(nothing)",
        shown => shown,
    }
}

/// The value in an answer, whatever stands around it. The error is that of the whole.
fn read<T: DeserializeOwned>(text: &str) -> std::result::Result<T, serde_json::Error> {
    let whole = serde_json::from_str(text);
    let Err(error) = whole else { return whole };
    let begin = text.find(['{', '[']);
    let end = text.rfind(['}', ']']);
    match (begin, end) {
        (Some(begin), Some(end)) if begin < end && text[..begin].trim() != "" => {
            serde_json::from_str(&text[begin..=end])
        }
        (Some(begin), Some(end)) if begin < end && text[end + 1..].trim() != "" => {
            serde_json::from_str(&text[begin..=end])
        }
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Host, Reply};

    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Point {
        x: i32,
    }

    fn ask(host: &Host) -> Result<Point> {
        let schema = serde_json::json!({ "type": "object" });
        host.turn("Where?", |turn: &Turn<()>| {
            turn.ask_json(Request::new().user("Where?"), &schema)
        })
    }

    #[test]
    fn a_value_is_read_whatever_stands_around_it() {
        for text in [
            r#"{"x":1}"#,
            " {\"x\":1}\n",
            "```json\n{\"x\":1}\n```",
            "Here it is: {\"x\":1}. Anything else?",
            "{\"x\":1}\nAnything else?",
        ] {
            assert_eq!(read::<Point>(text).unwrap(), Point { x: 1 }, "{text}");
        }
        for text in ["", "nothing", "}{", "[", "ä{", "{\"x\":"] {
            read::<Point>(text).unwrap_err();
        }
    }

    #[test]
    fn an_answer_that_fits_is_the_value_and_stays_out_of_the_transcript() {
        let host = Host::new().reply(Reply::text(r#"{"x":7}"#));
        assert_eq!(ask(&host).unwrap(), Point { x: 7 });
        assert_eq!(host.text(), "");
        let asked = &host.requests()[0];
        assert_eq!(asked.output_schema.as_deref(), Some(r#"{"type":"object"}"#));
    }

    #[test]
    fn a_mistake_is_shown_and_may_be_mended() {
        let host = Host::new()
            .reply(Reply::text("It is far"))
            .reply(Reply::text(r#"{"x":"far"}"#))
            .reply(Reply::text(r#"{"x":-3}"#));
        assert_eq!(ask(&host).unwrap(), Point { x: -3 });
        let last = &host.requests()[2];
        assert_eq!(last.messages.len(), 5);
        assert!(last.last_text().contains("invalid type: string \"far\""));
    }

    #[test]
    fn three_mistakes_are_an_error() {
        let host = Host::new()
            .reply(Reply::text("no"))
            .reply(Reply::text(""))
            .reply(Reply::text("{").finish("max_tokens"));
        let error = ask(&host).unwrap_err();
        assert_eq!(error.code(), "invalid");
        assert!(error.message().ends_with("its longest length"), "{error}");
    }
}
