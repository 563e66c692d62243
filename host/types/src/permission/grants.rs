//! Grants and denials, as rules.

use super::{Capability, Manifest, Rule};
use serde::{Deserialize, Serialize};

/// Rules that allow, and rules that deny. A denial takes precedence. Empty by default.
///
/// As JSON: `{"allowed":["read-files"],"denied":["read-files=.env"]}`. A missing field is empty. An
/// unknown rule or field is an error, so that no denial is lost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Grants {
    allowed: Vec<Rule>,
    denied: Vec<Rule>,
}

impl Grants {
    /// Returns grants without any rules.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds a rule that allows: a whole [`Capability`], or a [`Rule`]. Writing files includes
    /// reading them.
    #[must_use]
    pub fn with(mut self, rule: impl Into<Rule>) -> Self {
        let rule = rule.into();
        if !self.allowed.contains(&rule) {
            self.allowed.push(rule);
        }
        self
    }

    /// Adds a rule that denies. A denial takes precedence over every grant.
    #[must_use]
    pub fn deny(mut self, rule: impl Into<Rule>) -> Self {
        let rule = rule.into();
        if !self.denied.contains(&rule) {
            self.denied.push(rule);
        }
        self
    }

    /// Whether some targets of this capability are granted.
    #[must_use]
    pub fn has(&self, capability: Capability) -> bool {
        let some = |rule: &Rule| rule.is_about(capability);
        self.allowed.iter().any(some) && !self.denies_all(capability)
    }

    /// Whether all targets of this capability are granted, without exception.
    #[must_use]
    pub fn has_all(&self, capability: Capability) -> bool {
        let all = |rule: &Rule| rule.pattern().is_none() && rule.is_about(capability);
        let exception = |rule: &Rule| {
            rule.capability() == capability
                || (rule.capability() == Capability::ReadFiles
                    && capability == Capability::WriteFiles)
        };
        self.allowed.iter().any(all) && !self.denied.iter().any(exception)
    }

    /// Whether this access is granted by a rule, without regard to denials.
    #[must_use]
    pub fn covers(&self, capability: Capability, target: &str) -> bool {
        self.allowed
            .iter()
            .any(|rule| rule.covers(capability, target))
    }

    /// Returns the rule that denies this access, if there is one.
    #[must_use]
    pub fn denial(&self, capability: Capability, target: &str) -> Option<&Rule> {
        self.denied
            .iter()
            .find(|rule| rule.denies(capability, target))
    }

    /// Whether all targets of this capability are denied.
    #[must_use]
    pub fn denies_all(&self, capability: Capability) -> bool {
        self.denied
            .iter()
            .any(|rule| rule.pattern().is_none() && rule.denies(capability, ""))
    }

    /// Returns the rules that allow, in the order in which they were added.
    pub fn allowed(&self) -> impl Iterator<Item = &Rule> {
        self.allowed.iter()
    }

    /// Returns the rules that deny, in the order in which they were added.
    pub fn denied(&self) -> impl Iterator<Item = &Rule> {
        self.denied.iter()
    }

    /// Returns the capabilities that the manifest requires and that are not granted.
    #[must_use]
    pub fn missing(&self, manifest: &Manifest) -> Vec<Capability> {
        let required = manifest.wants.iter().filter(|want| want.required);
        let missing = required
            .map(|want| want.capability)
            .filter(|c| !self.has(*c));
        missing.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(words: &str) -> Rule {
        words.parse().expect("a rule")
    }

    #[test]
    fn writing_includes_reading_and_never_the_other_way() {
        let writes = Grants::none().with(Capability::WriteFiles);
        assert!(writes.has_all(Capability::ReadFiles));
        let reads = Grants::none().with(Capability::ReadFiles);
        assert!(!reads.has(Capability::WriteFiles));
    }

    #[test]
    fn grants_are_read_as_they_were_written() {
        let grants = Grants::none()
            .with(Capability::State)
            .with(rule("write-files=a\\u{202e}/**"))
            .deny(rule("network=*.example:8443"));
        let json = serde_json::to_string(&grants).expect("grants are JSON");
        let written = concat!(
            r#"{"allowed":["state","write-files=a\\u{202e}/**"],"#,
            r#""denied":["network=*.example:8443"]}"#
        );
        assert_eq!(json, written);
        assert_eq!(serde_json::from_str::<Grants>(&json).ok(), Some(grants));
        assert_eq!(
            serde_json::from_str::<Grants>("{}").ok(),
            Some(Grants::none())
        );
        for odd in [
            r#"{"denied":["sockets"]}"#,
            r#"{"denied":["network=*:x:y"]}"#,
            r#"{"barred":["network"]}"#,
        ] {
            assert!(serde_json::from_str::<Grants>(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn a_denial_stands_before_every_grant() {
        let grants = Grants::none()
            .with(Capability::WriteFiles)
            .deny(rule("read-files=.env"));
        assert!(grants.has(Capability::ReadFiles));
        assert!(!grants.has_all(Capability::ReadFiles));
        assert!(!grants.has_all(Capability::WriteFiles));
        assert!(grants.denial(Capability::ReadFiles, ".env").is_some());
        assert!(grants.denial(Capability::WriteFiles, ".env").is_some());
        assert!(grants.denial(Capability::ReadFiles, "a").is_none());
        let read_only = grants.deny(Capability::WriteFiles);
        assert!(!read_only.has(Capability::WriteFiles));
        assert!(read_only.has(Capability::ReadFiles));
    }
}
