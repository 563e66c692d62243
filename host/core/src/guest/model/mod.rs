//! Models for guests: `host` builds a request from the history and the guest's messages, and a task
//! on the embedder's runtime sends it to the provider.

mod host;
mod media;

use crate::guest::budget::Budget;
use crate::guest::control::Control;
use crate::guest::transcript::Conversation;
use futures_util::StreamExt;
use lastword_providers::foreign::{Foreign, ForeignError};
use lastword_providers::model::{
    CallContext, ModelError, ModelErrorKind, ModelEvent, ModelInfo, ModelProvider, ModelRequest,
    Retrying,
};
use lastword_sandbox::ResourceTable;
use lastword_sandbox::bindings::lastword::agent::types::Failure;
use lastword_types::permission::Authority;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

/// The largest number of model events that wait for a guest.
const EVENTS_WAITING_MAX: usize = 64;
/// The longest time that a provider may take to list its models or its media types.
const SAYS: Duration = Duration::from_secs(5);
/// The longest time that a provider may take to return the context window of a model.
const WINDOW: Duration = Duration::from_secs(10);
/// The largest number of completions that a guest may have open at once.
const COMPLETIONS_MAX: usize = 16;

/// One guest's access to models, or the refusal if it has none.
pub(crate) struct Model {
    pub(crate) control: Arc<Control>,
    pub(crate) granted: Result<Granted, Failure>,
    pub(super) completions: ResourceTable,
}

/// The access of a run: its context, its provider, and where the answers are recorded.
pub(crate) struct Granted {
    pub(crate) provider: Arc<dyn ModelProvider>,
    /// The embedder's runtime, since the provider's futures never run on a guest's stack.
    pub(crate) runtime: Handle,
    pub(crate) foreign: Foreign,
    /// Decides which models may be called.
    pub(crate) authority: Authority,
    pub(crate) budget: Arc<Budget>,
    pub(crate) context: CallContext,
    pub(crate) conversation: Conversation,
}

impl Granted {
    /// Returns the provider's list of models. A request calls this once at most.
    pub(super) async fn models(&self) -> Result<Vec<ModelInfo>, ModelError> {
        let provider = Arc::clone(&self.provider);
        let models = self.foreign.blocking(SAYS, move || provider.models()).await;
        models.map_err(silent)
    }

    /// Returns those media types of a request that the model accepts.
    pub(super) async fn taken(
        &self,
        model: &str,
        types: HashSet<String>,
    ) -> Result<HashSet<String>, ModelError> {
        if types.is_empty() {
            return Ok(types);
        }

        let (provider, model) = (Arc::clone(&self.provider), model.to_owned());
        let takes = move || {
            let taken = types.into_iter();
            taken
                .filter(|media| provider.takes(&model, media))
                .collect::<HashSet<String>>()
        };

        self.foreign.blocking(SAYS, takes).await.map_err(silent)
    }

    /// Returns the context window of a model, if the provider returns one in time.
    pub(super) async fn window(&self, model: String) -> Option<u32> {
        let provider = Arc::clone(&self.provider);
        let ask = move || provider.context_tokens(&model);
        let told = self.foreign.call(Some(WINDOW), ask).await;
        told.unwrap_or_else(|error| {
            tracing::warn!(%error, "the model provider tells no window");
            None
        })
    }
}

/// Returns the agent's error for a provider that fails to list its models or media types.
fn silent(error: ForeignError) -> ModelError {
    tracing::warn!(%error, "the model provider does not say what it has");
    ModelError::new(
        ModelErrorKind::Garbled,
        format!("the host's model provider does not say what it has: {error}"),
    )
}

impl Model {
    pub(crate) fn new(control: &Arc<Control>, granted: Result<Granted, Failure>) -> Self {
        let mut completions = ResourceTable::new();
        completions.set_max_capacity(COMPLETIONS_MAX);
        Self {
            control: Arc::clone(control),
            granted,
            completions,
        }
    }
}

/// A completion that is under way. Dropping it cancels the request.
pub(super) struct Completion {
    events: mpsc::Receiver<Result<ModelEvent, ModelError>>,
    _task: AbortOnDropHandle<()>,
    finished: bool,
}

impl Completion {
    /// Sends a request. Returns once the provider has accepted it.
    pub(super) async fn begin(
        granted: &Granted,
        request: ModelRequest,
    ) -> Result<Self, ModelError> {
        let (sender, events) = mpsc::channel(EVENTS_WAITING_MAX);
        let (accepted, answer) = oneshot::channel();
        let provider = Arc::clone(&granted.provider);
        let context = granted.context.clone();
        let output = Arc::clone(&granted.conversation.output);
        let model = request.model.clone().unwrap_or_default();
        let task = granted.runtime.spawn(
            async move {
                let mut stream = match provider.complete(context, request).await {
                    Ok(stream) => stream,
                    Err(error) => return drop(accepted.send(Err(error))),
                };
                let _guest_went_away = accepted.send(Ok(()));
                while let Some(event) = stream.next().await {
                    if let Ok(ModelEvent::Retrying(retrying)) = event {
                        // Reported at once, whether or not the guest waits already.
                        let Retrying {
                            attempt,
                            cause,
                            wait,
                        } = retrying;
                        let _run_is_over = output.retrying(model.clone(), attempt, cause, wait);
                        continue;
                    }
                    if sender.send(event).await.is_err() {
                        return;
                    }
                }
            }
            .in_current_span(),
        );
        let task = AbortOnDropHandle::new(task);
        answer.await.map_err(|_| panicked())??;
        Ok(Self {
            events,
            _task: task,
            finished: false,
        })
    }

    /// Returns the next event; `None` after the end marker. A stream that ends without the marker
    /// is an error.
    pub(super) async fn next(&mut self) -> Result<Option<ModelEvent>, ModelError> {
        if self.finished {
            return Ok(None);
        }

        let event = self.events.recv().await.unwrap_or_else(|| {
            Err(ModelError::new(
                ModelErrorKind::Truncated,
                "the model's answer broke off before its end",
            ))
        });
        self.finished = matches!(event, Err(_) | Ok(ModelEvent::Finish(_)));
        event.map(Some)
    }
}

/// Returns the agent's error for a provider that panicked.
fn panicked() -> ModelError {
    ModelError::new(
        ModelErrorKind::Garbled,
        "the host's model provider failed; its log says why",
    )
}
