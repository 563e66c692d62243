//! The options that a workspace was last opened with, so that a restarted host can open it for the
//! prompts that wait in it. Rules are plain text here; the host interprets them.

use super::StoreError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The options of a workspace that are kept while it is closed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredOptions {
    /// The rules that allow.
    pub grants: Vec<String>,
    /// The rules that deny.
    #[serde(default)]
    pub denied: Vec<String>,
    /// Whether users can be asked.
    #[serde(default)]
    pub asks: bool,
    /// The largest number of simultaneous runs, if it is limited.
    #[serde(default)]
    pub concurrent_runs: Option<u32>,
    /// The limits of a run by name; a limit without a number means no bound. A limit that is
    /// missing has the host's default. If this is `None`, all limits have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<BTreeMap<String, Option<u64>>>,
}

/// Parses stored options. `None` are the options of a workspace that was never given any.
pub(super) fn read(json: Option<String>) -> Result<StoredOptions, StoreError> {
    let options = json.map(|json| serde_json::from_str(&json)).transpose()?;
    Ok(options.unwrap_or_default())
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
