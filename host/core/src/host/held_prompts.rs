//! Resumes prompts that are held: those that were queued when a host ended or a workspace closed.

use super::registry::ClaimedWorkspace;
use super::{Host, HostError, HostInner, Session};
use crate::run::Run;
use crate::workspace::WorkspaceKey;
use crate::workspace::claims::Owner;
use crate::workspace::registry::Claimant;
use lastword_store::{HeldScope, Key, RunAt, StoreError};
use lastword_types::id::{AgentId, WorkspaceId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl Host {
    /// Puts the held prompts of sessions whose agent is loaded and whose workspace is open back
    /// into the queue, and returns their runs.
    ///
    /// Dropping the future leaves every prompt held or queued; call this again for the rest.
    ///
    /// # Errors
    /// If the store cannot be read or written.
    pub async fn resume_held(&self) -> Result<Vec<Run>, HostError> {
        self.resume_all(HeldScope::All, None).await
    }

    /// As [`Host::resume_held`], and also for prompts whose workspace is closed: it is opened with
    /// its last options and grants, until its runs have ended. A server calls this at its start.
    /// The prompts of a workspace that cannot be opened stay held, and so do those whose agent is
    /// not loaded; the log names both. Dropping the future leaves every prompt held or queued, and
    /// leaves no workspace open without runs.
    ///
    /// # Errors
    /// If the store cannot be read or written.
    pub async fn reopen_held(&self) -> Result<Vec<Run>, HostError> {
        let held = self.inner.store.held(HeldScope::All).await?;
        self.warn_of_missing_agents(&held);
        let workspaces: BTreeSet<WorkspaceId> = held.iter().map(|row| row.workspace).collect();
        let mut reopened = Vec::new();
        for id in workspaces {
            match self.inner.reopen(id).await {
                Ok(kept) => reopened.push(kept),
                Err(error) => {
                    tracing::warn!(workspace = %id, %error, "its prompts stay held");
                }
            }
        }

        self.resume_held().await
    }

    /// Names the agents in the log that held prompts wait for and that are not loaded.
    fn warn_of_missing_agents(&self, held: &[RunAt]) {
        let mut waiting: BTreeMap<&AgentId, usize> = BTreeMap::new();
        for run in held.iter().filter(|run| self.agent(&run.agent).is_none()) {
            *waiting.entry(&run.agent).or_default() += 1;
        }

        for (agent, prompts) in waiting {
            tracing::warn!(
                %agent,
                prompts,
                "prompts stay held, since their agent is not loaded; they go on once it is"
            );
        }
    }

    pub(super) async fn resume_all(
        &self,
        scope: HeldScope,
        key: Option<Key>,
    ) -> Result<Vec<Run>, HostError> {
        let mut resumed = Vec::new();
        for held in self.inner.store.held(scope).await? {
            resumed.extend(self.resume_one(held, key.clone()).await?);
        }
        Ok(resumed)
    }

    async fn resume_one(&self, held: RunAt, key: Option<Key>) -> Result<Option<Run>, HostError> {
        let session = Session {
            host: self.clone(),
            workspace: held.workspace,
            agent: held.agent,
            id: held.session,
        };

        let Ok(job) = self.inner.job(&session, held.id, held.prompt, None) else {
            return Ok(None);
        };

        let run = self.handle(Arc::clone(&job.live));
        match self.inner.dispatcher.resume(job, key).await {
            Ok(Ok(())) => Ok(Some(run)),
            // Another caller has resumed or withdrawn it first.
            Ok(Err(StoreError::Refused(_))) => Ok(None),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(HostError::HostClosing),
        }
    }
}

impl HostInner {
    /// Opens a workspace with its last options, or returns it unchanged if it is open. It stays open
    /// at least until the returned claim is dropped.
    pub(super) async fn reopen(
        self: &Arc<Self>,
        id: WorkspaceId,
    ) -> Result<ClaimedWorkspace, HostError> {
        let key = self.store.workspace_key(id).await?;
        let key = WorkspaceKey::from_stored(&key).ok_or(HostError::UnknownDirectory(id))?;
        self.claim(&key, None, Claimant::Owner(Owner::Host)).await
    }
}
