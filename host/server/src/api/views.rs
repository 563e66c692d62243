//! What goes over the wire and is not a value of the host library's own.
//! Knows shapes, and how to make them from the host's values.

use lastword::id::{AgentId, QuestionId, RunId, SessionId, WorkspaceId};
use lastword::session::{Answer, Granted, Question, WorkspaceKind, WorkspaceRecord};
use lastword::{Agent, HostError, Receipt, Run, RunState, WorkspaceKey, WorkspaceStatus};
use serde::Serialize;
use utoipa::ToSchema;

/// One page of a list.
#[derive(Serialize, ToSchema)]
pub(crate) struct PageView<T> {
    /// What it holds.
    pub(crate) items: Vec<T>,
    /// Where the next page begins; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}

/// Where a workspace stands.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WorkspaceState {
    /// Takes prompts.
    Open,
    /// Its runs are being ended; it takes no more prompts.
    Closing,
    /// It can be read, and opened again.
    Closed,
}

/// A workspace.
#[derive(Serialize, ToSchema)]
#[schema(as = Workspace)]
pub(crate) struct WorkspaceView {
    /// Its id.
    pub(crate) id: WorkspaceId,
    /// How it is known.
    pub(crate) kind: WorkspaceKind,
    /// The directory, or the name.
    pub(crate) key: String,
    /// Where it stands.
    pub(crate) state: WorkspaceState,
    /// Clients that have a claim on it.
    pub(crate) clients: u32,
    /// Their streams.
    pub(crate) streams: u32,
    /// Its runs that have a guest.
    pub(crate) running: u32,
    /// Its runs that wait.
    pub(crate) queued: u32,
}

impl WorkspaceView {
    /// A workspace that is open or closing, or, without a status, closed.
    pub(crate) fn new(id: WorkspaceId, key: &WorkspaceKey, now: Option<&WorkspaceStatus>) -> Self {
        let stored = key.stored();
        let (kind, key) = WorkspaceKind::split(&stored);
        Self {
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
}

/// What a stored workspace is known by; `None` where that cannot be told, so that it cannot be
/// told either who may see it.
pub(crate) fn key(record: &WorkspaceRecord) -> Option<WorkspaceKey> {
    WorkspaceKey::from_stored(&record.kind.stored(&record.key))
}

/// An agent that is loaded.
#[derive(Serialize, ToSchema)]
#[schema(as = Agent)]
pub(crate) struct AgentView {
    /// The name under which it was loaded.
    pub(crate) name: AgentId,
    /// The lower-case hex SHA-256 of its component.
    pub(crate) digest: String,
    /// What it asks for, in the order of its manifest.
    pub(crate) capabilities: Vec<&'static str>,
    /// What it says of itself.
    pub(crate) manifest: ManifestView,
}

/// What an agent says of itself.
#[derive(Serialize, ToSchema)]
#[schema(as = Manifest)]
pub(crate) struct ManifestView {
    /// Its own name.
    name: String,
    /// Its version.
    version: String,
    /// One or two sentences for people.
    description: String,
    /// What it asks for.
    wants: Vec<WantView>,
    /// Capabilities that it asks for and this host does not know.
    unknown_wants: Vec<String>,
    /// A JSON schema of its configuration, as JSON text.
    #[serde(skip_serializing_if = "Option::is_none")]
    config_schema: Option<String>,
    /// What an empty prompt stands for.
    #[serde(skip_serializing_if = "Option::is_none")]
    default_prompt: Option<String>,
}

/// One capability that an agent asks for.
#[derive(Serialize, ToSchema)]
#[schema(as = Want)]
pub(crate) struct WantView {
    /// Which.
    capability: &'static str,
    /// Of which hosts, models, tools; empty for any.
    scope: Vec<String>,
    /// Whether the agent is of no use without it.
    required: bool,
    /// Why, for people.
    reason: String,
}

impl From<&Agent> for AgentView {
    fn from(agent: &Agent) -> Self {
        let manifest = agent.manifest().clone();
        let wants = manifest.wants.into_iter().map(|want| WantView {
            capability: want.capability.as_str(),
            scope: want.scope,
            required: want.required,
            reason: want.reason,
        });
        let wants: Vec<_> = wants.collect();
        Self {
            name: agent.id().clone(),
            digest: agent.digest().to_string(),
            capabilities: wants.iter().map(|want| want.capability).collect(),
            manifest: ManifestView {
                name: manifest.name,
                version: manifest.version,
                description: manifest.description,
                wants,
                unknown_wants: manifest.unknown_wants,
                config_schema: manifest.config_schema,
                default_prompt: manifest.default_prompt,
            },
        }
    }
}

/// A run.
#[derive(Serialize, ToSchema)]
#[schema(as = Run)]
pub(crate) struct RunView {
    /// Its id.
    pub(crate) run: RunId,
    /// The session that it belongs to.
    pub(crate) session: SessionId,
    /// Where it stands.
    pub(crate) state: RunState,
    /// How it ended, once it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) receipt: Option<Receipt>,
}

impl RunView {
    /// A run as it stands.
    pub(crate) async fn of(run: &Run) -> Result<Self, HostError> {
        let state = run.state().await?;
        let receipt = match state.is_terminal() {
            true => Some(run.receipt().await?),
            false => None,
        };
        Ok(Self {
            run: run.id(),
            session: run.session(),
            state,
            receipt,
        })
    }
}

/// How a question stands.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = QuestionState)]
pub(crate) enum QuestionStatus {
    /// Nobody has answered yet.
    Open,
    /// Somebody has.
    Answered,
    /// Nobody answered in time: its run ended, or went on without an answer.
    Dismissed,
}

/// A question, and how it stands.
#[derive(Serialize, ToSchema)]
#[schema(as = QuestionStanding)]
pub(crate) struct QuestionView {
    /// What is asked.
    pub(crate) question: Question,
    /// The workspace in which it is asked.
    pub(crate) workspace: WorkspaceId,
    /// Whether it is answered.
    pub(crate) state: QuestionStatus,
    /// The answer that counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) answer: Option<Answer>,
}

/// What an answer came to.
#[derive(Serialize, ToSchema)]
#[schema(as = Answered)]
pub(crate) struct AnsweredView {
    /// It is the answer that counts.
    pub(crate) resolved: bool,
    /// What it granted for longer than once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) grant: Option<Granted>,
    /// The other open questions that this covers, and that are answered with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) settled: Vec<QuestionId>,
    /// The run that it queued, if the one that asked was over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) run: Option<RunId>,
}
