//! A wrapper of every model provider: a limit on silence, retries before anything was delivered,
//! and a check that the stream is complete. Takes its time from the host's clock.

use super::provider::{
    CallContext, ModelError, ModelErrorKind, ModelEvent, ModelInfo, ModelProvider, ModelRequest,
    ModelStream, Retrying,
};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Either, select};
use futures_util::stream::{self, StreamExt};
use lastword_types::clock::Clock;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The largest number of times that one request is sent.
pub const ATTEMPTS_MAX: u32 = 3;

/// The wait before the second attempt; it doubles with each further one.
pub const BACKOFF_FIRST: Duration = Duration::from_millis(500);

/// The longest wait that a service may ask for. A request that would have to wait longer fails at
/// once, and says so.
pub const WAIT_MAX: Duration = Duration::from_secs(120);

/// The longest silence that a [`Guard`] allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuardLimits {
    /// The time from the request to the first event; 120 s by default, since a model may be
    /// loading.
    pub first_event: Duration,
    /// The time between two events; 60 s by default.
    pub idle: Duration,
}

impl Default for GuardLimits {
    fn default() -> Self {
        Self {
            first_event: Duration::from_secs(120),
            idle: Duration::from_secs(60),
        }
    }
}

/// A provider whose streams neither hang nor end early unnoticed.
///
/// * Silence beyond [`GuardLimits`] ends the stream with [`ModelErrorKind::Idle`]. An empty text or
///   reasoning restarts the limit and is not delivered.
/// * A transient failure (429, 5xx, no connection, a broken one) is retried, for [`ATTEMPTS_MAX`]
///   attempts in all, as long as nothing was delivered, and not before the time that the service
///   asks for. [`ModelEvent::Retrying`] reports it. Silence is not retried: the server may still be
///   working on the first request.
/// * A stream that ends without [`ModelEvent::Finish`] ends with [`ModelErrorKind::Truncated`];
///   nothing follows a finish or an error.
///
/// [`ModelProvider::complete`] resolves when the first event has arrived, and fails with the first
/// failure that is not retried. Dropping its future, or the stream, drops the provider's, and with
/// it the request.
#[derive(Clone)]
pub struct Guard {
    provider: Arc<dyn ModelProvider>,
    clock: Arc<dyn Clock>,
    limits: GuardLimits,
}

impl Guard {
    /// Wraps `provider`, with time from `clock`.
    #[must_use]
    pub fn new(
        provider: Arc<dyn ModelProvider>,
        clock: Arc<dyn Clock>,
        limits: GuardLimits,
    ) -> Self {
        Self {
            provider,
            clock,
            limits,
        }
    }

    async fn begin(
        self,
        context: CallContext,
        request: ModelRequest,
    ) -> Result<ModelStream, ModelError> {
        let attempts = Attempts {
            guard: self,
            context,
            request,
            state: State::Sending {
                attempt: 1,
                backoff: BACKOFF_FIRST,
            },
        };
        let mut events = stream::unfold(attempts, Attempts::next).boxed();
        match events.next().await {
            Some(Ok(first)) => Ok(stream::iter([Ok(first)]).chain(events).boxed()),
            Some(Err(error)) => Err(error),
            None => Err(truncated()),
        }
    }

    /// Sends the request once and waits for its first event.
    async fn attempt(
        &self,
        context: CallContext,
        request: ModelRequest,
    ) -> Result<(ModelEvent, ModelStream), ModelError> {
        let mut silence = self.silence(self.limits.first_event);
        let begin = self.provider.complete(context, request);
        let mut stream = silence.bounds(begin).await??;
        let first = self.next(&mut stream, silence).await?;
        Ok((first, stream))
    }

    /// Returns the next event that is not empty.
    async fn next(
        &self,
        stream: &mut ModelStream,
        mut silence: SilenceLimit,
    ) -> Result<ModelEvent, ModelError> {
        loop {
            match silence.bounds(stream.next()).await? {
                Some(Ok(event)) if is_keep_alive(&event) => {
                    silence = self.silence(self.limits.idle);
                }
                Some(item) => return item,
                None => return Err(truncated()),
            }
        }
    }

