//! What a server answers, as far as the command line reads it. Pure shapes.

use lastword::clock::UnixMillis;
use lastword::id::{QuestionId, RunId, SessionId, WorkspaceId};
use lastword::permission::{Manifest, Want};
use lastword::session::{Granted, WorkspaceKind};
use lastword::{Receipt, RunState};
use serde::{Deserialize, Serialize};
use std::fmt::{self, Display, Formatter};

/// One page of a list.
#[derive(Deserialize)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    #[serde(default)]
    pub(crate) next: Option<String>,
    /// What belongs into it and cannot be read.
    #[serde(default)]
    pub(crate) damaged: Vec<Damaged>,
}

/// What a server cannot read of what it keeps.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub(crate) struct Damaged {
    table: String,
    #[serde(default)]
    row: Option<String>,
    why: String,
    lost: String,
}

impl Display for Damaged {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let row = self.row.as_deref().unwrap_or("?");
        write!(
            f,
            "row {row} of the table `{}` cannot be read: {}; lost: {}",
            self.table, self.why, self.lost
        )
    }
}

/// A workspace.
#[derive(Deserialize)]
pub(crate) struct WorkspaceView {
    pub(crate) id: WorkspaceId,
    kind: WorkspaceKind,
    /// The directory, or the name.
    pub(crate) key: String,
}

impl WorkspaceView {
    /// Its key as a store holds it.
    pub(crate) fn stored_key(&self) -> String {
        self.kind.stored(&self.key)
    }
}

/// A run.
#[derive(Deserialize)]
pub(crate) struct RunView {
    pub(crate) run: RunId,
    pub(crate) session: SessionId,
    pub(crate) state: RunState,
}

/// A run in a list.
#[derive(Deserialize)]
pub(crate) struct RunListed {
    pub(crate) id: RunId,
    pub(crate) state: RunState,
    #[serde(default)]
    pub(crate) started_ms: Option<UnixMillis>,
    #[serde(default)]
    pub(crate) ended_ms: Option<UnixMillis>,
    #[serde(default)]
    pub(crate) receipt: Option<Receipt>,
}

/// What an answer came to.
#[derive(Deserialize, Serialize)]
pub(crate) struct AnsweredView {
    resolved: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) grant: Option<Granted>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) settled: Vec<QuestionId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) run: Option<RunId>,
}

/// An agent that is loaded.
#[derive(Deserialize)]
pub(crate) struct AgentView {
    pub(crate) digest: String,
    manifest: ManifestView,
}

#[derive(Deserialize)]
struct ManifestView {
    name: String,
    version: String,
    description: String,
    wants: Vec<WantView>,
    unknown_wants: Vec<String>,
    #[serde(default)]
    config_schema: Option<String>,
    #[serde(default)]
    default_prompt: Option<String>,
}

#[derive(Deserialize)]
struct WantView {
    capability: String,
    scope: Vec<String>,
    required: bool,
    reason: String,
}

impl AgentView {
    /// What it says of itself. What a newer server knows and this client does not is unknown.
    pub(crate) fn into_manifest(self) -> Manifest {
        let said = self.manifest;
        let mut unknown_wants = said.unknown_wants;
        let mut wants = Vec::new();
        for want in said.wants {
            match want.capability.parse() {
                Ok(capability) => wants.push(Want {
                    capability,
                    scope: want.scope,
                    required: want.required,
                    reason: want.reason,
                }),
                Err(_) => unknown_wants.push(want.capability),
            }
        }
        Manifest {
            name: said.name,
            version: said.version,
            description: said.description,
            wants,
            unknown_wants,
            config_schema: said.config_schema,
            default_prompt: said.default_prompt,
        }
    }
}
