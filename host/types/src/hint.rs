//! What the user can do about an error, as a value. A program that embeds lastword words it for its
//! own users; the command line shows options and commands.

use crate::id::{AgentId, RunId, SessionId};
use crate::permission::{Capability, Rule};

/// What the user can do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hint {
    /// Grant this rule to the agent.
    Grant(Rule),
    /// Configure a model for the host.
    ConfigureModel,
    /// Give the agent a prompt.
    Prompt(AgentId),
    /// Load the agent.
    LoadAgent(AgentId),
    /// Prompt the session with its own agent.
    UseAgent {
        /// The session.
        session: SessionId,
        /// Its agent.
        agent: String,
    },
    /// List the sessions.
    ListSessions,
    /// Resume this run.
    Resume(RunId),
    /// Cancel this run.
    Cancel(RunId),
    /// Free space on the disk of the data directory.
    FreeDiskSpace,
    /// Check the data directory for damage.
    Examine,
    /// Let the host keep its data in another directory.
    OtherDataDirectory,
    /// Run an agent on the data directory once.
    RunOnce,
}

/// The words before the rule in a denial.
const WITH_RULE: &str = "grant it with the rule `";

/// Returns the end of a denial, for agents and people: the rule that would allow the access.
#[must_use]
pub fn with_rule(rule: &Rule) -> String {
    format!("{WITH_RULE}{rule}`")
}

/// Returns the rule that would allow a denied access, if a text contains that denial. This does not
/// prove that the host wrote the text, since agents and tools write any text: a program that shows
/// it to people must not advise a grant only because of it.
#[must_use]
pub fn missing_rule(text: &str) -> Option<Rule> {
    let (_, rest) = text.split_once(WITH_RULE)?;
    // A target may contain a backtick: the shortest text that is a rule counts.
    let mut ends = rest.match_indices('`').map(|(at, _)| at);
    ends.find_map(|end| rest[..end].parse().ok())
}

/// The words before the capability in a denial of what the manifest does not ask for.
const NOT_WANTED: &str = "the agent's manifest does not ask for `";

/// Returns a denial, for agents and people: the manifest does not ask for the capability, at least
/// not for this target, so that a grant has no effect.
#[must_use]
pub fn not_wanted(capability: Capability, target: Option<&str>) -> String {
    let of = target
        .map(|target| format!(" of {target}"))
        .unwrap_or_default();
    format!(
        "{NOT_WANTED}{capability}`{of}, so that a grant of it has no effect; its author has to add \
         it to the manifest's wants and build the agent again"
    )
}

/// Returns the capability that the manifest does not ask for, if a text contains that denial. This
/// does not prove that the host wrote the text, since agents and tools write any text.
#[must_use]
pub fn unwanted(text: &str) -> Option<Capability> {
    let (_, rest) = text.split_once(NOT_WANTED)?;
    let (capability, _) = rest.split_once('`')?;
    capability.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_names_its_rule() {
        let rule: Rule = "write-files=src/**".parse().expect("a rule");
        let denial = with_rule(&rule);
        assert_eq!(denial, "grant it with the rule `write-files=src/**`");
        let told = format!("it is not granted; {denial} (denied)");
        assert_eq!(missing_rule(&told), Some(rule));
        assert_eq!(missing_rule("the rule `write-files` denies it"), None);
        assert_eq!(missing_rule("grant it with the rule `fly`"), None);
        assert_eq!(missing_rule("grant it with the rule `model"), None);
    }

    #[test]
    fn a_denial_of_what_the_manifest_lacks_names_the_capability_and_no_rule() {
        for target in [None, Some("a.example:443")] {
            let denial = not_wanted(Capability::Network, target);
            assert_eq!(missing_rule(&denial), None);
            let told = format!("tool failed: {denial} (denied)");
            assert_eq!(unwanted(&told), Some(Capability::Network), "{told}");
        }
        assert_eq!(
            unwanted("the agent's manifest does not ask for `fun`"),
            None
        );
        assert_eq!(
            unwanted("the agent's manifest does not ask for `model"),
            None
        );
        assert_eq!(unwanted(&with_rule(&Capability::Model.into())), None);
    }
}
