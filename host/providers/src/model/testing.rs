//! Test support of this module: a request, and a collected response.

use super::provider::{
    CallContext, ModelError, ModelEvent, ModelMessage, ModelProvider, ModelRequest, ModelStream,
};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use lastword_types::clock::{Clock, UnixMillis};
use lastword_types::id::{AgentId, RunId, SessionId, WorkspaceId};
use lastword_types::session::{Part, Role};
use lastword_types::workspace::WorkspaceKey;
use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

/// A clock that advances to the next deadline once all tasks are idle: a single-threaded runtime
/// polls its tasks in turn, so a task that is polled this often is the only one.
const ROUNDS: u32 = 32;

#[derive(Clone, Default)]
pub(super) struct LeapClock(Arc<Mutex<Leap>>);

#[derive(Default)]
struct Leap {
    now: Duration,
    waiting: BTreeSet<(Duration, u64)>,
    sleeps: u64,
}

impl Clock for LeapClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(0)
    }

    fn elapsed(&self) -> Duration {
        self.0.lock().unwrap().now
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let mut leap = self.0.lock().unwrap();
        leap.sleeps += 1;

        let me = (leap.now + duration, leap.sleeps);
        leap.waiting.insert(me);
        drop(leap);

        Box::pin(Sleep {
            clock: self.clone(),
            me,
            rounds: 0,
        })
    }
}

struct Sleep {
    clock: LeapClock,
    me: (Duration, u64),
    rounds: u32,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.rounds += 1;
        let mut leap = self.clock.0.lock().unwrap();
        if leap.waiting.first() == Some(&self.me) && self.rounds > ROUNDS {
            leap.now = leap.now.max(self.me.0);
        }

        if leap.now >= self.me.0 {
            return Poll::Ready(());
        }

        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.clock.0.lock().unwrap().waiting.remove(&self.me);
    }
}

pub(crate) fn context() -> CallContext {
    CallContext::new(
        WorkspaceId::generate(),
        WorkspaceKey::name("w"),
        SessionId::generate(),
        RunId::generate(),
        AgentId::new("tester").unwrap(),
    )
}

/// A request of one user message for the model `m`.
pub(super) fn request(prompt: &str) -> ModelRequest {
    ModelRequest {
        model: Some("m".to_owned()),
        messages: vec![message(Role::User, [Part::text(prompt)])],
        ..ModelRequest::default()
    }
}

pub(super) fn message(role: Role, parts: impl IntoIterator<Item = Part>) -> ModelMessage {
    let parts = parts.into_iter().collect();
    ModelMessage { role, parts }
}

pub(super) async fn ask(
    provider: &impl ModelProvider,
    prompt: &str,
) -> Result<ModelStream, ModelError> {
    provider.complete(context(), request(prompt)).await
}

/// All events of a stream, and the error that ended it, if there was one.
pub(super) async fn drain(mut stream: ModelStream) -> (Vec<ModelEvent>, Option<ModelError>) {
    let mut events = Vec::new();
    while let Some(item) = stream.next().await {
        match item {
            Ok(event) => events.push(event),
            Err(error) => return (events, Some(error)),
        }
    }
    (events, None)
}
