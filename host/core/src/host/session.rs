//! Sessions as an embedder holds them.

use super::{Agent, Host, HostError, Prompt, Workspace};
use crate::event::Seq;
use crate::id::{RunId, SessionId};
use crate::run::dispatcher::NotAccepted;
use crate::run::{Cause, Events, Receipt, Run};
use crate::session::{Message, Part, SessionRecord};
use crate::store::{PromptRecord, SessionNo};
use std::fmt;

/// One conversation with one agent. A cloneable handle.
#[derive(Clone)]
pub struct Session {
    pub(super) host: Host,
    pub(super) workspace: Workspace,
    pub(super) agent: Agent,
    pub(super) id: SessionId,
    pub(super) no: SessionNo,
}

impl Session {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Asks the agent. The run is durable once this returns, and belongs to the workspace
    /// from then on. A session that is busy queues it.
    ///
    /// Dropping the future does not take the prompt back.
    ///
    /// # Errors
    /// [`HostError::EmptyPrompt`], [`HostError::QueueFull`], [`HostError::KeyConflict`],
    /// [`HostError::HostClosing`]: nothing is stored. [`HostError::StoreUnavailable`]: ask
    /// again with the same key.
    pub async fn prompt(&self, prompt: impl Into<Prompt>) -> Result<Run, HostError> {
        let mut prompt = prompt.into();
        if prompt.is_empty() {
            let default = self.agent.manifest().default_prompt.clone();
            let default = default.filter(|text| !text.trim().is_empty());
            prompt.parts = vec![Part::text(default.ok_or(HostError::EmptyPrompt)?)];
        }
        let id = RunId::generate();
        let record = PromptRecord {
            origin: "user".to_owned(),
            parts: prompt.parts,
            config: prompt.config.unwrap_or_else(|| "{}".to_owned()),
            deadline: prompt.deadline,
        };
        let inner = &self.host.inner;
        let job = inner.job(self, id, record);
        let run = inner.handle(std::sync::Arc::clone(&job.live));
        let answer = inner.dispatcher.accept(job, prompt.key);
        match answer.await {
            Ok(Ok(accepted)) if accepted == id => Ok(run),
            Ok(Ok(known)) => Ok(self.run(known)),
            Ok(Err(NotAccepted::Closing)) => Err(HostError::HostClosing),
            Ok(Err(NotAccepted::Store(error))) => Err(error.into()),
            Err(_) => Err(HostError::HostClosing),
        }
    }

    /// A run of this session.
    #[must_use]
    pub fn run(&self, id: RunId) -> Run {
        let dispatcher = &self.host.inner.dispatcher;
        Run {
            dispatcher: std::sync::Arc::clone(dispatcher),
            id,
            session: self.id,
            session_no: self.no,
            live: dispatcher.live(id),
        }
    }

    /// Stops the run and withdraws every prompt that was accepted before now; answers their
    /// ends, as [`Run::cancel`] does. Of an idle session, nothing.
    pub async fn cancel(&self) -> Vec<Receipt> {
        let stopped = self
            .host
            .inner
            .dispatcher
            .stop_session(self.no, &Cause::User);
        let mut receipts = Vec::with_capacity(stopped.len());
        for live in stopped {
            receipts.push(Receipt::clone(&*live.ended_or_provisional().await));
        }
        receipts
    }

    /// The session's events after one that was seen; `Seq(0)` is before the first. Does not
    /// end.
    #[must_use]
    pub fn events(&self, after: Seq) -> Events {
        Events::of_session(self.host.inner.store.clone(), self.id, self.no, after)
    }

    /// The session's last messages, in time order; at most
    /// [`PAGE_MESSAGES`](crate::store::PAGE_MESSAGES).
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn messages(&self) -> Result<Vec<Message>, HostError> {
        Ok(self
            .host
            .inner
            .store
            .history(self.no, None, u32::MAX)
            .await?)
    }

    /// The session as it stands.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn record(&self) -> Result<SessionRecord, HostError> {
        Ok(self.host.inner.store.session(self.id).await?.record)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
