//! The capabilities that can be granted.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Something that an agent may be allowed to do. Nothing is allowed unless it is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Capability {
    /// Read the workspace's files.
    ReadFiles,
    /// Change the workspace's files, which includes reading them.
    WriteFiles,
    /// Ask a model.
    Model,
    /// Call the host's tools.
    Tools,
    /// Reach hosts on the network.
    Network,
    /// Store small values that are kept between runs.
    State,
    /// Start runs of other agents.
    RunAgents,
    /// Start programs.
    RunCommands,
    /// Use secrets in requests.
    Secrets,
}

impl Capability {
    /// Every capability, in the order of declaration.
    pub const ALL: [Self; 9] = [
        Self::ReadFiles,
        Self::WriteFiles,
        Self::Model,
        Self::Tools,
        Self::Network,
        Self::State,
        Self::RunAgents,
        Self::RunCommands,
        Self::Secrets,
    ];

    /// Returns the name in manifests, on the command line and in errors.
    #[must_use]
    pub fn as_str(self) -> &'static str {
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

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that does not name a capability.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no capability `{word}`; the capabilities are {}", names())]
pub struct UnknownCapability {
    word: String,
}

fn names() -> String {
    Capability::ALL.map(Capability::as_str).join(", ")
}

impl FromStr for Capability {
    type Err = UnknownCapability;

    fn from_str(word: &str) -> Result<Self, UnknownCapability> {
        Self::ALL
            .into_iter()
            .find(|capability| capability.as_str() == word)
            .ok_or_else(|| UnknownCapability {
                word: word.to_owned(),
            })
    }
}
