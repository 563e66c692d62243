//! Loaded agents, and their manifests.

use crate::WirePath;
use lastword_types::id::AgentId;
use lastword_types::permission::{Manifest, Want};
use serde::{Deserialize, Serialize};

/// A component file on the server's machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AgentFile {
    /// The name under which the agent is loaded.
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 128))]
    pub name: String,
    /// The absolute path of the file.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub path: WirePath,
}

/// A loaded agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Agent))]
pub struct AgentView {
    /// The name under which it was loaded.
    pub name: AgentId,
    /// The lower-case hex SHA-256 of its component.
    pub digest: String,
    /// The capabilities that it asks for, in the order of its manifest.
    pub capabilities: Vec<String>,
    /// Its manifest.
    pub manifest: ManifestView,
}

/// The manifest of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Manifest))]
pub struct ManifestView {
    /// The agent's own name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// One or two sentences for people.
    pub description: String,
    /// The capabilities that it asks for.
    pub wants: Vec<WantView>,
    /// Names of capabilities that it asks for and that this host does not know.
    pub unknown_wants: Vec<String>,
    /// A JSON Schema of its configuration, as JSON text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_schema: Option<String>,
    /// The prompt that replaces an empty one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_prompt: Option<String>,
}

/// One capability that an agent asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Want))]
pub struct WantView {
    /// The name of the capability.
    pub capability: String,
    /// The hosts, models, tools and so on that it is limited to; empty for all of them.
    pub scope: Vec<String>,
    /// Whether the agent cannot work without it.
    pub required: bool,
    /// The reason, for people.
    pub reason: String,
}

impl AgentView {
    /// Creates the view from the agent's name, its component's digest and its manifest.
    #[must_use]
    pub fn new(name: AgentId, digest: String, manifest: Manifest) -> Self {
        let manifest = ManifestView::from(manifest);
        let wants = manifest.wants.iter();
        Self {
            name,
            digest,
            capabilities: wants.map(|want| want.capability.clone()).collect(),
            manifest,
        }
    }
}

impl From<Manifest> for ManifestView {
    fn from(manifest: Manifest) -> Self {
        let wants = manifest.wants.into_iter().map(|want| WantView {
            capability: want.capability.as_str().to_owned(),
            scope: want.scope,
            required: want.required,
            reason: want.reason,
        });
        Self {
            name: manifest.name,
            version: manifest.version,
            description: manifest.description,
            wants: wants.collect(),
            unknown_wants: manifest.unknown_wants,
            config_schema: manifest.config_schema,
            default_prompt: manifest.default_prompt,
        }
    }
}

impl From<ManifestView> for Manifest {
    /// Moves capabilities that only a newer server knows to the unknown wants.
    fn from(view: ManifestView) -> Self {
        let mut unknown_wants = view.unknown_wants;
        let mut wants = Vec::new();
        for want in view.wants {
            match want.capability.parse() {
                Ok(capability) => wants.push(Want {
                    capability,
                    scope: want.scope,
                    required: want.required,
                    reason: want.reason,
                }),
                Err(_) => unknown_wants.push(want.capability),
            }
        }

        Self {
            name: view.name,
            version: view.version,
            description: view.description,
            wants,
            unknown_wants,
            config_schema: view.config_schema,
            default_prompt: view.default_prompt,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_want_of_a_newer_server_is_an_unknown_one() {
        let json = r#"{"name":"a","digest":"d","capabilities":[],"later":1,"manifest":{"name":"a",
            "version":"1","description":"","unknown_wants":["x"],"wants":[
            {"capability":"state","scope":[],"required":true,"reason":"r"},
            {"capability":"time-travel","scope":[],"required":true,"reason":"r"}]}}"#;
        let view: AgentView = serde_json::from_str(json).unwrap();
        let manifest = Manifest::from(view.manifest);
        assert_eq!(manifest.wants.len(), 1);
        assert_eq!(manifest.unknown_wants, ["x", "time-travel"]);
    }
}
