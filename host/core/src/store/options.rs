//! What a workspace was last opened with, so that a host that starts again can open it for the
//! prompts that wait in it. Knows words and numbers; what they allow is not known here.

use super::handle::WorkspaceNo;
use super::tx::Tx;
use super::{Damage, Refusal, Store, StoreError};
use crate::id::WorkspaceId;
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

/// The options of a workspace that outlive its being open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredOptions {
    /// The rules that grant.
    pub grants: Vec<String>,
    /// The rules that deny.
    #[serde(default)]
    pub denied: Vec<String>,
    /// Whether somebody is there to be asked.
    #[serde(default)]
    pub asks: bool,
    /// Runs at the same time, if they are limited.
    #[serde(default)]
    pub concurrent_runs: Option<u32>,
    /// How long a run may take, in milliseconds, where that is not the host's own limit.
    #[serde(default)]
    pub deadline_ms: Option<u64>,
}

/// Keeps what a workspace is opened with.
pub(super) fn keep(
    tx: &mut Tx<'_>,
    workspace: i64,
    options: &StoredOptions,
) -> Result<(), StoreError> {
    let json = serde_json::to_string(options)?;
    tx.conn
        .prepare_cached("UPDATE workspace SET options = ?2 WHERE no = ?1")?
        .execute(params![workspace, json])?;
    Ok(())
}

/// What a workspace was opened with last.
pub(super) fn last(tx: &Tx<'_>, workspace: i64) -> Result<StoredOptions, StoreError> {
    let json: Option<String> = tx
        .conn
        .prepare_cached("SELECT options FROM workspace WHERE no = ?1")?
        .query_row([workspace], |row| row.get(0))
        .map_err(|error| unreadable(workspace, error.into()))?;
    read(json).map_err(|error| unreadable(workspace, error))
}

/// Options as they are stored; none are those of a workspace that was never given any.
pub(super) fn read(json: Option<String>) -> Result<StoredOptions, StoreError> {
    let options = json.map(|json| serde_json::from_str(&json)).transpose()?;
    Ok(options.unwrap_or_default())
}

fn unreadable(workspace: i64, error: StoreError) -> StoreError {
    Damage::of("workspace").row(workspace).name(error)
}

impl Store {
    /// Keeps what a workspace was opened with.
    pub async fn keep_options(
        &self,
        workspace: WorkspaceNo,
        options: StoredOptions,
    ) -> Result<(), StoreError> {
        self.write(move |tx| keep(tx, workspace.0, &options)).await
    }

    /// The key of a workspace as it is stored.
    pub async fn workspace_key(&self, workspace: WorkspaceId) -> Result<String, StoreError> {
        let read = move |conn: &Connection| {
            let key: Option<String> = conn
                .prepare_cached("SELECT key FROM workspace WHERE id = ?1")?
                .query_row([workspace.as_bytes()], |row| row.get(0))
                .optional()
                .map_err(|error| Damage::of("workspace").row(workspace).name(error.into()))?;
            key.ok_or_else(|| Refusal::UnknownWorkspace.into())
        };
        self.shared.readers.read(read).await
    }
}
