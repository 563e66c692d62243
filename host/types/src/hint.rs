//! What would help against an error, as a value: a program that embeds lastword offers it in its
//! own words, the command line as options and commands.

use crate::id::{AgentId, RunId, SessionId};
use crate::permission::Rule;

/// What would help.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hint {
    /// Grant this to the agent.
    Grant(Rule),
    /// Give the host a model.
    ConfigureModel,
    /// Say what the agent shall do.
    Prompt(AgentId),
    /// Load the agent.
    LoadAgent(AgentId),
    /// Ask in the session with its own agent.
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
    /// Examine what the data directory keeps.
    Examine,
    /// Have the host keep its data in another directory.
    OtherDataDirectory,
    /// Run an agent on the data directory once.
    RunOnce,
}

/// What stands before the rule in a denial.
const WITH_RULE: &str = "grant it with the rule `";

/// The end of a denial, for agents and people: which rule would allow what was denied.
#[must_use]
pub fn with_rule(rule: &Rule) -> String {
    format!("{WITH_RULE}{rule}`")
}

/// Whether a text says which rule would allow what was denied. It is no proof that a host said
/// it: agents and tools write what they like.
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
