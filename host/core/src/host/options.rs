//! The options of a workspace: what agents may do in it, and how much. Also converts them to and
//! from their stored form, with which a restarted host opens the workspace.

use lastword_sandbox::Limits;
use lastword_store::StoredOptions;
use lastword_types::permission::{Grants, Rule};
use serde::{Deserialize, Serialize};

/// What agents may do in a workspace, and how much. Nothing is granted by default.
///
/// All options are stored. The last ones apply when the host itself opens the workspace, for a
/// waiting prompt or a session whose time has come, and when a client claims it without options.
///
/// As JSON: `grants` in the form of [`Grants`], `limits` in the form of [`Limits`] or `null` for
/// the host's, `concurrent_runs`, `asks`. A missing field has its default. An unknown field is an
/// error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorkspaceOptions {
    pub(super) grants: Grants,
    pub(super) limits: Option<Limits>,
    pub(super) concurrent_runs: Option<u32>,
    pub(super) asks: bool,
}

impl WorkspaceOptions {
    /// Returns options that grant nothing, with the host's limits.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Grants a capability, or the targets of a rule, to every agent that wants it.
    #[must_use]
    pub fn grant(mut self, rule: impl Into<Rule>) -> Self {
        self.grants = self.grants.with(rule);
        self
    }

    /// Replaces all grants and denials.
    #[must_use]
    pub fn grants(mut self, grants: Grants) -> Self {
        self.grants = grants;
        self
    }

    /// Denies a capability, or the targets of a rule. A denial takes precedence over every grant.
    #[must_use]
    pub fn deny(mut self, rule: impl Into<Rule>) -> Self {
        self.grants = self.grants.deny(rule);
        self
    }

    /// Sets whether a person can be asked: runs then wait for an answer if no rule decides, and
    /// agents may ask questions. Default: false, and an access that is not granted is denied.
    #[must_use]
    pub fn ask(mut self, asks: bool) -> Self {
        self.asks = asks;
        self
    }

    /// Sets the limits of this workspace's runs. Default: the host's limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// Sets the largest number of runs of this workspace at the same time; further ones wait.
    /// Default: the number of the host's slots.
    #[must_use]
    pub fn concurrent_runs(mut self, runs: u32) -> Self {
        self.concurrent_runs = Some(runs.max(1));
        self
    }

    /// Returns the stored form. Every field is named, so that none is forgotten.
    pub(super) fn stored(&self) -> StoredOptions {
        let Self {
            grants,
            limits,
            concurrent_runs,
            asks,
        } = self;
        StoredOptions {
            grants: grants.allowed().map(Rule::to_string).collect(),
            denied: grants.denied().map(Rule::to_string).collect(),
            asks: *asks,
            concurrent_runs: *concurrent_runs,
            limits: limits.as_ref().map(Limits::to_named),
        }
    }

    /// Returns options from their stored form; `None` if they contain a limit that this host does
    /// not know. An unknown rule that allows grants nothing; an unknown rule that denies removes
    /// all grants.
    pub(super) fn from_stored(stored: &StoredOptions, limits: Limits) -> Option<Self> {
        let rule = |words: &String| words.parse::<Rule>().ok();
        let grants = stored.grants.iter().filter_map(rule);
        let grants = grants.fold(Grants::none(), Grants::with);
        let denied: Option<Vec<Rule>> = stored.denied.iter().map(rule).collect();
        let denied = denied.map(|denied| denied.into_iter().fold(grants, Grants::deny));
        let own = stored.limits.as_ref().map(|own| limits.with_named(own));
        Some(Self {
            grants: denied.unwrap_or_default(),
            limits: match own {
                Some(own) => Some(own?),
                None => None,
            },
            concurrent_runs: stored.concurrent_runs,
            asks: stored.asks,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lastword_types::permission::Capability;
    use std::time::Duration;

    /// Every field differs from its default, and every number from all others.
    fn options() -> WorkspaceOptions {
        let mut limits = Limits::default();
        limits.memory_bytes = 1;
        limits.table_elements = 2;
        limits.output_bytes = 3;
        limits.written_bytes = 4;
        limits.descriptors = 5;
        limits.deadline = None;
        limits.grace = Duration::from_micros(6);
        limits.finish_deadline = Duration::from_micros(7);
        limits.epilogue = Duration::from_micros(8);
        limits.state_bytes = 9;
        limits.queue = 10;
        limits.tokens = Some(11);
        limits.cost_micros = Some(12);
        limits.tool_calls = 13;
        limits.child_depth = 14;
        limits.log_entries = 16;
        limits.wakes = 17;
        WorkspaceOptions {
            grants: Grants::none()
                .with(Capability::State)
                .deny(Capability::Model),
            limits: Some(limits),
            concurrent_runs: Some(15),
            asks: true,
        }
    }

    #[test]
    fn all_of_it_is_kept_and_read_as_it_was() {
        let options = options();
        let read = WorkspaceOptions::from_stored(&options.stored(), Limits::default());
        let read = read.expect("known");
        assert_eq!(read, options);
        let nothing = WorkspaceOptions::new();
        let read = WorkspaceOptions::from_stored(&nothing.stored(), Limits::default());
        assert_eq!(read, Some(nothing));
    }

    #[test]
    fn options_are_read_as_they_were_written() {
        for options in [options(), WorkspaceOptions::new()] {
            let json = serde_json::to_string(&options).expect("options are JSON");
            let read = serde_json::from_str::<WorkspaceOptions>(&json);
            assert_eq!(read.ok(), Some(options), "{json}");
        }
        let nothing = serde_json::from_str::<WorkspaceOptions>("{}").ok();
        assert_eq!(nothing, Some(WorkspaceOptions::new()));
        for odd in [
            r#"{"limits":{"sockets":1}}"#,
            r#"{"limits":{"queue":4294967296}}"#,
            r#"{"grant":{}}"#,
        ] {
            assert!(
                serde_json::from_str::<WorkspaceOptions>(odd).is_err(),
                "{odd}"
            );
        }
    }

    #[test]
    fn what_a_later_version_kept_beside_is_not_left_out_silently() {
        let mut stored = options().stored();
        let limits = stored.limits.get_or_insert_default();
        limits.insert("sockets".to_owned(), Some(1));
        assert!(WorkspaceOptions::from_stored(&stored, Limits::default()).is_none());
    }
}
