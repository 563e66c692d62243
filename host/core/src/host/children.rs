//! Starts runs on behalf of runs. A child run gets its own session, below its parent's session. It
//! gets a slot at once or not at all, and is stopped with its parent.

use super::{Host, HostInner, Session};
use crate::guest::agents::{Child, ChildEnd, RunSpawner};
use crate::run::dispatcher::{Admission, Dispatcher, NotAccepted};
use crate::run::live::{LiveRun, NoEnd};
use crate::run::{Cause, Origin, Receipt};
use futures_util::future::BoxFuture;
use lastword_providers::tools::{ToolError, ToolErrorKind};
use lastword_store::{PromptRecord, StoreError};
use lastword_types::id::{AgentId, RunId};
use lastword_types::session::{Message, Part, PartBody, Role};
use lastword_types::similar::did_you_mean;
use std::sync::{Arc, Weak};

/// Starts child runs, as long as the host exists.
pub(super) struct Children(Weak<HostInner>);

impl Children {
    pub(super) fn of(host: &Arc<HostInner>) -> Arc<dyn RunSpawner> {
        Arc::new(Self(Arc::downgrade(host)))
    }

    fn host(&self) -> Option<Host> {
        self.0.upgrade()?.host()
    }
}

impl RunSpawner for Children {
    fn start(&self, child: Child) -> BoxFuture<'static, Result<ChildEnd, ToolError>> {
        let host = self.host();
        Box::pin(async move {
            let host = host.ok_or_else(|| unavailable("the host is gone"))?;
            host.start(child).await
        })
    }

    fn agents(&self) -> Vec<(AgentId, String)> {
        let Some(host) = self.host() else {
            return Vec::new();
        };

        let agents = host.agents().into_iter();
        let told = agents.map(|agent| {
            let about = agent.manifest().description.clone();
            (agent.id().clone(), about)
        });
        told.collect()
    }
}

/// Stops a child run when its parent no longer waits for it.
struct WithParent {
    dispatcher: Arc<Dispatcher>,
    live: Arc<LiveRun>,
}

impl Drop for WithParent {
    fn drop(&mut self) {
        // No effect if the run has ended.
        self.dispatcher.stop(&self.live, &Cause::Parent);
    }
}

impl Host {
    async fn start(&self, child: Child) -> Result<ChildEnd, ToolError> {
        let session = self.child_session(&child).await?;
        let record = PromptRecord {
            origin: Origin::Parent,
            parts: vec![Part::text(child.prompt)],
            config: child.config.unwrap_or_else(|| "{}".to_owned()),
            deadline: None,
            carried: None,
            labels: child.parent.labels.as_ref().clone(),
        };

        let job = self.inner.job(&session, RunId::generate(), record, None);
        let mut job = job.map_err(|error| unavailable(error.to_string()))?;
        job.lineage = Some(child.lineage);
        let live = Arc::clone(&job.live);
        let dispatcher = Arc::clone(&self.inner.dispatcher);
        let accepted = dispatcher.accept(job, None, Admission::AtOnce);
        let with_parent = WithParent {
            dispatcher,
            live: Arc::clone(&live),
        };

        if let Some(refused) = accepted.await.map_or(Some(closing()), refusal) {
            drop(with_parent);
            // The session holds no prompt, and another attempt creates a new one.
            if let Err(error) = session.delete().await {
                tracing::warn!(%error, "the session of a run that was refused is left behind");
            }
            return Err(refused);
        }

        let receipt = match live.ended().await {
            Ok(receipt) => receipt,
            Err(NoEnd::Held) => return Err(closing()),
            Err(NoEnd::Lost(error)) => return Err(failed(&error)),
        };

        drop(with_parent);
        let messages = session.messages().await;
        let messages = messages.map_err(|error| unavailable(error.to_string()))?;
        Ok(told(&session, &receipt, &messages))
    }

    async fn child_session(&self, child: &Child) -> Result<Session, ToolError> {
        let agent = AgentId::new(child.agent.as_str()).ok();
        let agent = agent.and_then(|id| self.agent(&id)).ok_or_else(|| {
            let names: Vec<String> = self.agents().iter().map(|a| a.id().to_string()).collect();
            let meant = did_you_mean(&child.agent, names.iter().map(String::as_str));
            ToolError::invalid(format!(
                "there is no agent `{}`{meant}; the agents are: {}",
                child.agent,
                names.join(", ")
            ))
        })?;
        if let Some(config) = &child.config {
            let checked = agent.inner.check_config(config);
            checked.map_err(ToolError::invalid)?;
        }

        let workspace = self.workspace(child.parent.workspace);
        let workspace = workspace.map_err(|error| unavailable(error.to_string()))?;
        let session = workspace.new_child_session(&agent, child.parent.session);
        let session = session.await.map_err(|e| unavailable(e.to_string()))?;
        if let Some(title) = &child.title {
            let renamed = session.rename(title).await;
            renamed.map_err(|error| ToolError::invalid(error.to_string()))?;
        }

        Ok(session)
    }
}

/// Returns the reason why a run was not accepted, if it was not.
fn refusal(accepted: Result<RunId, NotAccepted>) -> Option<ToolError> {
    Some(match accepted.err()? {
        NotAccepted::NoSlot => ToolError::new(
            ToolErrorKind::Limit,
            "as many runs go on as may; do it yourself, or start fewer at a time",
        ),
        NotAccepted::HostClosing | NotAccepted::WorkspaceClosing => closing(),
        NotAccepted::Store(error) => failed(&error),
    })
}

fn closing() -> ToolError {
    unavailable("the workspace is closing")
}

fn told(session: &Session, receipt: &Receipt, messages: &[Message]) -> ChildEnd {
    let own = |message: &&Message| message.run == receipt.run && message.role == Role::Assistant;
    let last = messages.iter().rev().find(own);
    let output = last.and_then(|message| {
        let output = |part: &Part| match &part.body {
            PartBody::Other { kind, json } if kind == "output" => Some(json.clone()),
            _ => None,
        };
        message.parts.iter().rev().find_map(output)
    });
    ChildEnd {
        session: session.id(),
        run: receipt.run,
        state: receipt.state,
        cause: receipt.cause.clone(),
        detail: receipt.detail.clone(),
        text: last.map(Message::text).unwrap_or_default(),
        output,
    }
}

fn unavailable(why: impl Into<String>) -> ToolError {
    ToolError::new(ToolErrorKind::Unavailable, why)
}

fn failed(error: &StoreError) -> ToolError {
    tracing::warn!(%error, "a run could not be started for another");
    ToolError::new(ToolErrorKind::Internal, "the host's store failed")
}
