//! The tables of the settings that let agents reach beyond their sandbox: commands, private hosts,
//! secrets, MCP servers. Only the operator writes them. Grants decide separately which agents may
//! use them.

use crate::failure::Failure;
use lastword::HostBuilder;
use lastword::http::{HostPatterns, HttpOptions};
use lastword::mcp::{McpConfig, McpServers};
use lastword::secrets::{Secrets, SecretsConfig};
use lastword::tools::Commands;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// What agents may use outside their sandbox, under the names of the tables.
pub(crate) struct External<'s> {
    pub(crate) commands: &'s CommandSettings,
    pub(crate) network: &'s NetworkSettings,
    pub(crate) secrets: &'s SecretsConfig,
    pub(crate) mcp: &'s BTreeMap<String, McpConfig>,
}

/// The commands that may run, and their settings.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct CommandSettings {
    /// Programs and their first arguments: `cargo test` allows `cargo test --lib`.
    allow: Vec<String>,
    env: BTreeMap<String, String>,
    /// Paths that they may read in addition to the system and the workspace.
    readable: Vec<PathBuf>,
    /// Paths that they may change in addition to the workspace.
    writable: Vec<PathBuf>,
    network: bool,
    timeout_s: Option<u64>,
}

/// The settings of the network guard.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct NetworkSettings {
    /// Hosts that may have private addresses: `localhost:8080`, `*.internal:443`.
    pub(crate) private: Vec<String>,
}

impl External<'_> {
    /// Returns the first table that is not empty.
    pub(crate) fn widens(&self) -> Option<&'static str> {
        let tables = [
            ("commands", *self.commands != CommandSettings::default()),
            ("network", !self.network.private.is_empty()),
            ("secrets", !self.secrets.0.is_empty()),
            ("mcp", !self.mcp.is_empty()),
        ];
        let found = tables.into_iter().find(|(_, says)| *says);
        found.map(|(name, _)| name)
    }

    /// Configures a host according to the tables. Reads secrets, and may run the programs that hold
    /// them.
    pub(crate) fn equip(&self, builder: HostBuilder) -> Result<HostBuilder, Failure> {
        let secrets = self.load_secrets()?;
        let private = HostPatterns::new(&self.network.private);
        let private = private.map_err(|error| unusable(&format!("[network] private: {error}")))?;
        let builder = builder
            .secrets(secrets)
            .http(HttpOptions::new().private(private))
            .commands(self.commands.read());
        if self.mcp.is_empty() {
            return Ok(builder);
        }

        Ok(builder.tools(self.servers()?))
    }

    /// Returns the MCP servers, without anything that they need.
    pub(crate) fn servers(&self) -> Result<McpServers, Failure> {
        McpServers::new(self.mcp.clone()).map_err(|error| unusable(&error.to_string()))
    }

    /// Reads the secrets, and may run the programs that hold them.
    pub(crate) fn load_secrets(&self) -> Result<Secrets, Failure> {
        Secrets::load(self.secrets).map_err(|error| unusable(&error.to_string()))
    }
}

fn unusable(why: &str) -> Failure {
    Failure::usage(format!("cannot use the settings: {why}"))
}

impl CommandSettings {
    /// Returns the paths that stand in the table.
    pub(crate) fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.readable.iter_mut().chain(&mut self.writable)
    }

    fn read(&self) -> Commands {
        let mut commands = Commands::none();
        for words in &self.allow {
            commands = commands.allow(words);
        }

        for (name, value) in &self.env {
            commands = commands.env(name, value);
        }

        for path in &self.readable {
            commands = commands.readable(path);
        }

        for path in &self.writable {
            commands = commands.writable(path);
        }

        if self.network {
            commands = commands.network();
        }

        match self.timeout_s {
            Some(seconds) => {
                let timeout = Duration::from_secs(seconds);
                commands.timeout(timeout, timeout)
            }
            None => commands,
        }
    }
}
