//! A scripted model for tests and demonstrations: the same events on every run, including failures
//! and silences, and a record of its requests. Needs no network; delays are by the host's clock.

use super::provider::{
    CallContext, ModelError, ModelErrorKind, ModelEvent, ModelInfo, ModelProvider, ModelRequest,
    ModelStream,
};
use super::script_file;
use futures_util::FutureExt;
use futures_util::future::{self, BoxFuture};
use futures_util::stream::{self, StreamExt};
use lastword_os::clock::SystemClock;
use lastword_types::clock::Clock;
use lastword_types::session::{Part, PartBody, Role, ToolCall, Usage};
use std::collections::VecDeque;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The number of requests that are remembered: the latest ones.
const REQUESTS_MAX: usize = 1024;
/// The number of remembered requests that keep the bytes of their data parts: the latest ones.
const REQUESTS_WITH_BYTES_MAX: usize = 4;

/// A provider that follows a script. Clones share the script's place and its record.
///
/// A request takes the replies whose `when` occurs in the last user message or, if there are
/// none, those without a `when`; among these the one used least, the first of equals. So
/// replies are used in order and then from the start again.
///
/// # Script files
/// `scripted:FILE` names a TOML file:
///
/// ```toml
/// [[reply]]
/// when = "weather"                  # optional; matches upper and lower case exactly
/// steps = [
///     { reasoning = "They ask about the weather." },
///     { tool_call = { name = "forecast", arguments = { city = "Oslo" } } },
/// ]
///
/// [[reply]]
/// steps = [
///     { text = "Hello ", delay_ms = 20 },     # waits, then speaks
///     { text = "again ", repeat = 3 },
///     { echo = true, delay_ms = 50 },         # the prompt, word by word, 50 ms each
///     { usage = { input_tokens = 12, output_tokens = 5 } },
///     { finish = "end_turn" },                # implied when the steps end without one
/// ]
///
/// [[reply]]
/// steps = [{ text = "The first half" }, { error = "truncated" }]
///
/// [[reply]]
/// steps = [{ text = "One moment" }, { hang = true }]
/// ```
///
/// Errors are `unauthorized`, `rate-limited` (with `retry_after_ms` if you like), `unavailable`,
/// `rejected`, `context-overflow`, `unknown-model`, `garbled`, `idle` and `truncated`, which ends
/// the stream without a finish. A tool call's `arguments` may be a table or JSON text.
#[derive(Clone)]
pub struct Scripted {
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
}

/// One reply of a script.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reply {
    /// A text that must occur in the last user message, if set.
    pub when: Option<String>,
    /// The steps, in order. A finish is added at the end if there is none.
    pub steps: Vec<Step>,
}

/// One step of a reply.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Emits a piece of text.
    Text(String),
    /// Emits a piece of reasoning.
    Reasoning(String),
    /// Calls a tool.
    ToolCall {
        /// The tool's name.
        name: String,
        /// The arguments, as JSON text.
        arguments: String,
    },
    /// Reports a token count.
    Usage(Usage),
    /// Waits for this long.
    Delay(Duration),
    /// Emits the last user message, word by word, with this delay before each.
    Echo(Duration),
    /// Ends the reply with this reason.
    Finish(String),
    /// Fails with this error.
    Fail(ModelError),
    /// Ends the stream without a finish, as a broken connection does.
    Truncate,
    /// Never continues.
    Hang,
}

impl Reply {
    /// Creates a reply of these steps.
    #[must_use]
    pub fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self {
            when: None,
            steps: steps.into_iter().collect(),
        }
    }

    /// Creates a reply of one text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::new([Step::Text(text.into())])
    }

    /// Limits this reply to prompts that contain `text`.
    #[must_use]
    pub fn when(mut self, text: impl Into<String>) -> Self {
        self.when = Some(text.into());
        self
    }
}

#[derive(Debug)]
struct Shared {
    replies: Vec<Reply>,
    record: Mutex<Record>,
}

#[derive(Debug)]
struct Record {
    uses: Vec<u64>,
    requests: VecDeque<ModelRequest>,
    abandoned: usize,
}

impl Scripted {
    /// Creates a provider with these replies, and with delays by the machine's clock.
    #[must_use]
    pub fn new(replies: impl IntoIterator<Item = Reply>) -> Self {
        let replies: Vec<Reply> = replies.into_iter().collect();
        let record = Mutex::new(Record {
            uses: vec![0; replies.len()],
            requests: VecDeque::new(),
            abandoned: 0,
        });

        Self {
            shared: Arc::new(Shared { replies, record }),
            clock: SystemClock::shared(),
        }
    }

    /// Loads a script file.
    ///
    /// # Errors
    ///
    /// [`ModelConfigError`](super::ModelConfigError), with the mistake in the file and its line.
    pub fn load(path: &Path) -> Result<Self, super::ModelConfigError> {
        script_file::load(path).map(Self::new)
    }