    fn silence(&self, limit: Duration) -> SilenceLimit {
        SilenceLimit {
            limit,
            elapsed: self.clock.sleep(limit),
        }
    }
}

/// The state of one completion over all of its attempts.
struct Attempts {
    guard: Guard,
    context: CallContext,
    request: ModelRequest,
    state: State,
}

enum State {
    /// The request is to be sent.
    Sending { attempt: u32, backoff: Duration },
    /// The request is to be sent after a wait.
    Waiting {
        wait: Duration,
        attempt: u32,
        backoff: Duration,
    },
    /// The service is responding.
    Answering(ModelStream),
    /// A finish or an error was delivered.
    Over,
}

impl Attempts {
    async fn next(mut self) -> Option<(Result<ModelEvent, ModelError>, Self)> {
        loop {
            let item = match std::mem::replace(&mut self.state, State::Over) {
                State::Waiting {
                    wait,
                    attempt,
                    backoff,
                } => {
                    self.guard.clock.sleep(wait).await;
                    self.state = State::Sending { attempt, backoff };
                    continue;
                }
                State::Sending { attempt, backoff } => {
                    let (context, request) = (self.context.clone(), self.request.clone());
                    match self.guard.attempt(context, request).await {
                        Ok((first, rest)) => {
                            self.state = State::Answering(rest);
                            Ok(first)
                        }
                        Err(error) => self.retry(error, attempt, backoff),
                    }
                }
                State::Answering(mut rest) => {
                    let silence = self.guard.silence(self.guard.limits.idle);
                    let item = self.guard.next(&mut rest, silence).await;
                    self.state = State::Answering(rest);
                    item
                }
                State::Over => return None,
            };

            if matches!(item, Ok(ModelEvent::Finish(_)) | Err(_)) {
                self.state = State::Over;
            }

            return Some((item, self));
        }
    }

    /// After a failed attempt: schedules another one and returns the event that reports it, or
    /// returns its failure.
    fn retry(
        &mut self,
        mut error: ModelError,
        attempt: u32,
        backoff: Duration,
    ) -> Result<ModelEvent, ModelError> {
        use ModelErrorKind::{RateLimited, Truncated, Unavailable};

        let may_pass = matches!(error.kind, RateLimited | Truncated | Unavailable);
        if attempt == ATTEMPTS_MAX || !may_pass {
            return Err(error);
        }

        let wait = error.retry_after.unwrap_or(backoff);
        if wait > WAIT_MAX {
            let asked = wait.as_secs();
            error.message = format!("{} (it asks to wait {asked} s)", error.message);
            return Err(error);
        }

        tracing::debug!(attempt, ?wait, %error, "a model request is tried again");

        self.state = State::Waiting {
            wait,
            attempt: attempt + 1,
            backoff: backoff.saturating_mul(2),
        };

        Ok(ModelEvent::Retrying(Retrying {
            attempt,
            cause: error.message,
            wait,
        }))
    }
}

/// Bounds a silence.
struct SilenceLimit {
    limit: Duration,
    elapsed: BoxFuture<'static, ()>,
}

impl SilenceLimit {
    async fn bounds<T>(
        &mut self,
        future: impl Future<Output = T> + Unpin,
    ) -> Result<T, ModelError> {
        match select(future, &mut self.elapsed).await {
            Either::Left((output, _)) => Ok(output),
            Either::Right(_) => Err(ModelError::new(
                ModelErrorKind::Idle,
                format!(
                    "the model said nothing for {} s; it may be overloaded, or need a longer \
                     `idle_timeout_s` or `first_event_timeout_s`",
                    self.limit.as_secs_f32()
                ),
            )),
        }
    }
}

