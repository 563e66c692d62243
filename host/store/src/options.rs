//! What a workspace was last opened with, so that a host that starts again can open it for the
//! prompts that wait in it. Knows words and numbers; what they allow is not known here.

use super::handle::WorkspaceNo;
use super::tx::Tx;
use super::work::Then;
use super::{Damage, Refusal, Store, StoreError};
use lastword_types::id::WorkspaceId;
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tokio::sync::oneshot;

/// The options of a workspace that outlive its being open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
    /// The limits of a run by their names, and no number for no bound. A limit that is not
    /// named is the host's own; without any, all are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<BTreeMap<String, Option<u64>>>,
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

/// What a workspace was opened with last; [`Refusal::UnreadableOptions`] where that cannot be
/// read whole.
pub(super) fn last(tx: &Tx<'_>, workspace: i64) -> Result<StoredOptions, StoreError> {
    let json: Option<String> = tx
        .conn
        .prepare_cached("SELECT options FROM workspace WHERE no = ?1")?
        .query_row([workspace], |row| row.get(0))
        .map_err(|error| unreadable(workspace, error.into()))?;
    read(json).map_err(|_| Refusal::UnreadableOptions.into())
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
    /// Keeps what a workspace is opened with. It is handed to the writer by the call itself, so
    /// that the order of the calls is the order on disk; the future waits until it is there.
    pub fn keep_options(
        &self,
        workspace: WorkspaceNo,
        options: StoredOptions,
    ) -> impl Future<Output = Result<(), StoreError>> + Send + use<> {
        let (sender, kept) = oneshot::channel();
        let act = move |tx: &mut Tx<'_>| keep(tx, workspace.0, &options);
        let then = move |result| drop(sender.send(result));
        drop(self.shared.queue.push(Then::boxed(act, then)));
        async move {
            let ended = |_| StoreError::Closed("the writer ended".to_owned());
            kept.await.map_err(ended)?
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_later_version_kept_is_not_read_in_part() {
        let options = StoredOptions {
            grants: vec!["state".to_owned()],
            denied: vec!["tools=x".to_owned()],
            asks: true,
            concurrent_runs: Some(2),
            limits: Some([("tokens".to_owned(), None)].into()),
        };
        let kept = serde_json::to_string(&options).expect("JSON");
        let read: StoredOptions = serde_json::from_str(&kept).expect("its own");
        assert_eq!(read, options);
        let later = r#"{"grants":["state"],"read_only":true}"#;
        assert!(serde_json::from_str::<StoredOptions>(later).is_err());
    }
}