    /// Uses `clock` for delays.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Returns the requests so far, in order: at most the latest 1024. Only the latest four still
    /// have the bytes of their data parts.
    #[must_use]
    pub fn requests(&self) -> Vec<ModelRequest> {
        self.shared.record().requests.iter().cloned().collect()
    }

    /// Returns how many streams were dropped before they ended, for example by a cancellation.
    #[must_use]
    pub fn abandoned(&self) -> usize {
        self.shared.record().abandoned
    }
}

impl Shared {
    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn choose(&self, request: &ModelRequest, prompt: &str) -> Option<Reply> {
        let matching = |reply: &Reply| reply.when.as_ref().is_some_and(|w| prompt.contains(w));
        let special = self.replies.iter().any(matching);
        let mut record = self.record();

        if record.requests.len() == REQUESTS_MAX {
            record.requests.pop_front();
        }

        record.requests.push_back(request.clone());
        let mut latest = record.requests.iter_mut().rev();
        if let Some(older) = latest.nth(REQUESTS_WITH_BYTES_MAX) {
            older.blobs.clear();
        }

        let candidates = self.replies.iter().enumerate().filter(|(_, reply)| {
            if special {
                matching(reply)
            } else {
                reply.when.is_none()
            }
        });
        let (index, reply) = candidates.min_by_key(|(index, _)| record.uses[*index])?;
        record.uses[index] += 1;

        Some(reply.clone())
    }
}

impl ModelProvider for Scripted {
    fn complete(
        &self,
        _: CallContext,
        request: ModelRequest,
    ) -> BoxFuture<'static, Result<ModelStream, ModelError>> {
        let prompt = last_prompt(&request);
        let answer = match self.shared.choose(&request, &prompt) {
            Some(reply) => Ok(self.play(reply, &prompt)),
            None => Err(ModelError::new(
                ModelErrorKind::Rejected,
                "the script has no reply to this prompt: add a [[reply]] without `when`",
            )),
        };
        future::ready(answer).boxed()
    }

    fn models(&self) -> Vec<ModelInfo> {
        vec![ModelInfo {
            name: "script".to_owned(),
            provider: "scripted".to_owned(),
            context_tokens: None,
        }]
    }
}

impl Scripted {
    fn play(&self, reply: Reply, prompt: &str) -> ModelStream {
        let mut steps: VecDeque<Step> = VecDeque::new();
        for step in reply.steps {
            match step {
                Step::Echo(delay) => steps.extend(echo(prompt, delay)),
                step => steps.push_back(step),
            }
        }

        let calls = steps.iter().any(|s| matches!(s, Step::ToolCall { .. }));
        let reason = if calls { "tool_use" } else { "end_turn" };
        steps.push_back(Step::Finish(reason.to_owned()));

        let playing = PlayedStream {
            steps,
            clock: self.clock.clone(),
            shared: self.shared.clone(),
            ended: false,
        };
        stream::unfold(playing, PlayedStream::next).boxed()
    }
}

impl fmt::Debug for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scripted")
            .field("replies", &self.shared.replies)
            .finish_non_exhaustive()
    }
}

/// A stream that is being played; it is counted if it is dropped early.
struct PlayedStream {
    steps: VecDeque<Step>,
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
    ended: bool,
}

impl PlayedStream {
    async fn next(mut self) -> Option<(Result<ModelEvent, ModelError>, Self)> {
        loop {
            let event = match self.steps.pop_front()? {
                Step::Delay(delay) => {
                    self.clock.sleep(delay).await;
                    continue;
                }
                Step::Hang => future::pending().await,
                Step::Truncate => {
                    self.ended = true;
                    return None;
                }
                Step::Fail(error) => {
                    self.end();
                    return Some((Err(error), self));
                }
                Step::Finish(reason) => {
                    self.end();
                    ModelEvent::Finish(reason.into())
                }
                Step::Text(text) => ModelEvent::Text(text),
                Step::Reasoning(text) => ModelEvent::Reasoning(text),
                Step::Usage(usage) => ModelEvent::Usage(usage),
                Step::ToolCall { name, arguments } => ModelEvent::Part(tool_call(name, arguments)),
                // Expanded into texts and delays before the stream started.
                Step::Echo(_) => continue,
            };
            return Some((Ok(event), self));
        }
    }

    fn end(&mut self) {
        self.ended = true;
        self.steps.clear();
    }
}

impl Drop for PlayedStream {
    fn drop(&mut self) {
        if !self.ended {
            self.shared.record().abandoned += 1;
        }
    }
}

fn echo(prompt: &str, delay: Duration) -> Vec<Step> {
    let words = prompt.split_inclusive(char::is_whitespace);
    words
        .flat_map(|word| [Step::Delay(delay), Step::Text(word.to_owned())])
        .collect()
}

