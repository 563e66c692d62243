//! Converts the host's values into those of the API.

use lastword::id::WorkspaceId;
use lastword::session::{WorkspaceKind, WorkspaceRecord};
use lastword::{Agent, HostError, Page, Run, WorkspaceKey, WorkspaceStatus};
use lastword_api::{
    AgentView, Damage, PageView, QueuedRun, RunSummary, RunView, WorkspaceState, WorkspaceView,
};

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

/// Returns a run in its current state.
pub(super) async fn run(run: &Run) -> Result<RunView, HostError> {
    let state = run.state().await?;
    let receipt = if state.is_terminal() {
        Some(run.receipt().await?)
    } else {
        None
    };

    Ok(RunView {
        run: run.id(),
        session: run.session(),
        state,
        receipt,
    })
}

/// Returns the runs of a session.
pub(super) fn runs(page: Page<lastword::RunSummary>) -> PageView<RunSummary> {
    let summary = |run: lastword::RunSummary| RunSummary {
        id: run.id,
        state: run.state,
        origin: run.origin,
        digest: run.digest,
        accepted_ms: run.accepted_ms,
        started_ms: run.started_ms,
        ended_ms: run.ended_ms,
        receipt: run.receipt,
    };

    PageView {
        items: page.items.into_iter().map(summary).collect(),
        next: page.next,
        damaged: damages(page.damaged),
    }
}

/// Returns a waiting prompt.
pub(super) fn queued(run: lastword::QueuedRun) -> QueuedRun {
    QueuedRun {
        run: run.run,
        state: run.state,
        origin: run.origin,
        parts: run.parts,
        key: run.key,
        deadline_ms: run.deadline_ms,
        accepted_ms: run.accepted_ms,
    }
}

/// Returns the damage in the form of the API.
pub(crate) fn damage(damage: lastword::Damage) -> Damage {
    Damage {
        table: damage.table,
        row: damage.row,
        session: damage.session,
        run: damage.run,
        why: damage.why,
        lost: damage.lost,
    }
}

/// Returns several damages in the form of the API.
pub(super) fn damages(damaged: Vec<lastword::Damage>) -> Vec<Damage> {
    damaged.into_iter().map(damage).collect()
}
