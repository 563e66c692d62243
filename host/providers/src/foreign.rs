//! Calls into code that an embedder supplies. Each call runs on the embedder's runtime and in the
//! caller's span, is bounded in time, and has its panics caught, so that a failure affects only the
//! caller.

use futures_util::FutureExt;
use lastword_types::clock::Clock;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinError;
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument, Span};

/// The largest number of simultaneous blocking calls of all runs. A call that never returns
/// occupies its thread forever.
const BLOCKING_MAX: usize = 16;

/// Calls foreign code. A cloneable handle.
#[derive(Clone)]
pub struct Foreign {
    runtime: Handle,
    clock: Arc<dyn Clock>,
    room: Arc<Semaphore>,
}

/// Why foreign code returned nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForeignError {
    /// It panicked.
    #[error("it panicked; the host's log says where")]
    Panicked,
    /// It did not return within this time.
    #[error("it did not return within {} s", .0.as_secs_f32())]
    TimedOut(Duration),
    /// The runtime that it should run on is gone.
    #[error("the runtime that the host was built on is gone")]
    NoRuntime,
}

impl From<JoinError> for ForeignError {
    fn from(error: JoinError) -> Self {
        if error.is_panic() {
            Self::Panicked
        } else {
            Self::NoRuntime
        }
    }
}

impl Foreign {
    /// Calls run on this runtime, and are bounded by this clock.
    pub fn new(runtime: Handle, clock: Arc<dyn Clock>) -> Self {
        Self {
            runtime,
            clock,
            room: Arc::new(Semaphore::new(BLOCKING_MAX)),
        }
    }

    /// Creates and polls a future of foreign code on the embedder's runtime, and returns its
    /// output. The future is dropped when its time is over, or with this future. `None` is for
    /// foreign code with bounds of its own.
    pub async fn call<T, F>(
        &self,
        most: Option<Duration>,
        call: impl FnOnce() -> F + Send + 'static,
    ) -> Result<T, ForeignError>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let made = self
            .runtime
            .spawn(async move { call().await }.in_current_span());
        let made = AbortOnDropHandle::new(made);
        self.within(most, made.map(|made| made.map_err(ForeignError::from)))
            .await
    }

    /// Returns the output of foreign code that may block, called on a thread of its own.
    pub async fn blocking<T: Send + 'static>(
        &self,
        most: Duration,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ForeignError> {
        let made = async {
            let room = Arc::clone(&self.room).acquire_owned().await;
            let span = Span::current();
            let call = move || {
                let returned = span.in_scope(call);
                drop(room);
                returned
            };
            self.runtime
                .spawn_blocking(call)
                .await
                .map_err(ForeignError::from)
        };
        self.within(Some(most), made).await
    }

    async fn within<T>(
        &self,
        most: Option<Duration>,
        made: impl Future<Output = Result<T, ForeignError>>,
    ) -> Result<T, ForeignError> {
        let Some(most) = most else {
            return made.await;
        };
        tokio::select! {
            biased;
            made = made => made,
            () = self.clock.sleep(most) => Err(ForeignError::TimedOut(most)),
        }
    }
}

/// Creates and polls a future of foreign code in place, and returns its output: for callers that
/// are on the embedder's runtime already, and bounded in time.
pub async fn caught<T, F: Future<Output = T>>(call: impl FnOnce() -> F) -> Result<T, ForeignError> {
    let made = AssertUnwindSafe(async { call().await }).catch_unwind();
    made.await.map_err(|_| ForeignError::Panicked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lastword_os::clock::SystemClock;
    use std::sync::mpsc;

    const LONG: Duration = Duration::from_secs(3600);
    const SHORT: Duration = Duration::from_millis(1);

    fn foreign() -> Foreign {
        Foreign::new(Handle::current(), SystemClock::shared())
    }

    /// A call that never returns, or panics.
    async fn broken(hangs: bool) -> u8 {
        assert!(hangs, "on purpose");
        std::future::pending().await
    }

    #[tokio::test]
    async fn a_panic_or_a_hang_is_an_error() {
        let foreign = foreign();
        assert_eq!(foreign.call(Some(LONG), async || 1).await, Ok(1));
        assert_eq!(foreign.call(None, async || 1).await, Ok(1));

        let panics = foreign.call(Some(LONG), || broken(false)).await;
        assert_eq!(panics, Err(ForeignError::Panicked));

        let hangs = foreign.call(Some(SHORT), || broken(true)).await;
        assert_eq!(hangs, Err(ForeignError::TimedOut(SHORT)));
        assert_eq!(caught(|| broken(false)).await, Err(ForeignError::Panicked));
        assert_eq!(caught(async || 2).await, Ok(2));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn blocking_calls_are_bounded_in_threads() {
        let foreign = foreign();
        let (let_go, waits) = mpsc::channel::<()>();
        let waits = Arc::new(std::sync::Mutex::new(waits));

        for _ in 0..2 * BLOCKING_MAX {
            let waits = Arc::clone(&waits);
            let hangs = foreign.blocking(SHORT, move || drop(waits.lock().map(|w| w.recv())));
            assert_eq!(hangs.await, Err(ForeignError::TimedOut(SHORT)));
        }

        drop(let_go);
        let panics = foreign.blocking(LONG, || panic!("on purpose")).await;
        assert_eq!(panics, Err::<(), _>(ForeignError::Panicked));
        assert_eq!(foreign.blocking(LONG, || 3).await, Ok(3));
    }

    #[test]
    fn a_missing_runtime_is_an_error() {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let foreign = Foreign::new(runtime.handle().clone(), SystemClock::shared());
        drop(runtime);
        let call = foreign.call(None, async || 1);
        let called = FutureExt::now_or_never(call);
        assert_eq!(called, Some(Err(ForeignError::NoRuntime)));
    }
}
