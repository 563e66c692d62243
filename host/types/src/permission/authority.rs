//! What a run may do: what its agent and every agent above it want, limited to what is granted.
//! This is the only place where rules are evaluated. It never asks a user: the host does so for
//! [`Verdict::Undecided`].

use super::{Access, Capability, Grants, Rule};
use std::sync::Arc;

/// The authority of one run.
#[derive(Clone, Debug)]
pub struct Authority {
    /// The wants of the agents from the topmost one down to the run's own, which is the last.
    wants: Vec<Arc<[Rule]>>,
    grants: Grants,
}

/// The decision that follows from rules alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is granted.
    Allowed,
    /// It is denied, and no user is asked.
    Denied(DenyReason),
    /// No rule decides it.
    Undecided,
}

/// Why an access is denied without asking a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DenyReason {
    /// The agent's manifest does not ask for it.
    NotWanted,
    /// An agent above this one does not have it either.
    NotAbove,
    /// A rule denies it.
    Rule(Box<Rule>),
}

impl Authority {
    /// Returns the authority of an agent that a user started, and no other agent.
    #[must_use]
    pub fn new(wants: Arc<[Rule]>, grants: Grants) -> Self {
        Self {
            wants: vec![wants],
            grants,
        }
    }

    /// Returns the authority of an agent that this run starts. It never exceeds this run's own.
    #[must_use]
    pub fn child(&self, wants: Arc<[Rule]>) -> Self {
        let mut child = self.clone();
        child.wants.push(wants);
        child
    }

