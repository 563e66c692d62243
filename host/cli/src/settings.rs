//! `lastword.toml`: models, and defaults for runs and servers. The file in the current directory
//! may belong to another person's project. It is therefore refused if it grants anything but a
//! model, says where keys are sent or data is kept, or lets clients in; `--config-file` accepts the
//! same file.

use crate::arguments::{Listen, NamedAgent, OnLast};
use crate::external::{self, CommandSettings, External, NetworkSettings};
use crate::failure::Failure;
use crate::units::{Cost, Deadline, Memory, Size, Span};
use lastword::mcp::McpConfig;
use lastword::model::ModelsConfig;
use lastword::permission::{InvalidRule, Rule};
use lastword::secrets::SecretsConfig;
use lastword::similar;
use lastword::{Compiler, Host, HostBuilder};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

const FILE: &str = "lastword.toml";

/// A settings file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// Services and the default model.
    pub(crate) models: ModelsConfig,
    /// Defaults of `lastword run`.
    pub(crate) run: RunSettings,
    /// What agents may do, and what they may not.
    pub(crate) permissions: PermissionSettings,
    /// Defaults of `lastword serve`.
    pub(crate) serve: ServeSettings,
    /// The bounds on compiling an agent.
    compile: CompileSettings,
    /// Commands that agents may run.
    commands: CommandSettings,
    /// The settings of the network guard.
    network: NetworkSettings,
    /// Secrets that may be filled into requests.
    secrets: SecretsConfig,
    /// MCP servers, by name.
    mcp: BTreeMap<String, McpConfig>,
}

/// Defaults of `lastword run`, under the names of its options.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RunSettings {
    pub(crate) model: Option<String>,
    pub(crate) deadline: Option<Deadline>,
    pub(crate) grace: Option<Span>,
    pub(crate) memory: Option<Memory>,
    pub(crate) max_tokens: Option<u64>,
    pub(crate) max_cost: Option<Cost>,
    pub(crate) max_tool_calls: Option<u32>,
    pub(crate) max_wakes: Option<u32>,
    /// Relative to the file.
    pub(crate) data_dir: Option<PathBuf>,
}

/// Rules, in addition to those of the command line. Denials apply to every workspace of a host that
/// this command line owns, and to the workspace that it opens at another host.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PermissionSettings {
    allow: Vec<Written>,
    deny: Vec<Written>,
    /// Whether people are asked if no rule decides.
    pub(crate) ask: Option<bool>,
}

/// A rule as it is written in a file.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
struct Written(Rule);

impl TryFrom<String> for Written {
    type Error = InvalidRule;

    fn try_from(words: String) -> Result<Self, InvalidRule> {
        words.parse().map(Self)
    }
}

impl PermissionSettings {
    /// Returns the rules that allow.
    pub(crate) fn allow(&self) -> impl Iterator<Item = Rule> {
        self.allow.iter().map(|written| written.0.clone())
    }

    /// Returns the rules that deny.
    pub(crate) fn deny(&self) -> impl Iterator<Item = Rule> {
        self.deny.iter().map(|written| written.0.clone())
    }

    /// Returns the first key that lets agents do more.
    fn widens(&self) -> Option<&'static str> {
        let set = [
            ("allow", !self.allow.is_empty()),
            ("ask", self.ask.is_some()),
        ];
        set.into_iter()
            .find(|(_, is_set)| *is_set)
            .map(|(name, _)| name)
    }
}

/// Defaults of `lastword serve`, under the names of its options. Paths are relative to the file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ServeSettings {
    pub(crate) listen: Option<Listen>,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) no_token: bool,
    pub(crate) root: Vec<PathBuf>,
    pub(crate) allow_host: Vec<String>,
    /// The agents to load: names, and paths.
    agents: BTreeMap<String, PathBuf>,
    pub(crate) model: Option<String>,
    pub(crate) concurrent_runs: Option<NonZeroU32>,
    pub(crate) streams: Option<NonZeroU32>,
    pub(crate) drain: Option<Span>,
    pub(crate) exit_when_idle: Option<Span>,
    pub(crate) on_last_client: Option<OnLast>,
    pub(crate) retention: Option<Span>,
}

/// The bounds on compiling an agent in a process of its own.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct CompileSettings {
    memory: Option<Size>,
    time: Option<Span>,
}

impl CompileSettings {
    fn compiler(&self) -> Compiler {
        // This very program, even if its file was replaced by a newer one.
        let mut compiler = Compiler::worker("/proc/self/exe").arg(crate::COMPILE);
        if let Some(memory) = self.memory {
            compiler = compiler.memory_bytes(memory.0);
        }

        if let Some(time) = self.time {
            compiler = compiler.time(time.0);
        }

        compiler
    }
}

impl ServeSettings {
    /// The agents to load.
    pub(crate) fn agents(&self) -> Vec<NamedAgent> {
        let named = |(name, path): (&String, &PathBuf)| NamedAgent {
            name: Some(name.clone()),
            path: path.clone(),
        };
        self.agents.iter().map(named).collect()
    }

    /// Returns the first key that lets in clients, opens directories, loads agents or discards
    /// data.
    fn widens(&self) -> Option<&'static str> {
        let set = [
            ("listen", self.listen.is_some_and(Listen::is_public)),
            ("token_file", self.token_file.is_some()),
            ("no_token", self.no_token),
            ("root", !self.root.is_empty()),
            ("allow_host", !self.allow_host.is_empty()),
            ("agents", !self.agents.is_empty()),
            ("retention", self.retention.is_some()),
        ];
        set.into_iter()
            .find(|(_, is_set)| *is_set)
            .map(|(name, _)| name)
    }

    fn relative_to(&mut self, folder: &Path) {
        let paths = self.root.iter_mut().chain(self.agents.values_mut());
        for path in paths.chain(&mut self.token_file) {
            *path = folder.join(&*path);
        }
    }
}

