//! What somebody granted, and what an agent effectively has.

use super::{Capability, Manifest};
use std::collections::BTreeSet;

/// A set of granted capabilities. Empty by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    granted: BTreeSet<Capability>,
}

impl Grants {
    /// Nothing.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// The same and one more. Writing files includes reading them.
    #[must_use]
    pub fn with(mut self, capability: Capability) -> Self {
        self.granted.insert(capability);
        if capability == Capability::WriteFiles {
            self.granted.insert(Capability::ReadFiles);
        }
        self
    }

    /// Whether this is granted.
    #[must_use]
    pub fn has(&self, capability: Capability) -> bool {
        self.granted.contains(&capability)
    }

    /// What is granted, in the order of declaration.
    pub fn iter(&self) -> impl Iterator<Item = Capability> {
        self.granted.iter().copied()
    }

    /// What an agent has of it: what its manifest wants ∩ what is granted.
    #[must_use]
    pub fn effective(&self, manifest: &Manifest) -> Self {
        let wanted = |capability: Capability| {
            manifest.wants.iter().any(|want| {
                want.capability == capability
                    || (want.capability == Capability::WriteFiles
                        && capability == Capability::ReadFiles)
            })
        };
        Self {
            granted: self.iter().filter(|c| wanted(*c)).collect(),
        }
    }

    /// What the manifest requires and nobody granted.
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
    use crate::permission::Want;

    fn manifest(wants: &[(Capability, bool)]) -> Manifest {
        let want = |&(capability, required): &(Capability, bool)| Want {
            capability,
            scope: Vec::new(),
            required,
            reason: String::new(),
        };
        Manifest {
            wants: wants.iter().map(want).collect(),
            ..Manifest::default()
        }
    }

    #[test]
    fn an_agent_has_what_it_wants_and_was_granted_and_nothing_else() {
        let grants = Grants::none()
            .with(Capability::ReadFiles)
            .with(Capability::State);
        let wants = manifest(&[(Capability::ReadFiles, true), (Capability::Model, true)]);
        let effective = grants.effective(&wants);
        assert!(effective.has(Capability::ReadFiles));
        assert!(!effective.has(Capability::State), "granted but not wanted");
        assert!(!effective.has(Capability::Model), "wanted but not granted");
        assert_eq!(grants.missing(&wants), [Capability::Model]);
    }

    #[test]
    fn writing_includes_reading() {
        let grants = Grants::none().with(Capability::WriteFiles);
        let effective = grants.effective(&manifest(&[(Capability::WriteFiles, true)]));
        assert!(effective.has(Capability::ReadFiles));
    }

    #[test]
    fn reading_never_includes_writing() {
        let grants = Grants::none().with(Capability::ReadFiles);
        let effective = grants.effective(&manifest(&[(Capability::WriteFiles, true)]));
        assert!(!effective.has(Capability::WriteFiles));
    }
}