fn last_prompt(request: &ModelRequest) -> String {
    let users = |message: &&super::ModelMessage| message.role == Role::User;
    let message = request.messages.iter().rev().find(users);
    let parts = message.map(|message| message.parts.as_slice());
    let texts = parts.unwrap_or_default().iter().filter_map(Part::as_text);
    texts.collect::<Vec<_>>().join("\n")
}

fn tool_call(name: String, input: String) -> Part {
    let finished = serde_json::from_str::<serde::de::IgnoredAny>(&input).is_ok();
    let id = format!("call_{}", uuid::Uuid::now_v7().simple());

    let call = ToolCall {
        id,
        name,
        input,
        finished,
        started: false,
    };
    PartBody::ToolCall(call).into()
}

#[cfg(test)]
mod tests {
    use super::super::provider::ModelFinish;
    use super::super::testing::{LeapClock, ask, drain, request};
    use super::*;

    fn joined_text(events: &[ModelEvent]) -> String {
        let texts = events.iter().filter_map(|event| match event {
            ModelEvent::Text(text) => Some(text.as_str()),
            _ => None,
        });
        texts.collect()
    }

    async fn answer(script: &Scripted, prompt: &str) -> String {
        let (events, error) = drain(ask(script, prompt).await.unwrap()).await;
        assert_eq!(error, None);
        joined_text(&events)
    }

    #[tokio::test]
    async fn replies_are_matched_and_used_in_order() {
        let script = Scripted::new([
            Reply::text("one"),
            Reply::text("rain").when("weather"),
            Reply::text("two"),
            Reply::text("sun").when("weather"),
        ]);
        assert_eq!(answer(&script, "hello").await, "one");
        assert_eq!(answer(&script, "the weather?").await, "rain");
        assert_eq!(answer(&script, "hello").await, "two");
        assert_eq!(answer(&script, "the weather?").await, "sun");
        assert_eq!(answer(&script, "hello").await, "one");
        assert_eq!(script.requests().len(), 5);
        assert_eq!(script.requests()[1], request("the weather?"));
        assert_eq!(script.abandoned(), 0);
    }

    #[tokio::test]
    async fn an_echo_takes_its_time() {
        let clock = LeapClock::default();
        let script = Scripted::new([Reply::new([Step::Echo(Duration::from_millis(50))])])
            .clock(Arc::new(clock.clone()));
        assert_eq!(answer(&script, "to be or not").await, "to be or not");
        assert_eq!(clock.elapsed(), Duration::from_millis(200));
    }

    #[tokio::test]
    async fn a_call_ends_in_tool_use_with_an_id_of_its_own() {
        let call = Step::ToolCall {
            name: "look".to_owned(),
            arguments: "{}".to_owned(),
        };
        let script = Scripted::new([Reply::new([call])]);
        let mut ids = Vec::new();

        for _ in 0..2 {
            let (events, _) = drain(ask(&script, "").await.unwrap()).await;
            let [ModelEvent::Part(part), ModelEvent::Finish(reason)] = events.as_slice() else {
                panic!("expected a call and a finish, got {events:?}");
            };
            assert_eq!(*reason, ModelFinish::ToolUse);
            let PartBody::ToolCall(call) = &part.body else {
                panic!("expected a tool call");
            };
            assert!(call.finished);
            ids.push(call.id.clone());
        }

        assert_ne!(ids[0], ids[1]);
    }

    #[tokio::test]
    async fn a_stream_that_is_dropped_early_is_counted() {
        let script = Scripted::new([Reply::new([Step::Text("a".to_owned()), Step::Hang])]);
        let mut stream = ask(&script, "").await.unwrap();
        assert_eq!(
            stream.next().await,
            Some(Ok(ModelEvent::Text("a".to_owned())))
        );

        assert!(stream.next().now_or_never().is_none());
        assert_eq!(script.abandoned(), 0);
        drop(stream);
        assert_eq!(script.abandoned(), 1);
    }

    #[tokio::test]
    async fn a_truncated_stream_just_ends() {
        let script = Scripted::new([Reply::new([Step::Text("a".to_owned()), Step::Truncate])]);
        let (events, error) = drain(ask(&script, "").await.unwrap()).await;
        assert_eq!((joined_text(&events).as_str(), error), ("a", None));
        assert_eq!(events.len(), 1);
        assert_eq!(script.abandoned(), 0);
    }

    #[tokio::test]
    async fn no_fitting_reply_is_an_error() {
        let script = Scripted::new([Reply::text("rain").when("weather")]);
        let error = ask(&script, "hello").await.err().unwrap();
        assert_eq!(error.kind, ModelErrorKind::Rejected);
    }
}
