//! Requests to a language model through the host.

use std::marker::PhantomData;

use crate::bindings::model;
use crate::host::model as imports;
use crate::tools::ToolSpec;
use crate::{FinishReason, Part, Result, Role, ToolChoice};

pub use crate::bindings::model::{Context, Event, Input, ModelInfo, Reply};

/// The models that the host lets this run ask.
#[derive(Clone, Copy, Debug)]
pub struct Model<'turn> {
    turn: PhantomData<&'turn ()>,
}

impl Model<'_> {
    pub(crate) fn new() -> Self {
        Self { turn: PhantomData }
    }

    /// Asks one question without the conversation so far, and returns the text of the answer while
    /// it arrives.
    ///
    /// # Errors
    ///
    /// As [`complete`](Self::complete).
    pub fn ask(&self, question: impl Into<String>) -> Result<Deltas> {
        let completion = self.complete(Request::new().user(question))?;
        Ok(completion.into_text())
    }

    /// Sends a request. Returns once the request is under way.
    ///
    /// # Errors
    ///
    /// `denied` without the capability `model`, `cancelled` when the run is being stopped, `limit`
    /// for a request that is longer than the model's window
    /// ([`is_context_overflow`](crate::Error::is_context_overflow)), and otherwise the host's
    /// failure. The host has already repeated requests that failed for a passing reason.
    pub fn complete(&self, request: Request) -> Result<Completion> {
        let inner = imports::complete(&request.into())?;
        Ok(Completion {
            inner,
            ended: false,
        })
    }

    /// Returns the models that this run may ask, the session's own model first.
    ///
    /// # Errors
    ///
    /// `cancelled` or `denied`.
    pub fn models(&self) -> Result<Vec<ModelInfo>> {
        Ok(imports::models()?)
    }
}

/// A request to a model. A new one has no context: add the conversation with
/// [`context`](Self::context), questions with [`user`](Self::user), or both.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a request is sent by `Model::complete`"]
pub struct Request {
    inner: model::Request,
}

impl Default for Request {
    fn default() -> Self {
        Self::new()
    }
}

impl Request {
    /// Creates a request to the session's own model, with the host's default for every setting.
    pub fn new() -> Self {
        Self {
            inner: model::Request {
                model: None,
                context: Context::None,
                messages: Vec::new(),
                system: None,
                tools: Vec::new(),
                tool_choice: None,
                output_schema_json: None,
                stop: Vec::new(),
                max_output_tokens: None,
                temperature: None,
                extra: Vec::new(),
            },
        }
    }

    /// Sets the name of the model, instead of the session's own model.
    pub fn model(mut self, name: impl Into<String>) -> Self {
        self.inner.model = Some(name.into());
        self
    }

    /// Returns the name of the model, if one was set.
    pub(crate) fn model_name(&self) -> Option<&str> {
        self.inner.model.as_deref()
    }

    /// Returns a request to the same model with the same settings, but without a system prompt,
    /// messages and tools.
    pub(crate) fn anew(&self) -> Self {
        let mut request = Self::new();
        request.inner.model.clone_from(&self.inner.model);
        request.inner.max_output_tokens = self.inner.max_output_tokens;
        request.inner.temperature = self.inner.temperature;
        request.inner.extra.clone_from(&self.inner.extra);
        request
    }

    /// Whether the host puts the conversation, with its summary, in front of the request's
    /// messages.
    pub(crate) fn has_conversation(&self) -> bool {
        self.inner.context == Context::SinceSummary
    }

    /// Returns the request's own content without the conversation: its texts, and the parts of its
    /// messages.
    pub(crate) fn own_content(&self) -> (impl Iterator<Item = &str>, impl Iterator<Item = &Part>) {
        let inner = &self.inner;
        let tools = inner.tools.iter();
        let tools = tools.flat_map(|tool| [&tool.name, &tool.description, &tool.parameters_json]);
        let texts = inner.system.iter().chain(tools).map(String::as_str);
        let parts = inner.messages.iter().flat_map(|message| &message.parts);
        (texts, parts)
    }

    /// Sets what the host puts in front of the request's messages. With [`Context::SinceSummary`]
    /// that is the conversation up to now. It includes this run's prompt, which the request then
    /// need not repeat.
    pub fn context(mut self, context: Context) -> Self {
        self.inner.context = context;
        self
    }

    /// Sets the system prompt.
    pub fn system(mut self, text: impl Into<String>) -> Self {
        self.inner.system = Some(text.into());
        self
    }

    /// Adds a message of the user.
    pub fn user(self, text: impl Into<String>) -> Self {
        self.message(Role::User, vec![Part::text(text)])
    }

