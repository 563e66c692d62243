//! A guest's way to a model: what a request holds once the host has put the history in front,
//! and the task on the embedder's runtime that carries it out. Knows no provider.

use super::{
    CallContext, ModelError, ModelErrorKind, ModelEvent, ModelProvider, ModelRequest, Retrying,
};
use crate::capability::budget::Budget;
use crate::capability::control::Control;
use crate::capability::transcript::Conversation;
use crate::permission::Authority;
use crate::sandbox::ResourceTable;
use futures_util::StreamExt;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

/// Model events that wait for a guest at the most.
const EVENTS_WAITING_MAX: usize = 64;
/// Completions that a guest may have open at once.
const COMPLETIONS_MAX: usize = 16;

/// One guest's access to models; none if that is not granted.
pub(crate) struct Model {
    pub(crate) control: Arc<Control>,
    pub(crate) granted: Option<Granted>,
    pub(super) completions: ResourceTable,
}

/// On whose behalf, from whom, and where the answers are recorded.
pub(crate) struct Granted {
    pub(crate) provider: Arc<dyn ModelProvider>,
    /// The embedder's: its futures never run on a guest's stack.
    pub(crate) runtime: Handle,
    /// Which models may be asked.
    pub(crate) authority: Authority,
    pub(crate) budget: Arc<Budget>,
    pub(crate) context: CallContext,
    pub(crate) conversation: Conversation,
}

impl Model {
    pub(crate) fn new(control: &Arc<Control>, granted: Option<Granted>) -> Self {
        let mut completions = ResourceTable::new();
        completions.set_max_capacity(COMPLETIONS_MAX);
        Self {
            control: Arc::clone(control),
            granted,
            completions,
        }
    }

    pub(crate) fn denied(control: &Arc<Control>) -> Self {
        Self::new(control, None)
    }
}

/// A completion under way. Dropping it ends the request.
pub(super) struct Completion {
    events: mpsc::Receiver<Result<ModelEvent, ModelError>>,
    _task: AbortOnDropHandle<()>,
    finished: bool,
}

impl Completion {
    /// Begins a request; answers once the provider has accepted it.
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
        let task = granted.runtime.spawn(async move {
            let mut stream = match provider.complete(context, request).await {
                Ok(stream) => stream,
                Err(error) => return drop(accepted.send(Err(error))),
            };
            let _guest_went_away = accepted.send(Ok(()));
            while let Some(event) = stream.next().await {
                if let Ok(ModelEvent::Retrying(retrying)) = event {
                    // Told at once, whether or not the guest waits already.
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
        });
        let task = AbortOnDropHandle::new(task);
        answer.await.map_err(|_| panicked())??;
        Ok(Self {
            events,
            _task: task,
            finished: false,
        })
    }

    /// The next event; `None` after the end marker. A stream that ends without one is an
    /// error, not an end.
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

/// What an agent is told of a provider that panicked.
pub(super) fn panicked() -> ModelError {
    ModelError::new(
        ModelErrorKind::Garbled,
        "the host's model provider failed; its log says why",
    )
}