    /// Returns how many agents are above this one.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.wants.len() - 1
    }

    /// Decides by the rules, and by what earlier answers granted.
    #[must_use]
    pub fn evaluate(&self, access: &Access, remembered: &[Rule]) -> Verdict {
        let (capability, target) = (access.capability, access.target.as_str());
        let covers = |rules: &[Rule]| rules.iter().any(|rule| rule.covers(capability, target));
        match self.wants.split_last() {
            Some((own, _)) if !covers(own) => return Verdict::Denied(DenyReason::NotWanted),
            Some((_, above)) if !above.iter().all(|wants| covers(wants)) => {
                return Verdict::Denied(DenyReason::NotAbove);
            }
            _ => {}
        }
        if let Some(rule) = self.grants.denial(capability, target) {
            return Verdict::Denied(DenyReason::Rule(Box::new(rule.clone())));
        }

        if self.grants.covers(capability, target) || covers(remembered) {
            Verdict::Allowed
        } else {
            Verdict::Undecided
        }
    }

    /// Decides by the rules whether a run has some targets of this capability: the reason is that
    /// of a run that has none. [`Verdict::Undecided`] if it is wanted, and neither granted nor
    /// denied as a whole.
    #[must_use]
    pub fn evaluate_any(&self, capability: Capability) -> Verdict {
        let some = |wants: &Arc<[Rule]>| wants.iter().any(|rule| rule.is_about(capability));
        match self.wants.split_last() {
            Some((own, _)) if !some(own) => return Verdict::Denied(DenyReason::NotWanted),
            Some((_, above)) if !above.iter().all(some) => {
                return Verdict::Denied(DenyReason::NotAbove);
            }
            _ => {}
        }

        let mut denied = self.grants.denied();
        let whole = denied.find(|rule| rule.pattern().is_none() && rule.denies(capability, ""));
        match whole {
            Some(rule) => Verdict::Denied(DenyReason::Rule(Box::new(rule.clone()))),
            None if self.grants.has(capability) => Verdict::Allowed,
            None => Verdict::Undecided,
        }
    }

    /// Whether some targets of this capability are wanted and granted.
    #[must_use]
    pub fn has(&self, capability: Capability) -> bool {
        self.wants_some(capability) && self.grants.has(capability)
    }

    /// Whether all targets of this capability are wanted and granted, without exception.
    #[must_use]
    pub fn has_all(&self, capability: Capability) -> bool {
        let whole = |rule: &Rule| rule.pattern().is_none() && rule.is_about(capability);
        let all = |wants: &Arc<[Rule]>| wants.iter().any(whole);
        self.wants.iter().all(all) && self.grants.has_all(capability)
    }

    /// Whether some targets of this capability are wanted and not all are denied, so that a user
    /// might allow them.
    #[must_use]
    pub fn could_have(&self, capability: Capability) -> bool {
        self.wants_some(capability) && !self.grants.denies_all(capability)
    }

    fn wants_some(&self, capability: Capability) -> bool {
        let some = |wants: &Arc<[Rule]>| wants.iter().any(|rule| rule.is_about(capability));
        self.wants.iter().all(some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(words: &[&str]) -> Arc<[Rule]> {
        let rules = words.iter().map(|word| word.parse().expect("a rule"));
        rules.collect()
    }

    fn write(path: &str) -> Access {
        Access::new(Capability::WriteFiles, path, "")
    }

    #[test]
    fn an_agent_has_what_it_wants_and_was_granted_and_nothing_else() {
        let grants = Grants::none()
            .with(Capability::ReadFiles)
            .with(Capability::State);
        let authority = Authority::new(rules(&["read-files", "model"]), grants);
        assert!(authority.has(Capability::ReadFiles));
        assert!(!authority.has(Capability::State), "granted but not wanted");
        assert!(!authority.has(Capability::Model), "wanted but not granted");
        assert!(authority.could_have(Capability::Model));
    }

    #[test]
    fn what_a_run_has_nothing_of_is_told_with_its_first_cause() {
        let grants = Grants::none()
            .with(Capability::State)
            .with(Capability::Network)
            .deny(Capability::Secrets);
        let parent = Authority::new(rules(&["model", "network", "secrets", "tools=a"]), grants);
        let of = |capability| parent.evaluate_any(capability);
        assert_eq!(of(Capability::Network), Verdict::Allowed);
        assert_eq!(of(Capability::Tools), Verdict::Undecided);
        assert_eq!(
            of(Capability::State),
            Verdict::Denied(DenyReason::NotWanted),
            "it is granted, and not wanted"
        );
        assert_eq!(
            of(Capability::Secrets),
            Verdict::Denied(DenyReason::Rule(Box::new(Capability::Secrets.into())))
        );

        let child = parent.child(rules(&["state", "network"]));
        let of = |capability| child.evaluate_any(capability);
        assert_eq!(of(Capability::Network), Verdict::Allowed);
        assert_eq!(of(Capability::State), Verdict::Denied(DenyReason::NotAbove));
        assert_eq!(
            of(Capability::Model),
            Verdict::Denied(DenyReason::NotWanted)
        );
    }

    #[test]
    fn a_scope_in_the_manifest_bounds_what_is_granted() {
        let grants = Grants::none().with(Capability::WriteFiles);
        let authority = Authority::new(rules(&["write-files=docs/**"]), grants);
        assert_eq!(authority.evaluate(&write("docs/a"), &[]), Verdict::Allowed);
        let outside = authority.evaluate(&write("src/a"), &[]);
        assert_eq!(outside, Verdict::Denied(DenyReason::NotWanted));
        assert!(!authority.has_all(Capability::WriteFiles));
    }

    #[test]
    fn a_child_never_has_more_than_its_parent() {
        let grants = Grants::none()
            .with(Capability::WriteFiles)
            .with(Capability::Network);
        let parent = Authority::new(rules(&["write-files=docs/**", "run-agents"]), grants);
        let child = parent.child(rules(&["write-files", "network"]));
        assert_eq!(child.evaluate(&write("docs/a"), &[]), Verdict::Allowed);
        let above = Verdict::Denied(DenyReason::NotAbove);
        assert_eq!(child.evaluate(&write("src/a"), &[]), above);
        assert!(!child.could_have(Capability::Network));
        let remembered = rules(&["write-files"]);
        assert_eq!(child.evaluate(&write("src/a"), &remembered), above);
        let grandchild = child.child(rules(&["write-files"]));
        assert_eq!(grandchild.evaluate(&write("src/a"), &[]), above);
        assert_eq!(grandchild.depth(), 2);
    }

    #[test]
    fn what_nobody_speaks_of_is_undecided_and_a_denial_is_final() {
        let rule: Rule = "write-files=.git/**".parse().expect("a rule");
        let grants = Grants::none().deny(rule);
        let authority = Authority::new(rules(&["write-files"]), grants);
        assert_eq!(authority.evaluate(&write("a"), &[]), Verdict::Undecided);
        let remembered = rules(&["write-files"]);
        assert_eq!(
            authority.evaluate(&write("a"), &remembered),
            Verdict::Allowed
        );
        let denied = authority.evaluate(&write(".git/config"), &remembered);
        assert!(matches!(denied, Verdict::Denied(DenyReason::Rule(_))));
    }
}