    /// Adds a message of the assistant.
    pub fn assistant(self, text: impl Into<String>) -> Self {
        self.message(Role::Assistant, vec![Part::text(text)])
    }

    /// Adds a message.
    pub fn message(mut self, role: Role, parts: Vec<Part>) -> Self {
        self.inner.messages.push(Input { role, parts });
        self
    }

    /// Adds a part to the last message if the user wrote that one, and otherwise as a new message
    /// of the user. For example a picture below a question.
    pub fn part(mut self, part: Part) -> Self {
        match self.inner.messages.last_mut() {
            Some(last) if last.role == Role::User => last.parts.push(part),
            _ => return self.message(Role::User, vec![part]),
        }
        self
    }

    /// Adds tools that the model may call.
    pub fn tools(mut self, tools: impl IntoIterator<Item = ToolSpec>) -> Self {
        self.inner.tools.extend(tools);
        self
    }

    /// Sets whether the model should call a tool. [`ToolChoice::Tool`] names one tool.
    pub fn tool_choice(mut self, choice: impl Into<ToolChoice>) -> Self {
        self.inner.tool_choice = Some(choice.into().into());
        self
    }

    /// Sets a JSON Schema that the answer has to fit. [`Turn::ask_json`](crate::Turn::ask_json)
    /// sets it and parses the answer.
    pub fn output_schema(mut self, schema: &serde_json::Value) -> Self {
        self.inner.output_schema_json = Some(schema.to_string());
        self
    }

    /// Adds a text at which the model ends its answer.
    pub fn stop(mut self, text: impl Into<String>) -> Self {
        self.inner.stop.push(text.into());
        self
    }

    /// Sets the largest length of the answer, in tokens.
    pub fn max_output_tokens(mut self, tokens: u32) -> Self {
        self.inner.max_output_tokens = Some(tokens);
        self
    }

    /// Sets the temperature: how much answers to the same request may vary. 0 is the least.
    pub fn temperature(mut self, temperature: f32) -> Self {
        self.inner.temperature = Some(temperature);
        self
    }

    /// Adds a named JSON value for the provider.
    pub fn extra(mut self, name: impl Into<String>, value: &serde_json::Value) -> Self {
        self.inner.extra.push((name.into(), value.to_string()));
        self
    }
}

impl From<Request> for model::Request {
    fn from(request: Request) -> Self {
        request.inner
    }
}

impl Reply {
    /// Returns why the answer ended: its `finish`.
    pub fn reason(&self) -> FinishReason {
        self.finish.as_str().into()
    }
}

/// An answer that is under way: an iterator over its events. It ends after the first error.
/// Dropping it cancels the request.
#[derive(Debug)]
pub struct Completion {
    inner: imports::Completion,
    ended: bool,
}

impl Completion {
    /// Streams the rest of the answer into the transcript, text and reasoning alike, and returns
    /// the whole answer. The deltas do not pass through the agent, which makes this the cheapest
    /// way to answer.
    ///
    /// # Errors
    ///
    /// The host's failure. What had arrived by then stays in the transcript.
    pub fn to_transcript(&self) -> Result<Reply> {
        Ok(self.inner.to_transcript()?)
    }

    /// Returns an iterator over the text alone.
    pub fn into_text(self) -> Deltas {
        Deltas { events: self }
    }
}

impl Iterator for Completion {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let event = self.inner.next().transpose();
        self.ended = !matches!(event, Some(Ok(_)));
        event.map(|event| Ok(event?))
    }
}

/// The text of an answer, in pieces as they arrive.
#[derive(Debug)]
pub struct Deltas {
    events: Completion,
}

impl Iterator for Deltas {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Self::Item> {
        self.events.find_map(|event| match event {
            Ok(Event::Text(text)) => Some(Ok(text)),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_says_what_was_put_in() {
        let request = Request::new()
            .context(Context::SinceSummary)
            .system("Be brief")
            .user("Why?")
            .stop("END")
            .max_output_tokens(7)
            .inner;
        assert_eq!(request.system.as_deref(), Some("Be brief"));
        assert_eq!(request.context, Context::SinceSummary);
        assert_eq!(request.messages[0].parts, [Part::text("Why?")]);
        assert_eq!(request.stop, ["END"]);
        assert_eq!((request.model, request.max_output_tokens), (None, Some(7)));
    }

    #[test]
    fn a_part_stands_below_the_question_that_it_belongs_to() {
        let picture = || Part::file("image/png", "a.png", vec![1]);
        let request = Request::new().user("What is this?").part(picture()).inner;
        assert_eq!(request.messages.len(), 1);
        assert_eq!(request.messages[0].parts[1], picture());
        let request = Request::new().assistant("Show me").part(picture()).inner;
        assert_eq!(request.messages[1].role, Role::User);
    }
}
