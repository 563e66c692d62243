//! An agent's description of itself, which the host reads before any run.

use crate::Extra;
use crate::bindings::turn;

/// Something that an agent can do only if the host allows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Capability {
    /// Read the files of the workspace.
    ReadFiles,
    /// Create, change and remove the files of the workspace.
    WriteFiles,
    /// Ask a language model. Scope: names of models.
    Model,
    /// Call tools that the host serves. Scope: names of tools.
    Tools,
    /// Make HTTP requests. Scope: host names.
    Network,
    /// Store small values that are kept between runs.
    State,
    /// Run other agents. Scope: names of agents.
    RunAgents,
    /// Run commands on the machine. Scope: names of programs.
    RunCommands,
    /// Refer to secrets in requests; the host fills in their values. Scope: names of secrets.
    Secrets,
}

impl Capability {
    /// Returns the name that the interface uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadFiles => "read-files",
            Self::WriteFiles => "write-files",
            Self::Model => "model",
            Self::Tools => "tools",
            Self::Network => "network",
            Self::State => "state",
            Self::RunAgents => "run-agents",
            Self::RunCommands => "run-commands",
            Self::Secrets => "secrets",
        }
    }
}

/// A capability that an agent asks for, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Want {
    capability: Capability,
    scope: Vec<String>,
    required: bool,
    reason: String,
}

impl Want {
    /// Creates an optional want for the whole capability. The reason is a phrase for people, such
    /// as "to answer".
    pub fn new(capability: Capability, reason: impl Into<String>) -> Self {
        Self {
            capability,
            scope: Vec::new(),
            required: false,
            reason: reason.into(),
        }
    }

    /// Marks the want as required: the agent cannot work without it.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Limits the want to these names: names of models, tools, hosts and so on, depending on the
    /// capability.
    #[must_use]
    pub fn scope<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.scope = names.into_iter().map(Into::into).collect();
        self
    }
}

/// Name, version and wants of an agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    name: String,
    version: String,
    description: String,
    wants: Vec<Want>,
    config_schema_json: Option<String>,
    default_prompt: Option<String>,
    extra: Extra,
}

impl Manifest {
    /// Creates a manifest without wants. The version is usually `env!("CARGO_PKG_VERSION")`.
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            description: String::new(),
            wants: Vec::new(),
            config_schema_json: None,
            default_prompt: None,
            extra: Vec::new(),
        }
    }

    /// Sets the description: one sentence about what the agent does.
    #[must_use]
    pub fn describe(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// Asks for a capability that the agent can work without.
    #[must_use]
    pub fn wants(self, capability: Capability, reason: impl Into<String>) -> Self {
        self.want(Want::new(capability, reason))
    }

    /// Asks for a capability that the agent cannot work without.
    #[must_use]
    pub fn needs(self, capability: Capability, reason: impl Into<String>) -> Self {
        self.want(Want::new(capability, reason).required())
    }

    /// Asks for a capability with a [`Want`] of the caller's own, which can also have a scope.
    #[must_use]
    pub fn want(mut self, want: Want) -> Self {
        self.wants.push(want);
        self
    }

    /// Sets a JSON Schema of the agent's configuration.
    #[must_use]
    pub fn config_schema(mut self, schema: &serde_json::Value) -> Self {
        self.config_schema_json = Some(schema.to_string());
        self
    }

    /// Sets the prompt of a run that was started with an empty one. An agent without a default
    /// prompt refuses an empty prompt.
    #[must_use]
    pub fn default_prompt(mut self, prompt: impl Into<String>) -> Self {
        self.default_prompt = Some(prompt.into());
        self
    }

    /// Adds a named JSON value for hosts that know the name.
    #[must_use]
    pub fn extra(mut self, name: impl Into<String>, value: &serde_json::Value) -> Self {
        self.extra.push((name.into(), value.to_string()));
        self
    }
}

impl From<Manifest> for turn::Manifest {
    fn from(manifest: Manifest) -> Self {
        Self {
            name: manifest.name,
            version: manifest.version,
            description: manifest.description,
            wants: manifest.wants.into_iter().map(Into::into).collect(),
            config_schema_json: manifest.config_schema_json,
            default_prompt: manifest.default_prompt,
            extra: manifest.extra,
        }
    }
}

impl From<Want> for turn::Want {
    fn from(want: Want) -> Self {
        Self {
            capability: want.capability.name().to_owned(),
            scope: want.scope,
            required: want.required,
            reason: want.reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_says_what_was_put_in() {
        let manifest = turn::Manifest::from(
            Manifest::new("greeter", "1.2.3")
                .describe("Greets")
                .wants(Capability::Model, "to answer")
                .needs(Capability::ReadFiles, "to look")
                .want(Want::new(Capability::Network, "to fetch").scope(["example.org"]))
                .config_schema(&serde_json::json!({"type": "object"}))
                .default_prompt("Greet me"),
        );
        assert_eq!(manifest.name, "greeter");
        assert_eq!(manifest.version, "1.2.3");
        assert_eq!(manifest.default_prompt.as_deref(), Some("Greet me"));
        assert_eq!(
            manifest.config_schema_json.as_deref(),
            Some(r#"{"type":"object"}"#)
        );
        let wants: Vec<_> = manifest
            .wants
            .iter()
            .map(|want| {
                (
                    want.capability.as_str(),
                    want.required,
                    want.scope.join(","),
                )
            })
            .collect();
        assert_eq!(
            wants,
            [
                ("model", false, String::new()),
                ("read-files", true, String::new()),
                ("network", false, "example.org".to_owned()),
            ]
        );
    }
}
