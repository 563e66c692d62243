//! Sessions as an embedder uses them: sending prompts, reading events, cancelling.

use super::workspace::follow_path;
use super::{Host, HostError, Prompt};
use crate::guest::Blob;
use crate::run::dispatcher::{Admission, NotAccepted, RunJob};
use crate::run::live::LiveRun;
use crate::run::{Cause, Events, Origin, Receipt, Run};
use lastword_store::{Continuation, HeldScope, Key, PromptRecord, Refusal, StoreError, Waits};
use lastword_types::event::Seq;
use lastword_types::id::{AgentId, ClientId, RunId, SessionId, WorkspaceId};
use lastword_types::session::{Message, Part};
use std::fmt;
use std::sync::Arc;

/// One conversation with one agent. A cloneable handle.
///
/// It can be read whether or not its workspace is open and its agent loaded; only a prompt
/// needs both. A session does not keep its workspace open: keep the
/// [`Workspace`](super::Workspace) that [`Host::open_workspace`] returned for as long as you send
/// prompts.
///
/// A session that was started by a run (its record names a parent) takes prompts like any other.
/// Such a prompt comes from you: its agent gets what its own manifest asks for and the workspace
/// grants, and is not limited to the permissions of the parent run. That limit applies to runs
/// started by runs. Those can neither wait nor be resumed, so that only your own prompts can go
/// beyond the limit.
#[derive(Clone)]
pub struct Session {
    pub(super) host: Host,
    pub(super) workspace: WorkspaceId,
    pub(super) agent: AgentId,
    pub(super) id: SessionId,
}

impl Session {
    /// Returns the session's id.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Returns the id of the session's workspace.
    #[must_use]
    pub fn workspace_id(&self) -> WorkspaceId {
        self.workspace
    }

    /// Returns the id of the session's agent.
    #[must_use]
    pub fn agent_id(&self) -> &AgentId {
        &self.agent
    }

    /// Sends a prompt to the agent. The run is durable once this returns, and belongs to the
    /// workspace from then on. If the session is busy, the run is queued.
    ///
    /// The prompt is submitted when the future is first polled; dropping the future after that
    /// does not withdraw the prompt.
    ///
    /// # Errors
    /// [`HostError::EmptyPrompt`], [`HostError::Invalid`] (beyond the bounds: of attachments,
    /// [`PROMPT_BYTES_MAX`](crate::PROMPT_BYTES_MAX),
    /// [`CONFIG_BYTES_MAX`](crate::CONFIG_BYTES_MAX), [`KEY_BYTES_MAX`](crate::KEY_BYTES_MAX); or a
    /// configuration that lacks a member that the schema in the agent's manifest requires, or whose
    /// members have other types),
    /// [`HostError::QueueFull`], [`HostError::KeyConflict`],
    /// [`HostError::WorkspaceClosing`], [`HostError::UnknownWorkspace`] (not open),
    /// [`HostError::UnknownAgent`] (not loaded), [`HostError::Io`] (the workspace's directory was
    /// removed, and its path leads to none), [`HostError::HostClosing`]: nothing is stored.
    /// [`HostError::StoreUnavailable`]: send the prompt again with the same key.
    pub async fn prompt(&self, prompt: impl Into<Prompt>) -> Result<Run, HostError> {
        let mut prompt = prompt.into();
        prompt.attached.check()?;
        prompt.check()?;
        let agent = self.host.agent(&self.agent);
        if let (Some(agent), Some(config)) = (&agent, &prompt.config) {
            let checked = agent.inner.check_config(config);
            checked.map_err(HostError::Invalid)?;
        }

        if prompt.is_empty() {
            let manifest = agent.as_ref().map(|agent| agent.manifest());
            let default = manifest.and_then(|manifest| manifest.default_prompt.clone());
            let default = default.filter(|text| !text.trim().is_empty());
            prompt.parts = vec![Part::text(
                default.ok_or_else(|| HostError::EmptyPrompt(self.agent.clone()))?,
            )];
        }

        let attached = std::mem::take(&mut prompt.attached);
        prompt.parts.extend(attached.parts);
        let record = PromptRecord {
            origin: Origin::User,
            parts: std::mem::take(&mut prompt.parts),
            config: prompt.config.take().unwrap_or_else(|| "{}".to_owned()),
            deadline: prompt.deadline,
            carried: None,
            labels: std::mem::take(&mut prompt.labels),
        };

        let key = prompt.key.map(|word| Key::of_prompt(word, &record));
        let key = key.transpose()?;
        let asked = self
            .ask(record, attached.blobs, prompt.bound_to, key.clone())
            .await;
        match (asked, key) {
            (Ok(run), _) => Ok(run),
            // The prompt may have been accepted under this key before the host or the workspace
            // began to close.
            (Err(error), Some(key)) if error.is_about_taking_prompts() => {
                let known = self.host.inner.store.known(self.id, key).await?;
                known.map(|known| self.run(known)).ok_or(error)
            }
            (Err(error), _) => Err(error),
        }
    }

