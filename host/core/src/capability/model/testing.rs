//! What this module's tests share: a request, and the whole of an answer.

use super::provider::{
    CallContext, ModelError, ModelEvent, ModelMessage, ModelProvider, ModelRequest, ModelStream,
};
use crate::id::{AgentId, RunId, SessionId, WorkspaceId};
use crate::session::{Part, Role};
use futures_util::StreamExt;

pub(super) fn context() -> CallContext {
    CallContext {
        workspace: WorkspaceId::generate(),
        session: SessionId::generate(),
        run: RunId::generate(),
        agent: AgentId::new("tester").unwrap(),
    }
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

/// All events of a stream, and the error that ended it, if one did.
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
