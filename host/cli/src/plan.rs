//! What a run shall be, checked before anything is built or opened: grants, limits, the model, the
//! prompt. Knows no host.

use crate::arguments;
use crate::failure::Failure;
use crate::settings::Settings;
use lastword::capability::model::Models;
use lastword::permission::Grants;
use lastword::{Capability, Limits, Prompt, WorkspaceKey, WorkspaceOptions};
use std::io::Read;
use std::path::{Path, PathBuf};

/// What a run shall be.
pub(crate) struct Plan {
    pub(crate) agent: PathBuf,
    pub(crate) name: Option<String>,
    pub(crate) prompt: Prompt,
    /// Whether the prompt stands for the agent's own.
    pub(crate) blank: bool,
    pub(crate) session: Option<String>,
    pub(crate) directory: Option<WorkspaceKey>,
    pub(crate) grants: Grants,
    pub(crate) models: Option<Models>,
    pub(crate) limits: Limits,
    pub(crate) json: bool,
}

impl Plan {
    /// Checks what was asked for.
    pub(crate) fn new(run: arguments::Run, settings: &Settings) -> Result<Self, Failure> {
        let defaults = &settings.run;
        let model = run.model.as_deref().or(defaults.model.as_deref());
        let mut grants = Grants::none();
        if run.workspace.is_some() {
            grants = grants.with(Capability::ReadFiles);
        }
        if model.is_some() {
            grants = grants.with(Capability::Model);
        }
        for capability in run.allow {
            grants = grants.with(capability);
        }
        let mut limits = Limits::default();
        if let Some(deadline) = run.deadline.or(defaults.deadline) {
            limits = limits.deadline(deadline.0);
        }
        if let Some(grace) = run.grace.or(defaults.grace) {
            limits = limits.grace(grace.0);
        }
        if let Some(memory) = run.memory.or(defaults.memory) {
            limits = limits.memory_bytes(memory.0);
        }
        let directory = run.workspace.as_deref().map(directory).transpose()?;
        if directory.is_none() && grants.has(Capability::ReadFiles) {
            return Err(Failure::usage(
                "there are no files to grant without a workspace; add `--workspace DIR`",
            ));
        }
        let models = match grants.has(Capability::Model) {
            true => Some(models(settings, model)?),
            false => None,
        };
        let text = prompt(run.prompt)?;
        let blank = text.trim().is_empty();
        let mut prompt = Prompt::text(text);
        if let Some(config) = run.config {
            prompt = prompt.config(configuration(config)?);
        }
        if let Some(key) = run.key {
            prompt = prompt.key(key);
        }
        Ok(Self {
            agent: run.agent,
            name: run.name,
            prompt,
            blank,
            session: run.session,
            directory,
            grants,
            models,
            limits,
            json: run.json,
        })
    }

    /// The workspace's options.
    pub(crate) fn options(&self) -> WorkspaceOptions {
        let grant = WorkspaceOptions::grant;
        self.grants.iter().fold(WorkspaceOptions::new(), grant)
    }
}

/// The workspace, once it is known to be a directory that can be read.
fn directory(path: &Path) -> Result<WorkspaceKey, Failure> {
    std::fs::read_dir(path)
        .and_then(|_| WorkspaceKey::directory(path))
        .map_err(|error| {
            Failure::usage(format!(
                "cannot use {} as the workspace: {error}; name a directory that you can read",
                path.display()
            ))
        })
}

/// The models, with proof that the chosen one can be asked: a missing key is found now.
fn models(settings: &Settings, model: Option<&str>) -> Result<Models, Failure> {
    let refused = |why: String| Failure::usage(format!("cannot use the model: {why}"));
    let mut models =
        Models::with_config(&settings.models).map_err(|error| refused(error.to_string()))?;
    if let Some(spec) = model {
        models = models
            .model(spec)
            .map_err(|error| refused(error.to_string()))?;
    }
    models.resolve("").map_err(|error| refused(error.message))?;
    Ok(models)
}

fn prompt(prompt: Option<String>) -> Result<String, Failure> {
    let prompt = prompt.unwrap_or_default();
    if prompt != "-" {
        return Ok(prompt);
    }
    let mut bytes = Vec::new();
    std::io::stdin()
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::usage(format!("cannot read the prompt from stdin: {error}")))?;
    String::from_utf8(bytes).map_err(|_| {
        Failure::usage("the prompt on stdin is not UTF-8 text; agents are asked in text")
    })
}

fn configuration(given: String) -> Result<String, Failure> {
    let (json, origin) = match given.strip_prefix('@') {
        None => (given, "--config".to_owned()),
        Some(path) => {
            let json = std::fs::read_to_string(path).map_err(|error| {
                Failure::usage(format!("cannot read the configuration {path}: {error}"))
            })?;
            (json, path.to_owned())
        }
    };
    let read: Result<serde_json::Value, _> = serde_json::from_str(&json);
    match read {
        Ok(_) => Ok(json),
        Err(error) => Err(Failure::usage(format!(
            "the configuration ({origin}) is not JSON: {error}; write something like \
             --config '{{\"depth\": 2}}', or --config @FILE"
        ))),
    }
}
