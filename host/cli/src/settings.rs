//! Settings files: models, and defaults for runs and servers. The user's own is
//! `lastword/config.toml` of their configuration directory; over it lies `lastword.toml` of the
//! current directory, or the file that `--config-file` names. The one of the current directory may
//! belong to another person's project. It is therefore refused if it grants anything but a model,
//! says where keys are sent or data is kept, or lets clients in; the other two accept the same.

mod merge;
mod places;

use crate::arguments::{Listen, NamedAgent, OnLast};
use crate::external::{CommandSettings, External, NetworkSettings};
use crate::failure::Failure;
use crate::paths;
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

/// The file in the current directory.
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

/// Defaults of `lastword serve`, under the names of its options.
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

/// Returns what is wrong with a file in the words of TOML: the library names the types of this
/// program.
fn plain(what: &str) -> String {
    const EXPECTED: &str = "expected ";
    let Some((before, expected)) = what.rsplit_once(EXPECTED) else {
        return what.to_owned();
    };

    let (expected, after) = expected.split_once('\n').unwrap_or((expected, ""));
    let plain = match expected {
        "a sequence" => "an array",
        "a map" => "a table",
        "a string" | "path string" => "a text in quotes",
        "a boolean" => "`true` or `false`",
        "u16" | "u32" | "u64" | "usize" => "a whole number",
        "a nonzero u32" => "a whole number above 0",
        struct_name if struct_name.starts_with("struct ") => "a table",
        other => other,
    };
    format!("{before}{EXPECTED}{plain}\n{after}")
        .trim_end()
        .to_owned()
}

impl Settings {
    /// Reads the user's own file, and over it the one that was named, or else the one in the current
    /// directory. Those that are not named need not be there.
    pub(crate) fn load(named: Option<&Path>) -> Result<Self, Failure> {
        let own = match paths::own_settings() {
            Some(file) => Self::read(&file)?.unwrap_or_default(),
            None => Self::default(),
        };

        if let Some(file) = named {
            let settings = Self::read(file)?.ok_or_else(|| {
                Failure::usage(format!(
                    "there are no settings {}; name another file with `--config-file`",
                    file.display()
                ))
            })?;
            return Ok(own.under_named(settings));
        }

        let Some(folder) = Self::read(Path::new(FILE))? else {
            return Ok(own);
        };
        folder.refuse_places()?;
        folder.refuse_services()?;
        folder.refuse_doors()?;
        folder.refuse_grants()?;
        folder.refuse_external()?;
        folder.refuse_compile()?;
        Ok(own.under_folder(folder))
    }

    /// Reads a file; `None` if there is none.
    fn read(file: &Path) -> Result<Option<Self>, Failure> {
        use std::io::ErrorKind::{NotADirectory, NotFound};
        let text = match lastword::file::read_text(file) {
            Ok(text) => text,
            Err(error) if matches!(error.kind(), NotFound | NotADirectory) => return Ok(None),
            Err(error) => {
                return Err(Failure::usage(format!(
                    "cannot read the settings {}: {error}; make it a file that you can read, or \
                     remove it",
                    file.display()
                )));
            }
        };

        let mut settings: Self = toml::from_str(&text).map_err(|error| {
            let what = plain(&error.to_string());
            let meant = meant(error.message());
            Failure::usage(format!(
                "cannot use the settings {}: {}{meant}; correct the file",
                file.display(),
                what.trim_end()
            ))
        })?;
        settings.complete_paths(file)?;
        Ok(Some(settings))
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
