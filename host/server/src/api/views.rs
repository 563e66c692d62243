//! Converts the host's values into those of the API.

use lastword::id::WorkspaceId;
use lastword::session::{WorkspaceKind, WorkspaceRecord};
use lastword::{Agent, WorkspaceKey, WorkspaceStatus};
use lastword_api::{AgentView, WorkspaceState, WorkspaceView};

/// Returns a workspace that is open or closing, or closed if it has no status.
pub(super) fn workspace(
    id: WorkspaceId,
    key: &WorkspaceKey,
    now: Option<&WorkspaceStatus>,
) -> WorkspaceView {
    let stored = key.stored();
    let (kind, key) = WorkspaceKind::split(&stored);
    WorkspaceView {
        id,
        kind,
        key: key.to_owned(),
        state: match now {
            Some(status) if status.closing => WorkspaceState::Closing,
            Some(_) => WorkspaceState::Open,
            None => WorkspaceState::Closed,
        },
        clients: now.map_or(0, |status| status.clients),
        streams: now.map_or(0, |status| status.streams),
        running: now.map_or(0, |status| status.running),
        queued: now.map_or(0, |status| status.queued),
    }
}

/// Returns the key of a stored workspace; `None` if it cannot be read, so that it is unknown who
/// may see the workspace.
pub(super) fn key(record: &WorkspaceRecord) -> Option<WorkspaceKey> {
    WorkspaceKey::from_stored(&record.kind.stored(&record.key))
}

/// Returns a loaded agent.
pub(super) fn agent(agent: &Agent) -> AgentView {
    let digest = agent.digest().to_string();
    AgentView::new(agent.id().clone(), digest, agent.manifest().clone())
}
