//! Makes a stream out of a source with an async `next` method. `Events`, `LifecycleEvents` and
//! `WorkspaceStages` use it.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::{Mutex, OwnedMutexGuard};

/// A source of items. Dropping the future of `next` must lose none of them: the next call returns
/// the item that this one would have returned.
pub(crate) trait Source: Send + 'static {
    type Item: Send + 'static;

    /// Returns the next item; `None` at the end, and from then on.
    fn next(&mut self) -> impl Future<Output = Option<Self::Item>> + Send;
}

/// A source, and the pending call of its `next`, if a poll has begun one.
pub(crate) struct Polled<S: Source> {
    /// Shared only with the pending call.
    source: Arc<Mutex<S>>,
    asked: Option<BoxFuture<'static, Option<S::Item>>>,
}

impl<S: Source> Polled<S> {
    pub(crate) fn new(source: S) -> Self {
        Self {
            source: Arc::new(Mutex::new(source)),
            asked: None,
        }
    }

    /// Returns the source itself. A pending call is dropped, which loses no item.
    pub(crate) fn source(&mut self) -> &mut S {
        self.asked = None;
        // Only the pending call had another handle.
        let source = Arc::get_mut(&mut self.source).expect("the source has one owner");
        source.get_mut()
    }

    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        if self.asked.is_none() {
            let locked = Arc::clone(&self.source).try_lock_owned();
            // Only a pending call locks it, and there is none.
            let source = locked.expect("the source is not locked");
            self.asked = Some(ask(source).boxed());
        }

        let Some(asked) = &mut self.asked else {
            return Poll::Ready(None);
        };

        let item = std::task::ready!(asked.poll_unpin(cx));
        self.asked = None;
        Poll::Ready(item)
    }
}

async fn ask<S: Source>(mut source: OwnedMutexGuard<S>) -> Option<S::Item> {
    source.next().await
}