/// Returns which key or word was meant, if the message of a parser names an unknown one: it quotes
/// that first, and the known ones after it.
fn meant(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    match quoted.next() {
        Some(word) if message.starts_with("unknown ") => similar::did_you_mean(word, quoted),
        _ => String::new(),
    }
}

impl Settings {
    /// Reads the file that was named, or the one in the current directory if there is one.
    pub(crate) fn load(named: Option<&Path>) -> Result<Self, Failure> {
        let path = named.unwrap_or(Path::new(FILE));
        let text = match lastword::file::read_text(path) {
            Ok(text) => text,
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => {
                return Err(Failure::usage(format!(
                    "cannot read the settings {}: {error}; name another file with \
                     `--config-file`",
                    path.display()
                )));
            }
        };

        let mut settings: Self = toml::from_str(&text).map_err(|error| {
            let what = error.to_string();
            let meant = meant(error.message());
            Failure::usage(format!(
                "cannot use the settings {}: {}{meant}; correct the file, or name another with \
                 `--config-file`",
                path.display(),
                what.trim_end()
            ))
        })?;
        if named.is_none() {
            settings.refuse_places()?;
            settings.refuse_services()?;
            settings.refuse_doors()?;
            settings.refuse_grants()?;
            settings.refuse_external()?;
            settings.refuse_compile()?;
        }

        let folder = path.parent().unwrap_or(Path::new(""));
        if let Some(data) = &mut settings.run.data_dir {
            *data = folder.join(&*data);
        }

        settings.serve.relative_to(folder);
        settings.commands.relative_to(folder);
        external::secrets_relative_to(&mut settings.secrets, folder);
        Ok(settings)
    }

    /// Returns the builder for every host of this command line: no run may do what the settings
    /// deny, whichever client starts it.
    pub(crate) fn host(&self) -> HostBuilder {
        let denied = self.permissions.deny();
        let builder = Host::builder()
            .raise_descriptor_limit()
            .compiler(self.compile.compiler());
        denied.fold(builder, HostBuilder::deny)
    }

    /// Another person's folder must not choose the data directory, which is trusted: its compiled
    /// agents run unchecked, and a process that listens on its socket is taken for its owner.
    fn refuse_places(&self) -> Result<(), Failure> {
        match self.run.data_dir {
            None => Ok(()),
            Some(_) => Err(Failure::usage(format!(
                "the {FILE} of the current directory says with `data_dir` in [run] what only you \
                 decide: where sessions and compiled agents are kept, and from where they are \
                 loaded; if you trust it, name it with `--config-file {FILE}`"
            ))),
        }
    }

    /// Another person's folder must not choose who gets the user's keys.
    fn refuse_services(&self) -> Result<(), Failure> {
        let models = &self.models;
        let services = [
            ("openai", &models.openai),
            ("anthropic", &models.anthropic),
            ("gemini", &models.gemini),
            ("ollama", &models.ollama),
        ];
        let chosen = services.iter().find(|(_, service)| {
            service.base_url.is_some()
                || service.api_key_env.is_some()
                || service.api_key_file.is_some()
        });
        match chosen {
            None => Ok(()),
            Some((name, _)) => Err(Failure::usage(format!(
                "the {FILE} of the current directory says in [models.{name}] where your keys \
                 are and where they are sent; if you trust it, name it with `--config-file {FILE}`"
            ))),
        }
    }

    /// Another person's folder must not grant anything to agents.
    fn refuse_grants(&self) -> Result<(), Failure> {
        match self.permissions.widens() {
            None => Ok(()),
            Some(name) => Err(Failure::usage(format!(
                "the {FILE} of the current directory says with `{name}` in [permissions] what \
                 only you decide: what agents may do, and whether you are asked (`deny` may stand \
                 there); if you trust it, name it with `--config-file {FILE}`"
            ))),
        }
    }

    /// What agents may use outside their sandbox.
    pub(crate) fn external(&self) -> External<'_> {
        External {
            commands: &self.commands,
            network: &self.network,
            secrets: &self.secrets,
            mcp: &self.mcp,
        }
    }

    /// Another person's folder must not choose what agents reach outside their sandbox.
    fn refuse_external(&self) -> Result<(), Failure> {
        match self.external().widens() {
            None => Ok(()),
            Some(name) => Err(Failure::usage(format!(
                "the {FILE} of the current directory has a table [{name}], which only you write: \
                 it starts programs, reads secrets or opens private hosts; if you trust it, name \
                 it with `--config-file {FILE}`"
            ))),
        }
    }

    /// Another person's folder must not choose how much of the machine compiling may use.
    fn refuse_compile(&self) -> Result<(), Failure> {
        if self.compile.memory.is_none() && self.compile.time.is_none() {
            return Ok(());
        }
        Err(Failure::usage(format!(
            "the {FILE} of the current directory has a table [compile], which only you write: how \
             much memory and time compiling an agent may take; if you trust it, name it with \
             `--config-file {FILE}`"
        )))
    }

    /// Another person's folder must not choose who may command the user's agents.
    fn refuse_doors(&self) -> Result<(), Failure> {
        match self.serve.widens() {
            None => Ok(()),
            Some(name) => Err(Failure::usage(format!(
                "the {FILE} of the current directory says with `{name}` in [serve] what only \
                 you decide: who is let in, to what, which agents there are, how long streams are \
                 kept; if you trust it, name it with `--config-file {FILE}`"
            ))),
        }
    }
}
