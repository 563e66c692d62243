//! Workspaces as an embedder holds them.

use super::{Agent, Host, HostError, Session};
use crate::id::{SessionId, WorkspaceId};
use crate::permission::{Capability, Grants};
use crate::sandbox::Limits;
use crate::store::{Refusal, StoreError, WorkspaceNo};
use crate::workspace::WorkspaceKey;
use std::fmt;
use std::fs::File;
use std::sync::Arc;

/// What agents may do in a workspace, and how much. Nothing is granted by default.
#[derive(Clone, Debug, Default)]
pub struct WorkspaceOptions {
    grants: Grants,
    limits: Option<Limits>,
}

impl WorkspaceOptions {
    /// Nothing granted, the host's limits.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Grants a capability to every agent that wants it.
    #[must_use]
    pub fn grant(mut self, capability: Capability) -> Self {
        self.grants = self.grants.with(capability);
        self
    }

    /// Limits of this workspace's runs, instead of the host's.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = Some(limits);
        self
    }
}

/// An open workspace. A cloneable handle.
#[derive(Clone)]
pub struct Workspace {
    pub(super) host: Host,
    pub(crate) inner: Arc<WorkspaceInner>,
}

pub(crate) struct WorkspaceInner {
    pub(crate) id: WorkspaceId,
    pub(crate) no: WorkspaceNo,
    pub(crate) key: WorkspaceKey,
    pub(crate) directory: Option<Arc<File>>,
    pub(crate) grants: Grants,
    pub(crate) limits: Option<Limits>,
}

pub(super) async fn open(
    host: &Host,
    key: WorkspaceKey,
    options: WorkspaceOptions,
) -> Result<Workspace, HostError> {
    let directory = match &key {
        WorkspaceKey::Name(_) => None,
        WorkspaceKey::Directory(path) => {
            let unreadable = |source| HostError::Io {
                what: "open the workspace",
                path: path.clone(),
                source,
            };
            // Reading it once tells a file from a directory, and says now what would
            // otherwise fail inside every run.
            std::fs::read_dir(path).map_err(unreadable)?;
            Some(Arc::new(File::open(path).map_err(unreadable)?))
        }
    };
    let (id, no) = host.inner.store.workspace(key.stored()).await?;
    Ok(Workspace {
        host: host.clone(),
        inner: Arc::new(WorkspaceInner {
            id,
            no,
            key,
            directory,
            grants: options.grants,
            limits: options.limits,
        }),
    })
}

impl Workspace {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> WorkspaceId {
        self.inner.id
    }

    /// What it is known by.
    #[must_use]
    pub fn key(&self) -> &WorkspaceKey {
        &self.inner.key
    }

    /// What agents may do here if they want it.
    #[must_use]
    pub fn grants(&self) -> &Grants {
        &self.inner.grants
    }

    /// Begins a session with an agent.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn new_session(&self, agent: &Agent) -> Result<Session, HostError> {
        let store = &self.host.inner.store;
        let (id, no) = store.new_session(self.inner.no, agent.id().clone()).await?;
        Ok(self.handle(agent, id, no))
    }

    /// Goes on with a session of this workspace and agent.
    ///
    /// # Errors
    /// [`HostError::UnknownSession`], [`HostError::OtherAgent`] or
    /// [`HostError::OtherWorkspace`].
    pub async fn session(&self, id: SessionId, agent: &Agent) -> Result<Session, HostError> {
        let row = match self.host.inner.store.session(id).await {
            Err(StoreError::Refused(Refusal::UnknownSession)) => {
                return Err(HostError::UnknownSession(id));
            }
            other => other?,
        };
        if row.record.workspace != self.inner.id {
            return Err(HostError::OtherWorkspace {
                session: id,
                workspace: row.workspace_key,
            });
        }
        if row.record.agent != *agent.id() {
            return Err(HostError::OtherAgent {
                session: id,
                agent: row.record.agent.to_string(),
            });
        }
        Ok(self.handle(agent, id, row.no()))
    }

    fn handle(&self, agent: &Agent, id: SessionId, no: crate::store::SessionNo) -> Session {
        Session {
            host: self.host.clone(),
            workspace: self.clone(),
            agent: agent.clone(),
            id,
            no,
        }
    }
}

impl fmt::Debug for Workspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workspace")
            .field("key", &self.inner.key)
            .finish_non_exhaustive()
    }
}
