//! `lastword.toml`: models and defaults for runs. The one in the current directory may have come
//! with somebody else's folder, so that it can grant nothing but a model, and cannot say where
//! keys are sent. Knows the file's words, not what they do.

use crate::failure::Failure;
use crate::units::{Deadline, Memory, Span};
use lastword::capability::model::ModelsConfig;
use serde::Deserialize;
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
}

/// Defaults of `lastword run`, under the names of its options.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RunSettings {
    pub(crate) model: Option<String>,
    pub(crate) deadline: Option<Deadline>,
    pub(crate) grace: Option<Span>,
    pub(crate) memory: Option<Memory>,
    /// Relative to the file.
    pub(crate) data_dir: Option<PathBuf>,
}

impl Settings {
    /// Reads the file that was named, or the one in the current directory if there is one.
    pub(crate) fn load(named: Option<&Path>) -> Result<Self, Failure> {
        let path = named.unwrap_or(Path::new(FILE));
        let text = match std::fs::read_to_string(path) {
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
            Failure::usage(format!(
                "cannot use the settings {}: {}; correct the file, or name another with \
                 `--config-file`",
                path.display(),
                what.trim_end()
            ))
        })?;
        if named.is_none() {
            settings.refuse_services()?;
        }
        if let Some(data) = &mut settings.run.data_dir {
            let folder = path.parent().unwrap_or(Path::new(""));
            *data = folder.join(&*data);
        }
        Ok(settings)
    }

    /// A folder that somebody else made must not choose who gets the user's keys.
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
}