impl ModelProvider for Guard {
    fn complete(
        &self,
        context: CallContext,
        request: ModelRequest,
    ) -> BoxFuture<'static, Result<ModelStream, ModelError>> {
        self.clone().begin(context, request).boxed()
    }

    fn models(&self) -> Vec<ModelInfo> {
        self.provider.models()
    }

    fn context_tokens(&self, model: &str) -> BoxFuture<'static, Option<u32>> {
        self.provider.context_tokens(model)
    }

    fn takes(&self, model: &str, media_type: &str) -> bool {
        self.provider.takes(model, media_type)
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

fn is_keep_alive(event: &ModelEvent) -> bool {
    matches!(event, ModelEvent::Text(text) | ModelEvent::Reasoning(text) if text.is_empty())
}

fn truncated() -> ModelError {
    ModelError::new(
        ModelErrorKind::Truncated,
        "the model's answer broke off before its end",
    )
}

#[cfg(test)]
mod tests {
    use super::super::provider::ModelFinish;
    use super::super::scripted::{Reply, Scripted, Step};
    use super::super::testing::{LeapClock, ask, drain};
    use super::*;

    // Time is tokio's, paused: it advances only when all tasks are idle, and then at once.

    fn text(text: &str) -> Step {
        Step::Text(text.to_owned())
    }

    fn fail(kind: ModelErrorKind, retry_after: Option<u64>) -> Reply {
        let mut error = ModelError::new(kind, "as written");
        error.retry_after = retry_after.map(Duration::from_secs);
        Reply::new([Step::Fail(error)])
    }

    fn guard(script: &Scripted, clock: &LeapClock) -> Guard {
        let script = script.clone().clock(Arc::new(clock.clone()));
        let limits = GuardLimits::default();
        Guard::new(Arc::new(script), Arc::new(clock.clone()), limits)
    }

    /// Sends one request; returns the events, the error, the number of requests, and the seconds.
    async fn run(
        replies: impl IntoIterator<Item = Reply>,
    ) -> (Vec<ModelEvent>, Option<ModelErrorKind>, usize, f32) {
        let script = Scripted::new(replies);
        let clock = LeapClock::default();
        let (events, error) = match ask(&guard(&script, &clock), "hi").await {
            Ok(stream) => drain(stream).await,
            Err(error) => (Vec::new(), Some(error)),
        };

        let seconds = clock.elapsed().as_secs_f32();
        let kind = error.map(|error| error.kind);
        (events, kind, script.requests().len(), seconds)
    }

    #[tokio::test]
    async fn a_whole_answer_passes_unchanged() {
        let (events, error, requests, _) = run([Reply::new([text("a"), text("b")])]).await;
        let end = ModelEvent::Finish(ModelFinish::EndTurn);
        let piece = |text: &str| ModelEvent::Text(text.to_owned());
        assert_eq!(events, [piece("a"), piece("b"), end]);
        assert_eq!((error, requests), (None, 1));
    }

    #[tokio::test]
    async fn transient_failures_are_retried_with_growing_waits() {
        let busy = || fail(ModelErrorKind::Unavailable, None);
        let (events, error, requests, seconds) = run([busy(), busy(), Reply::text("a")]).await;
        assert_eq!((error, requests), (None, 3));
        assert!((1.5..1.6).contains(&seconds), "{seconds}");

        let notice = |attempt, millis| {
            ModelEvent::Retrying(Retrying {
                attempt,
                cause: "as written".to_owned(),
                wait: Duration::from_millis(millis),
            })
        };
        assert_eq!(events[..2], [notice(1, 500), notice(2, 1000)]);
        assert_eq!(events.len(), 4);

        let (_, error, requests, _) = run([busy()]).await;
        assert_eq!(error, Some(ModelErrorKind::Unavailable));
        assert_eq!(requests, 3);
    }

    #[tokio::test]
    async fn a_response_that_breaks_before_its_first_event_is_retried() {
        let broken = Reply::new([Step::Truncate]);
        let (events, error, requests, _) = run([broken, Reply::text("a")]).await;
        assert_eq!((events.len(), error, requests), (3, None, 2));
    }

    #[tokio::test]
    async fn the_servers_wait_is_respected_within_bounds() {
        let busy = |seconds| fail(ModelErrorKind::RateLimited, Some(seconds));
        let (_, error, requests, seconds) = run([busy(7), busy(120), Reply::text("a")]).await;
        assert_eq!((error, requests), (None, 3));
        assert!((127.0..127.1).contains(&seconds), "{seconds}");
        // A wait that is too long fails at once.
        let (_, error, requests, seconds) = run([busy(121), Reply::text("a")]).await;
        assert_eq!((error, requests), (Some(ModelErrorKind::RateLimited), 1));
        assert!(seconds < 0.1, "{seconds}");
    }

    #[tokio::test]
    async fn permanent_failures_are_not_retried() {
        for kind in [
            ModelErrorKind::Unauthorized,
            ModelErrorKind::Rejected,
            ModelErrorKind::Garbled,
            ModelErrorKind::Idle,
        ] {
            let (_, error, requests, _) = run([fail(kind, None)]).await;
            assert_eq!((error, requests), (Some(kind), 1));
        }
    }

    #[tokio::test]
    async fn nothing_is_retried_after_the_first_event() {
        let error = ModelError::new(ModelErrorKind::Unavailable, "gone");
        let (events, error, requests, _) = run([Reply::new([text("a"), Step::Fail(error)])]).await;
        assert_eq!((events.len(), requests), (1, 1));
        assert_eq!(error, Some(ModelErrorKind::Unavailable));
    }

    #[tokio::test]
    async fn silence_ends_a_stream_at_its_limits() {
        let (events, error, requests, seconds) = run([Reply::new([Step::Hang])]).await;
        assert_eq!((events.len(), requests), (0, 1));
        assert_eq!(error, Some(ModelErrorKind::Idle));
        assert!((120.0..120.1).contains(&seconds), "{seconds}");

        let (events, error, _, seconds) = run([Reply::new([text("a"), Step::Hang])]).await;
        assert_eq!((events.len(), error), (1, Some(ModelErrorKind::Idle)));
        assert!((60.0..60.1).contains(&seconds), "{seconds}");
    }

    #[tokio::test]
    async fn a_keep_alive_restarts_the_limit_and_is_not_delivered() {
        let pause = || Step::Delay(Duration::from_secs(55));
        let steps = [text("a"), pause(), text(""), pause(), text("b")];
        let (events, error, _, _) = run([Reply::new(steps)]).await;
        assert_eq!((events.len(), error), (3, None));
    }

    #[tokio::test]
    async fn an_end_without_a_finish_is_truncated() {
        let (events, error, requests, _) = run([Reply::new([text("a"), Step::Truncate])]).await;
        assert_eq!((events.len(), requests), (1, 1));
        assert_eq!(error, Some(ModelErrorKind::Truncated));
    }

    #[tokio::test]
    async fn nothing_follows_a_finish_and_the_stream_is_dropped() {
        struct Chatty;

        impl ModelProvider for Chatty {
            fn complete(
                &self,
                _: CallContext,
                _: ModelRequest,
            ) -> BoxFuture<'static, Result<ModelStream, ModelError>> {
                let events = [
                    ModelEvent::Finish(ModelFinish::EndTurn),
                    ModelEvent::Text("and another thing".to_owned()),
                ];
                let stream = stream::iter(events.map(Ok)).boxed();
                futures_util::future::ready(Ok(stream)).boxed()
            }

            fn models(&self) -> Vec<ModelInfo> {
                Vec::new()
            }
        }

        let limits = GuardLimits::default();
        let guard = Guard::new(Arc::new(Chatty), Arc::new(LeapClock::default()), limits);
        let (events, error) = drain(ask(&guard, "").await.unwrap()).await;

        assert_eq!((events.len(), error), (1, None));
    }

    #[tokio::test]
    async fn dropping_it_drops_the_request() {
        let clock = LeapClock::default();
        let script = Scripted::new([Reply::new([text("a"), Step::Hang])]);
        let mut stream = ask(&guard(&script, &clock), "").await.unwrap();

        assert!(stream.next().await.is_some());
        drop(stream);
        assert_eq!(script.abandoned(), 1);

        let script = Scripted::new([Reply::new([Step::Hang])]);
        let asked = guard(&script, &clock);
        let mut begin = Box::pin(ask(&asked, ""));

        assert!((&mut begin).now_or_never().is_none());
        drop(begin);
        assert_eq!(script.abandoned(), 1);
    }
}
