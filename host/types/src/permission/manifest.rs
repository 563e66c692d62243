//! The manifest of an agent. The host does not trust it: an agent can only ask.

use super::{Capability, InvalidRule, Rule};

/// An agent's description of itself, which the host reads when it loads the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The agent's own name. The host uses the embedder's [`AgentId`](crate::id::AgentId) instead.
    pub name: String,
    /// Its version.
    pub version: String,
    /// One or two sentences for people.
    pub description: String,
    /// The capabilities that it asks for.
    pub wants: Vec<Want>,
    /// Names of capabilities that it asks for and that this host does not know.
    pub unknown_wants: Vec<String>,
    /// A JSON Schema of its configuration, as JSON text.
    pub config_schema: Option<String>,
    /// The prompt that replaces an empty one.
    pub default_prompt: Option<String>,
}

impl Manifest {
    /// Returns its wants as rules.
    #[must_use]
    pub fn rules(&self) -> Vec<Rule> {
        let rules = self.wants.iter().filter_map(|want| want.rules().ok());
        rules.flatten().collect()
    }
}

impl Want {
    /// Returns the want as rules: one for each target, or one for the whole capability.
    ///
    /// # Errors
    /// [`InvalidRule`] for a target that is not a valid pattern.
    pub fn rules(&self) -> Result<Vec<Rule>, InvalidRule> {
        if self.scope.is_empty() {
            return Ok(vec![Rule::any(self.capability)]);
        }
        let only = |target: &String| Rule::only(self.capability, target.as_str());
        self.scope.iter().map(only).collect()
    }
}

/// One capability that an agent asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// The capability.
    pub capability: Capability,
    /// The hosts, models, tools and so on that it is limited to; empty for all of them.
    pub scope: Vec<String>,
    /// Whether the agent cannot work without it.
    pub required: bool,
    /// The reason, for people.
    pub reason: String,
}
