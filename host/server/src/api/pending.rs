//! Stand-ins for what the host library does not have yet.
#![allow(missing_docs, clippy::all)]
use lastword::event::Position;
use lastword::id::*;
use lastword::session::*;
use lastword::*;
use serde::{Deserialize, Serialize};

pub struct Page<T> {
    pub items: Vec<T>,
    pub next: Option<String>,
}
pub struct WorkspaceRecord {
    pub id: WorkspaceId,
    pub key: String,
    pub kind: String,
}
pub struct SessionFilter {
    pub workspace: Option<WorkspaceId>,
    pub parent: Option<SessionId>,
    pub limit: u32,
    pub after: Option<String>,
}
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
pub struct Todo {
    pub content: String,
}
#[derive(Serialize, utoipa::ToSchema)]
pub struct Export {
    pub session: SessionRecord,
}
impl Export {
    pub fn to_markdown(&self) -> String {
        String::new()
    }
}

pub trait PendingHost {
    async fn known_workspaces(
        &self,
        _: u32,
        _: Option<String>,
    ) -> Result<Page<WorkspaceRecord>, HostError>;
    async fn list_sessions(&self, f: SessionFilter) -> Result<Page<SessionRecord>, HostError>;
    async fn purge_workspace(&self, _: WorkspaceId) -> Result<(), HostError> {
        Ok(())
    }
    async fn keep_agent(&self, name: &str, wasm: Vec<u8>) -> Result<Agent, HostError>;
    async fn forget_agent(&self, _: &AgentId) -> Result<bool, HostError> {
        Ok(false)
    }
    fn workspace_events(&self, _: WorkspaceId, _: Position) -> Events {
        panic!("pending")
    }
}
impl PendingHost for Host {
    async fn known_workspaces(
        &self,
        _: u32,
        _: Option<String>,
    ) -> Result<Page<WorkspaceRecord>, HostError> {
        let items = self
            .open_workspaces()
            .into_iter()
            .map(|s| WorkspaceRecord {
                id: s.id,
                kind: match s.key {
                    WorkspaceKey::Name(_) => "name".into(),
                    _ => "directory".into(),
                },
                key: s.key.to_string(),
            })
            .collect();
        Ok(Page { items, next: None })
    }
    async fn list_sessions(&self, f: SessionFilter) -> Result<Page<SessionRecord>, HostError> {
        Ok(Page {
            items: self.sessions(f.workspace, f.limit).await?,
            next: None,
        })
    }
    async fn keep_agent(&self, name: &str, wasm: Vec<u8>) -> Result<Agent, HostError> {
        self.load_agent(name, wasm).await
    }
}
pub trait PendingSession {
    async fn messages_page(&self, _: Option<MessageId>, _: u32) -> Result<Vec<Message>, HostError>;
    async fn runs(&self) -> Result<Vec<RunRow>, HostError> {
        Ok(vec![])
    }
    async fn fork(&self, m: MessageId) -> Result<Session, HostError> {
        Err(HostError::UnknownMessage(m))
    }
    async fn delete(&self) -> Result<(), HostError> {
        Ok(())
    }
    async fn export(&self) -> Result<Export, HostError>;
    async fn blob(&self, _: &BlobId) -> Result<Option<Vec<u8>>, HostError> {
        Ok(None)
    }
    async fn rename(&self, _: &str) -> Result<SessionRecord, HostError>;
    async fn set_todo(&self, _: Vec<Todo>) -> Result<SessionRecord, HostError>;
}
impl PendingSession for Session {
    async fn messages_page(&self, _: Option<MessageId>, _: u32) -> Result<Vec<Message>, HostError> {
        self.messages().await
    }
    async fn export(&self) -> Result<Export, HostError> {
        Ok(Export {
            session: self.record().await?,
        })
    }
    async fn rename(&self, _: &str) -> Result<SessionRecord, HostError> {
        self.record().await
    }
    async fn set_todo(&self, _: Vec<Todo>) -> Result<SessionRecord, HostError> {
        self.record().await
    }
}
pub trait PendingWorkspace {
    async fn new_child_session(&self, a: &Agent, _: SessionId) -> Result<Session, HostError>;
}
impl PendingWorkspace for Workspace {
    async fn new_child_session(&self, a: &Agent, _: SessionId) -> Result<Session, HostError> {
        self.new_session(a).await
    }
}
pub trait PendingEvents: Sized {
    fn stored(self) -> Self {
        self
    }
    async fn check(&mut self) -> Result<(), HostError> {
        Ok(())
    }
}
impl PendingEvents for Events {}