    /// Continues a run that ended waiting. Returns `None` if another caller has already done so.
    pub(super) async fn go_on(
        &self,
        record: PromptRecord,
        goes_on: Continuation,
        key: Option<Key>,
    ) -> Result<Option<Run>, HostError> {
        let job = self.host.inner.job(self, RunId::generate(), record, None);
        let mut job = job?;
        job.goes_on = Some(goes_on);
        match self.hand_in(job, key).await {
            Ok(run) => Ok(Some(run)),
            Err(NotAccepted::Store(StoreError::Refused(Refusal::WrongState))) => Ok(None),
            Err(refused) => Err(self.refused(refused)),
        }
    }

    async fn ask(
        &self,
        record: PromptRecord,
        attached: Vec<Blob>,
        bound_to: Option<ClientId>,
        key: Option<Key>,
    ) -> Result<Run, HostError> {
        let inner = &self.host.inner;
        let mut job = inner.job(self, RunId::generate(), record, bound_to)?;
        if job.workspace.is_directory_removed() {
            follow_path(inner, &job.workspace).await?;
        }
        job.attached = attached;
        let handed_in = self.hand_in(job, key).await;
        handed_in.map_err(|refused| self.refused(refused))
    }

    pub(super) async fn hand_in(&self, job: RunJob, key: Option<Key>) -> Result<Run, NotAccepted> {
        let run = self.host.handle(Arc::clone(&job.live));
        let dispatcher = &self.host.inner.dispatcher;
        let answer = dispatcher.accept(job, key, Admission::InTurn);
        let accepted = answer.await.unwrap_or(Err(NotAccepted::HostClosing))?;
        if accepted == run.id {
            Ok(run)
        } else {
            Ok(self.run(accepted))
        }
    }

    pub(super) fn refused(&self, refused: NotAccepted) -> HostError {
        match refused {
            // These prompts may wait their turn, so they are never refused for a missing slot.
            NotAccepted::HostClosing | NotAccepted::NoSlot => HostError::HostClosing,
            NotAccepted::WorkspaceClosing => HostError::WorkspaceClosing(self.workspace),
            NotAccepted::Store(error) => error.into(),
        }
    }

    /// Returns a run of this session.
    #[must_use]
    pub fn run(&self, id: RunId) -> Run {
        let dispatcher = &self.host.inner.dispatcher;
        Run {
            host: self.host.clone(),
            id,
            session: self.id,
            live: dispatcher.live(id),
        }
    }

    /// Stops the current run, withdraws every prompt accepted so far, including held ones, and
    /// cancels every time or answer that the session waits for. Returns the receipts of all
    /// these runs, as [`Run::cancel`] does. A cancelled wait counts as the run that would have
    /// begun, with the origin `wake`. For an idle session, the list is empty.
    ///
    /// Dropping the future after its first poll does not undo the stop of the current run and of
    /// queued prompts. Held prompts and waits may remain; call this again for the rest.
    ///
    /// # Errors
    /// If the store cannot be read or written. Every run that could be stopped is stopped.
    pub async fn cancel(&self) -> Result<Vec<Receipt>, HostError> {
        let dispatcher = &self.host.inner.dispatcher;
        let mut stopped = dispatcher.stop_session(self.workspace, self.id, |_| true);
        let mut taken_back = self.stop_waiting().await;
        // In between, a wait may have been fulfilled and have started a run.
        let woken = |live: &LiveRun| live.woken;
        stopped.extend(dispatcher.stop_session(self.workspace, self.id, woken));
        stopped.dedup_by_key(|live| live.id);
        let mut receipts = Vec::with_capacity(stopped.len());
        for live in stopped {
            let receipt = dispatcher.ended_or_provisional(&live).await;
            if !live.has_no_end() {
                receipts.push(Receipt::clone(&receipt));
            }
        }

        if let Ok(receipts) = &mut taken_back {
            // A run that ended before it was stopped or seen may have left another wait.
            receipts.extend(self.stop_waiting().await?);
        }

        receipts.extend(taken_back?);
        let store = &self.host.inner.store;
        for held in store.held(HeldScope::Session(self.id)).await? {
            receipts.push(self.run(held.id).cancel().await?);
        }

        Ok(receipts)
    }

    async fn stop_waiting(&self) -> Result<Vec<Receipt>, HostError> {
        let why = "the session waited to be gone on with, and was cancelled";
        let waits = Waits::Session(self.id);
        let host = &self.host.inner;
        Ok(host.take_waits_back(waits, Cause::User, why).await?)
    }

    /// Returns the session's events after `after`; `Seq(0)` is before the first. The stream does
    /// not end.
    #[must_use]
    pub fn events(&self, after: Seq) -> Events {
        Events::of_session(self.host.clone(), self.id, after)
    }

    /// Returns the session's current record.
    ///
    /// Dropping the future has no effect.
    ///
    /// # Errors
    /// [`HostError::UnknownSession`].
    pub async fn record(&self) -> Result<lastword_types::session::SessionRecord, HostError> {
        Ok(self.host.inner.store.session(self.id).await?.record)
    }

    /// Returns the session's last messages, in time order; at most
    /// [`PAGE_MESSAGES`](lastword_store::PAGE_MESSAGES).
    ///
    /// Dropping the future has no effect.
    ///
    /// # Errors
    /// [`HostError::UnknownSession`].
    pub async fn messages(&self) -> Result<Vec<Message>, HostError> {
        self.messages_page(None, u32::MAX).await
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
