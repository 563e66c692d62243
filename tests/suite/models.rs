//! Model providers for the suite: one that parks for ever, one that always has more to say.

use futures_util::FutureExt;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream;
use lastword::model::{
    CallContext, ModelError, ModelEvent, ModelFinish, ModelInfo, ModelProvider, ModelRequest,
    ModelStream,
};
use std::sync::Arc;
use tokio::sync::watch;

/// A provider whose streams never say anything, and that counts those that were begun and
/// those that were dropped.
#[derive(Clone)]
pub(crate) struct Parked {
    begun: Arc<watch::Sender<usize>>,
    abandoned: Arc<watch::Sender<usize>>,
}

pub(crate) fn parked() -> Parked {
    Parked {
        begun: Arc::new(watch::Sender::new(0)),
        abandoned: Arc::new(watch::Sender::new(0)),
    }
}

struct Abandon(Arc<watch::Sender<usize>>);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count += 1);
    }
}

impl Parked {
    /// Waits until this many streams were begun.
    pub(crate) async fn wait_until_begun(&self, count: usize) {
        let mut begun = self.begun.subscribe();
        let reached = begun.wait_for(|begun| *begun >= count).await;
        drop(reached.unwrap());
    }

    /// Waits until this many streams were dropped.
    pub(crate) async fn wait_until_abandoned(&self, count: usize) {
        let mut abandoned = self.abandoned.subscribe();
        let reached = abandoned.wait_for(|dropped| *dropped >= count).await;
        drop(reached.unwrap());
    }
}

impl ModelProvider for Parked {
    fn complete(
        &self,
        _: CallContext,
        _: ModelRequest,
    ) -> BoxFuture<'static, Result<ModelStream, ModelError>> {
        let guard = Abandon(Arc::clone(&self.abandoned));
        self.begun.send_modify(|count| *count += 1);
        let nothing = stream::unfold(guard, |guard| async move {
            std::future::pending::<()>().await;
            drop(guard);
            None
        });
        futures_util::future::ready(Ok(nothing.boxed())).boxed()
    }

    fn models(&self) -> Vec<ModelInfo> {
        vec![info("parked")]
    }
}

/// A provider that answers each request with a few words and their end.
pub(crate) struct Talking;

pub(crate) fn talking() -> Talking {
    Talking
}

impl ModelProvider for Talking {
    fn complete(
        &self,
        _: CallContext,
        _: ModelRequest,
    ) -> BoxFuture<'static, Result<ModelStream, ModelError>> {
        let words = ["some ", "words"].map(|word| Ok(ModelEvent::Text(word.to_owned())));
        let end = [Ok(ModelEvent::Finish(ModelFinish::EndTurn))];
        let answer = stream::iter(words.into_iter().chain(end)).boxed();
        futures_util::future::ready(Ok(answer)).boxed()
    }

    fn models(&self) -> Vec<ModelInfo> {
        vec![info("talking")]
    }
}

fn info(name: &str) -> ModelInfo {
    ModelInfo {
        name: name.to_owned(),
        provider: "test".to_owned(),
        context_tokens: None,
    }
}
