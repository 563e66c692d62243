//! Resumes prompts that are held: those that were queued when a host ended or a workspace closed.

use super::{Host, HostError, HostInner, Session};
use crate::run::Run;
use crate::workspace::WorkspaceKey;
use crate::workspace::registry::Claimant;
use lastword_store::{HeldScope, Key, RunAt, StoreError};
use lastword_types::id::WorkspaceId;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Host {
    /// Puts the held prompts of sessions whose agent is loaded and whose workspace is open back
    /// into the queue, and returns their runs.
    ///
    /// # Errors
    /// If the store cannot be read or written.
    pub async fn resume_held(&self) -> Result<Vec<Run>, HostError> {
        self.resume_all(HeldScope::All, None).await
    }

    /// As [`Host::resume_held`], and also for prompts whose workspace is closed: it is opened with
    /// its last options and grants, until its runs have ended. A server calls this at its start.
    /// The prompts of a workspace that cannot be opened stay held. Dropping the future leaves every
    /// prompt held or queued, and leaves no workspace open without runs.
    ///
    /// # Errors
    /// If the store cannot be read or written.
    pub async fn reopen_held(&self) -> Result<Vec<Run>, HostError> {
        let held = self.inner.store.held(HeldScope::All).await?;
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

/// A workspace that the host itself keeps open, until this is dropped.
pub(super) struct KeptOpen {
    host: Arc<HostInner>,
    id: WorkspaceId,
}

impl Drop for KeptOpen {
    fn drop(&mut self) {
        self.host.workspaces.lock().let_go(self.id);
        self.host.close_if_unclaimed(self.id);
    }
}

impl HostInner {
    /// Opens a workspace with its last options, or returns it unchanged if it is open.
    pub(super) async fn reopen(self: &Arc<Self>, id: WorkspaceId) -> Result<KeptOpen, HostError> {
        let key = self.store.workspace_key(id).await?;
        let key = WorkspaceKey::from_stored(&key).ok_or(HostError::UnknownDirectory(id))?;
        let (open, _) = self.claim(&key, None, Claimant::Host).await?;
        Ok(KeptOpen {
            host: Arc::clone(self),
            id: open.id,
        })
    }
}
