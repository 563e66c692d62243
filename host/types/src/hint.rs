//! What the user can do about an error, as a value. A program that embeds lastword words it for its
//! own users; the command line shows options and commands.

use crate::id::{AgentId, RunId, SessionId};
use crate::permission::Rule;

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

/// Whether a text contains the rule that would allow a denied access. This does not prove that the
/// host wrote the text, since agents and tools write any text.
#[must_use]
pub fn names_rule(text: &str) -> bool {
    text.contains(WITH_RULE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_names_its_rule() {
        let rule: Rule = "write-files=src/**".parse().expect("a rule");
        let denial = with_rule(&rule);
        assert_eq!(denial, "grant it with the rule `write-files=src/**`");
        assert!(names_rule(&format!("it is not granted; {denial}")));
        assert!(!names_rule("the rule `write-files` denies it"));
    }
}
