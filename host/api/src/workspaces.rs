//! Workspaces: opening them, how they stand, and what a closed one leaves.

use crate::WirePath;
use lastword_types::id::{ClientId, RunId, WorkspaceId};
use lastword_types::run::Receipt;
use lastword_types::session::WorkspaceKind;
use lastword_types::workspace::WorkspaceKey;
use serde::{Deserialize, Serialize};

/// Which workspace, for whom, and what its agents may do there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewWorkspace {
    /// The client that claims it: a UUID of its own choice.
    #[cfg_attr(feature = "openapi", schema(format = Uuid))]
    pub client_id: String,
    /// A directory inside one of the server's roots, by its absolute path. Either this or a
    /// name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub directory: Option<WirePath>,
    /// A name, for a workspace without files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 256))]
    pub name: Option<String>,
    /// What every agent that wants it may do here: capabilities, or rules such as
    /// `write-files=src/**`. Grants, `deny`, `ask`, `concurrent_runs` and `deadline_ms`
    /// together replace what the workspace had, for the runs that start from now on; without
    /// any of them it keeps what it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(max_items = 256))]
    pub grants: Option<Vec<String>>,
    /// What no agent may do here, whatever grants and answers allow: rules of the same kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(max_items = 256))]
    pub deny: Option<Vec<String>>,
    /// Whether a person can be asked about what no rule decides. Default: no, and it is denied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask: Option<bool>,
    /// Runs at the same time; the others wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 65536))]
    pub concurrent_runs: Option<u32>,
    /// How long each run may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 31622400000_u64))]
    pub deadline_ms: Option<u64>,
}

impl NewWorkspace {
    /// The workspace of a key, claimed for a client, with what it was opened with last.
    #[must_use]
    pub fn new(client: ClientId, key: &WorkspaceKey) -> Self {
        let (directory, name) = match key {
            WorkspaceKey::Directory(path) => (Some(path.clone().into()), None),
            WorkspaceKey::Name(name) => (None, Some(name.clone())),
        };

        Self {
            client_id: client.to_string(),
            directory,
            name,
            ..Self::default()
        }
    }
}

/// Where a workspace stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum WorkspaceState {
    /// Takes prompts.
    Open,
    /// Its runs are being ended; it takes no more prompts.
    Closing,
    /// It can be read, and opened again.
    Closed,
}

/// A workspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Workspace))]
pub struct WorkspaceView {
    /// Its id.
    pub id: WorkspaceId,
    /// How it is known.
    pub kind: WorkspaceKind,
    /// The directory, or the name.
    pub key: String,
    /// Where it stands.
    pub state: WorkspaceState,
    /// Clients that have a claim on it.
    pub clients: u32,
    /// Their streams.
    pub streams: u32,
    /// Its runs that have a guest.
    pub running: u32,
    /// Its runs that wait.
    pub queued: u32,
}

impl WorkspaceView {
    /// Its key as a store holds it.
    #[must_use]
    pub fn stored_key(&self) -> String {
        self.kind.stored(&self.key)
    }
}

/// What a closed workspace leaves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Closed))]
pub struct ClosedWorkspace {
    /// Runs whose end is not on disk yet. Normally there are none.
    pub left: Vec<RunId>,
    /// The ends of the runs that its sessions would have been woken for, if there are any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taken_back: Vec<Receipt>,
}
