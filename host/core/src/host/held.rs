//! Going on with prompts that are held: queued when a host ended or a workspace closed.

use super::{Host, HostError, HostInner, Session, WorkspaceOptions};
use crate::id::WorkspaceId;
use crate::run::Run;
use crate::store::{HeldRow, HeldScope, StoreError};
use crate::workspace::WorkspaceKey;
use crate::workspace::registry::Claimant;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Host {
    /// Puts the prompts that are held back into the queue, for those sessions whose agent is
    /// loaded and whose workspace is open. Answers their runs.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub async fn resume_held(&self) -> Result<Vec<Run>, HostError> {
        self.resume_all(HeldScope::All).await
    }

    /// The same, for those too whose workspace is closed: it is opened as it was last, with
    /// the same grants, until its runs are over. What a server does when it starts. A
    /// workspace that cannot be opened keeps its prompts held.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub async fn reopen_held(&self) -> Result<Vec<Run>, HostError> {
        let held = self.inner.store.held(HeldScope::All).await?;
        let workspaces: BTreeSet<WorkspaceId> = held.iter().map(|row| row.workspace).collect();
        let mut reopened = Vec::new();
        for id in workspaces {
            match self.inner.reopen(id).await {
                Ok(()) => reopened.push(id),
                Err(error) => {
                    tracing::warn!(workspace = %id, %error, "its prompts stay held");
                }
            }
        }
        let resumed = self.resume_held().await;
        for id in reopened {
            self.inner.workspaces.lock().let_go(id);
            self.inner.close_if_unclaimed(id);
        }
        resumed
    }

    pub(super) async fn resume_all(&self, scope: HeldScope) -> Result<Vec<Run>, HostError> {
        let mut resumed = Vec::new();
        for held in self.inner.store.held(scope).await? {
            resumed.extend(self.resume_one(held).await?);
        }
        Ok(resumed)
    }

    async fn resume_one(&self, held: HeldRow) -> Result<Option<Run>, HostError> {
        let session = Session {
            host: self.clone(),
            workspace: held.workspace,
            agent: held.agent,
            id: held.session,
            no: held.session_no,
        };
        let Ok(job) = self.inner.job(&session, held.id, held.prompt, None) else {
            return Ok(None);
        };
        match self.inner.store.resume(held.no).await {
            // Somebody else was quicker, or took it back.
            Err(StoreError::Refused(_)) => return Ok(None),
            other => other?,
        }
        let run = self.inner.handle(Arc::clone(&job.live));
        self.inner.dispatcher.requeue(job, held.no);
        Ok(Some(run))
    }
}

impl HostInner {
    /// Opens a workspace as it was opened last, and keeps it open until it is let go.
    pub(super) async fn reopen(self: &Arc<Self>, id: WorkspaceId) -> Result<(), HostError> {
        let (key, stored) = self.store.opened_with(id).await?;
        let open = self.workspaces.lock().open(id).is_ok();
        let options = (!open).then(|| WorkspaceOptions::from_stored(&stored, self.limits));
        let key = WorkspaceKey::from_stored(&key);
        self.claim(&key, options, Claimant::Host).await.map(drop)
    }
}
