//! Workspaces: opening them, their state, and the result of closing one.

use crate::WirePath;
use lastword_types::id::{ClientId, RunId, WorkspaceId};
use lastword_types::run::Receipt;
use lastword_types::session::WorkspaceKind;
use lastword_types::workspace::WorkspaceKey;
use serde::{Deserialize, Serialize};

/// The workspace to open, the client that claims it, and its options.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewWorkspace {
    /// The client that claims it: a UUID that the client chooses.
    #[cfg_attr(feature = "openapi", schema(format = Uuid))]
    pub client_id: String,
    /// The absolute path of a directory inside one of the server's roots. Give either this or
    /// `name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub directory: Option<WirePath>,
    /// The name of a workspace without files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 256))]
    pub name: Option<String>,
    /// What every agent that wants it may do here: capabilities, or rules such as
    /// `write-files=src/**`. `grants`, `deny`, `ask`, `concurrent_runs` and `deadline_ms` together
    /// replace the workspace's options, for the runs that start from now on. If all of them are
    /// absent, it keeps its options.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(max_items = 256))]
    pub grants: Option<Vec<String>>,
    /// What no agent may do here, whatever grants and answers allow: capabilities or rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(max_items = 256))]
    pub deny: Option<Vec<String>>,
    /// Whether a person can be asked if no rule decides. Default: false, and the access is denied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask: Option<bool>,
    /// The largest number of runs at the same time; further ones wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 65536))]
    pub concurrent_runs: Option<u32>,
    /// The longest time that each run may take, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 31622400000_u64))]
    pub deadline_ms: Option<u64>,
}

impl NewWorkspace {
    /// Creates a request that claims the workspace with this key for a client, with its last
    /// options.
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

/// The state of a workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum WorkspaceState {
    /// It accepts prompts.
    Open,
    /// Its runs are being ended, and it accepts no more prompts.
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
    /// The kind of its key.
    pub kind: WorkspaceKind,
    /// The path of the directory, or the name.
    pub key: String,
    /// Its state.
    pub state: WorkspaceState,
    /// The number of clients that claim it.
    pub clients: u32,
    /// The number of its clients' streams.
    pub streams: u32,
    /// The number of its runs that have a guest.
    pub running: u32,
    /// The number of its waiting runs.
    pub queued: u32,
}

impl WorkspaceView {
    /// Returns its key in the form that a store uses.
    #[must_use]
    pub fn stored_key(&self) -> String {
        self.kind.stored(&self.key)
    }
}

/// The result of closing a workspace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Closed))]
pub struct ClosedWorkspace {
    /// The runs whose end is not on disk yet. Normally empty.
    pub left: Vec<RunId>,
    /// The receipts of the runs for which its sessions waited, and which will not begin.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taken_back: Vec<Receipt>,
}
