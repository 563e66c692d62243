//! What an agent says of itself. The host trusts nothing in it: an agent can only ask.

use super::{Capability, InvalidRule, Rule};

/// What an agent says of itself when it is loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Its own name; the embedder's [`AgentId`](crate::id::AgentId) is what counts.
    pub name: String,
    /// Its version.
    pub version: String,
    /// One or two sentences for people.
    pub description: String,
    /// What it asks for.
    pub wants: Vec<Want>,
    /// Capabilities that it asks for and this host does not know.
    pub unknown_wants: Vec<String>,
    /// A JSON schema of its configuration, as JSON text.
    pub config_schema: Option<String>,
    /// What an empty prompt stands for.
    pub default_prompt: Option<String>,
}

impl Manifest {
    /// What it asks for, as rules.
    #[must_use]
    pub fn rules(&self) -> Vec<Rule> {
        let rules = self.wants.iter().filter_map(|want| want.rules().ok());
        rules.flatten().collect()
    }
}

impl Want {
    /// The same as rules: one for each target, or one for all.
    ///
    /// # Errors
    /// [`InvalidRule`] for a target that is no pattern.
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
    /// Which.
    pub capability: Capability,
    /// Of which hosts, models, tools; empty for any.
    pub scope: Vec<String>,
    /// Whether the agent is of no use without it.
    pub required: bool,
    /// Why, for people.
    pub reason: String,
}
