//! A model's answer as a typed value: requests it with a schema, parses it, and asks again with the
//! error if it does not fit.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::model::{Event, Request};
use crate::run_tools::{HostTools, Steps, ToolLoop};
use crate::{Code, Error, Result, ToolResult, Turn};

/// How often a model may correct an answer that does not fit.
const REPAIRS_MAX: u32 = 2;

/// The largest number of bytes of a rejected answer that the model is shown again.
const SHOWN_BYTES_MAX: usize = 16 * 1024;

impl<C> Turn<C> {
    /// Asks a model for a value that fits a JSON Schema. The answer is not part of the transcript.
    /// An answer that does not fit is sent back to the model with the error, at most twice. If the
    /// request includes the conversation
    /// ([`Context::SinceSummary`](crate::model::Context::SinceSummary)) and that does not fit the
    /// model's window, its older part is summarised, and the request is sent again.
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
    /// As for [`Model::complete`](crate::model::Model::complete), or `invalid` with the last error
    /// of the parser.
    pub fn ask_json<T: DeserializeOwned>(&self, request: Request, schema: &Value) -> Result<T> {
        let mut request = request.output_schema(schema);
        let mut repairs = 0;
        loop {
            let heard = match self.hear(&request) {
                Err(error) if error.is_context_overflow() && request.has_conversation() => {
                    self.hear_with_room(&request, error)
                }
                heard => heard,
            };
            let (text, finish) = heard?;
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
                return Err(Error::new(Code::Invalid, message));
            }
            repairs += 1;
            request = request.assistant(shown(&text)).user(format!(
                "That does not fit: {error}. Answer again, with nothing but JSON that fits this \
                 schema:\n{schema}"
            ));
        }
    }

    fn hear_with_room(&self, request: &Request, refusal: Error) -> Result<(String, String)> {
        let tool_loop = ToolLoop::new()
            .request(request.clone())
            .host_tools(HostTools::None);
        let mut steps = Steps::begin(self, tool_loop)?;
        steps.send_with_room(refusal, |_| self.hear(request))
    }

    /// Returns the text of an answer without adding it to the transcript, and why the answer ended.
    fn hear(&self, request: &Request) -> Result<(String, String)> {
        let mut text = String::new();
        let mut finish = String::new();
        for event in self.model().complete(request.clone())? {
            match event? {
                Event::Text(delta) => text.push_str(&delta),
                Event::Finish(reason) => finish = reason,
                // No tools were offered. A call is recorded all the same, and needs a result.
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

/// Returns the beginning of an answer, or a placeholder for an empty one, since some services
/// refuse an empty message.
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

/// Parses the value in an answer, and ignores text around it. The error is that of parsing the
/// whole answer.
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
    use crate::model::Context;
    use crate::testing::{Host, Overflow, Reply};

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
    fn a_conversation_that_does_not_fit_is_summarised() {
        let long = |host: Host| {
            (0..20).fold(host, |host, _| {
                host.message(
                    crate::Role::User,
                    vec![crate::Part::text("x".repeat(1_000))],
                )
            })
        };
        let ask = |host: &Host, context: Context| {
            let request = Request::new().context(context).user("Where?");
            let schema = serde_json::json!({ "type": "object" });
            host.turn("Where?", |turn: &Turn<()>| {
                turn.ask_json::<Point>(request, &schema)
            })
        };
        let host = long(Host::new())
            .overflow(Overflow::above(8_000))
            .reply_to("account so far", Reply::text("They said x."))
            .reply(Reply::text(r#"{"x":7}"#));
        assert_eq!(ask(&host, Context::SinceSummary).unwrap(), Point { x: 7 });
        assert_eq!(host.summaries().len(), 1);

        // If a request names where its context begins, the agent itself has to shorten it.
        let host = long(Host::new()).overflow(Overflow::above(8_000));
        let error = ask(&host, Context::Since("message-1".into())).unwrap_err();
        assert!(error.is_context_overflow());
        assert_eq!(host.requests().len(), 1);
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
