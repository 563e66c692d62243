//! Plans a run and checks it before anything is built or opened: grants, limits, the model, the
//! prompt. `run.rs` and `resume.rs` decide whether this process or another host runs it.

use crate::arguments::{self, Budget, Permissions};
use crate::attachments;
use crate::failure::Failure;
use crate::settings::{RunSettings, Settings};
use crate::terminal::Terminal;
use crate::units::Deadline;
use lastword::file;
use lastword::id::RunId;
use lastword::model::Models;
use lastword::permission::Grants;
use lastword::{Capability, Limits, PROMPT_BYTES_MAX, WorkspaceKey};
use lastword_client::api::{NewAttachment, NewRun};
use serde_json::value::RawValue;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The plan of a run.
pub(crate) struct Plan {
    pub(crate) agent: PathBuf,
    pub(crate) name: Option<String>,
    /// The prompt; blank for the agent's default prompt.
    pub(crate) text: String,
    pub(crate) attachments: Vec<NewAttachment>,
    pub(crate) config: Option<Box<RawValue>>,
    pub(crate) key: Option<String>,
    pub(crate) session: Option<String>,
    pub(crate) directory: Option<WorkspaceKey>,
    pub(crate) grants: Grants,
    /// Whether a person is asked if no rule decides.
    pub(crate) asks: bool,
    pub(crate) models: Option<Models>,
    pub(crate) limits: Limits,
    /// The deadline that was asked for, if the limits do not contain it.
    pub(crate) deadline: Option<Deadline>,
    pub(crate) json: bool,
    pub(crate) detach: bool,
    /// The run's id, once the prompt is accepted.
    pub(crate) run: Option<RunId>,
}

/// Input that is read only once, even if the run is planned again for another host: standard input
/// is empty the second time, and files may change.
#[derive(Clone)]
pub(crate) struct Given {
    text: String,
    attachments: Vec<NewAttachment>,
    config: Option<Box<RawValue>>,
}

impl Given {
    fn read(run: &arguments::Run) -> Result<Self, Failure> {
        Ok(Self {
            text: prompt(run.prompt.clone())?,
            attachments: attachments::read(&run.attach)?,
            config: run.config.clone().map(configuration).transpose()?,
        })
    }
}

impl Plan {
    /// Plans a run in this process.
    pub(crate) fn new(
        run: arguments::Run,
        given: &mut Option<Given>,
        settings: &Settings,
        terminal: &Terminal,
    ) -> Result<Self, Failure> {
        if run.detach {
            return Err(Failure::usage(
                "nobody would go on with the run: `--detach` needs a host that stays; start one \
                 with `lastword serve`, or name one with `--server URL`",
            ));
        }

        let defaults = &settings.run;
        let model = run.model.clone().or_else(|| defaults.model.clone());
        let mut limits = Limits::default();
        if let Some(grace) = run.grace.or(defaults.grace) {
            limits = limits.grace(grace.0);
        }

        if let Some(memory) = run.memory.or(defaults.memory) {
            limits = limits.memory_bytes(memory.0);
        }

        limits = budget(limits, run.budget, defaults);
        let mut plan = Self::of(run, given, settings, limits, model.is_some(), terminal)?;
        if let Some(deadline) = plan.deadline.take() {
            plan.limits = plan.limits.deadline(deadline.0);
        }

        if plan.grants.has(Capability::Model) {
            plan.models = Some(models(settings, model.as_deref())?);
        }

        Ok(plan)
    }

    /// Plans a run at another host, which has a model and limits of its own.
    pub(crate) fn elsewhere(
        run: arguments::Run,
        given: &mut Option<Given>,
        settings: &Settings,
        place: &str,
        terminal: &Terminal,
    ) -> Result<Self, Failure> {
        let decided = [
            (
                "--model",
                run.model.is_some(),
                "; to let the agent ask its model, `--allow model`",
            ),
            ("--memory", run.memory.is_some(), ""),
            ("--grace", run.grace.is_some(), ""),
            ("--max-tokens", run.budget.max_tokens.is_some(), ""),
            ("--max-cost", run.budget.max_cost.is_some(), ""),
            ("--max-tool-calls", run.budget.max_tool_calls.is_some(), ""),
            ("--max-wakes", run.budget.max_wakes.is_some(), ""),
        ];
        if let Some((option, _, how)) = decided.iter().find(|(_, given, _)| *given) {
            return Err(Failure::usage(format!(
                "`{option}` is for the host at {place} to decide, to which this command goes; \
                 leave it out{how}, or run on your own with another `--data-dir`"
            )));
        }

        if run.deadline == Some(Deadline(None)) {
            return Err(Failure::usage(format!(
                "whether a run may go on for ever is for the host at {place} to decide, to which \
                 this command goes; name a deadline such as `--deadline 2h`, or leave it out"
            )));
        }

        let asks_a_model = settings.run.model.is_some();
        let limits = Limits::default();
        Self::of(run, given, settings, limits, asks_a_model, terminal)
    }

    fn of(
        run: arguments::Run,
        given: &mut Option<Given>,
        settings: &Settings,
        limits: Limits,
        asks_a_model: bool,
        terminal: &Terminal,
    ) -> Result<Self, Failure> {
        let directory = run.workspace.as_deref().map(directory).transpose()?;
        let rules = &run.permissions;
        let grants = grants(rules, settings, directory.is_some(), asks_a_model)?;
        let attended = !run.json && !run.detach;
        let asks = asks(rules, settings, attended, terminal);
        let Given {
            text,
            attachments,
            config,
        } = match given {
            Some(read) => read.clone(),
            None => given.insert(Given::read(&run)?).clone(),
        };

        Ok(Self {
            agent: run.agent,
            name: run.name,
            text,
            attachments,
            config,
            key: run.key,
            session: run.session,
            directory,
            grants,
            asks,
            models: None,
            limits,
            deadline: run.deadline.or(settings.run.deadline),
            json: run.json,
            detach: run.detach,
            run: None,
        })
    }

    /// Whether the prompt is empty, so that the agent's default prompt is used.
    pub(crate) fn is_blank(&self) -> bool {
        self.text.trim().is_empty() && self.attachments.is_empty()
    }

    /// Returns the prompt in the form of a request to a host.
    pub(crate) fn new_run(&self) -> NewRun {
        let attachments = self.attachments.clone();
        let deadline = self.deadline.and_then(|deadline| deadline.0);
        let ms = |deadline: Duration| u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        NewRun {
            attachments: (!attachments.is_empty()).then_some(attachments),
            config: self.config.clone(),
            deadline_ms: deadline.map(ms),
            ..NewRun::text(self.text.clone())
        }
    }
}

/// Returns the grants (by naming a directory or a model, by rules, and by the settings) and the
/// denials.
pub(crate) fn grants(
    rules: &Permissions,
    settings: &Settings,
    directory: bool,
    model: bool,
) -> Result<Grants, Failure> {
    let mut grants = Grants::none();
    if directory {
        grants = grants.with(Capability::ReadFiles);
    }

    if model {
        grants = grants.with(Capability::Model);
    }

    let grants = rules.allow.iter().cloned().fold(grants, Grants::with);
    if !directory && grants.has(Capability::ReadFiles) {
        return Err(Failure::usage(
            "there are no files to grant without a workspace; add `--workspace DIR`",
        ));
    }

    // The settings' rules about files apply only to runs with a directory.
    let set = settings.permissions.allow();
    let set = set.filter(|rule| directory || !rule.is_about(Capability::ReadFiles));
    let grants = set.fold(grants, Grants::with);
    let denied = rules
        .deny
        .iter()
        .cloned()
        .chain(settings.permissions.deny());
    Ok(denied.fold(grants, Grants::deny))
}

/// Whether a person is asked if no rule decides: as the options or settings say, or else if a
/// person is at the terminal.
pub(crate) fn asks(
    rules: &Permissions,
    settings: &Settings,
    attended: bool,
    terminal: &Terminal,
) -> bool {
    let said = rules.asks().or(settings.permissions.ask);
    said.unwrap_or_else(|| attended && terminal.is_attended())
}

fn budget(limits: Limits, given: Budget, defaults: &RunSettings) -> Limits {
    let mut limits = limits;
    if let Some(tokens) = given.max_tokens.or(defaults.max_tokens) {
        limits = limits.tokens(Some(tokens));
    }

    if let Some(cost) = given.max_cost.or(defaults.max_cost) {
        limits = limits.cost_micros(Some(cost.0));
    }

    if let Some(calls) = given.max_tool_calls.or(defaults.max_tool_calls) {
        limits = limits.tool_calls(calls);
    }

    if let Some(wakes) = given.max_wakes.or(defaults.max_wakes) {
        limits = limits.wakes(wakes);
    }

    limits
}

/// The workspace, once it is known to be a directory that can be read.
pub(crate) fn directory(path: &Path) -> Result<WorkspaceKey, Failure> {
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
pub(crate) fn models(settings: &Settings, model: Option<&str>) -> Result<Models, Failure> {
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

    let bytes = file::read_from(std::io::stdin(), PROMPT_BYTES_MAX).map_err(|error| {
        let too_large = error.kind() == std::io::ErrorKind::FileTooLarge;
        let cure = if too_large {
            "; attach what is long with `--attach`, or put it into a file of the workspace"
        } else {
            ""
        };
        Failure::usage(format!("cannot read the prompt from stdin: {error}{cure}"))
    })?;
    String::from_utf8(bytes).map(without_mark).map_err(|_| {
        Failure::usage("the prompt on stdin is not UTF-8 text; agents are asked in text")
    })
}

/// A text without the byte order mark that an editor or a shell may have put before it.
fn without_mark(text: String) -> String {
    match text.strip_prefix('\u{feff}') {
        Some(text) => text.to_owned(),
        None => text,
    }
}

fn configuration(given: String) -> Result<Box<RawValue>, Failure> {
    let (json, origin) = match given.strip_prefix('@') {
        None => (given, "--config".to_owned()),
        Some(path) => {
            let json = file::read_text(path).map_err(|error| {
                Failure::usage(format!("cannot read the configuration {path}: {error}"))
            })?;
            (json, path.to_owned())
        }
    };

    RawValue::from_string(without_mark(json)).map_err(|error| {
        Failure::usage(format!(
            "the configuration ({origin}) is not JSON: {error}; write something like \
             --config '{{\"depth\": 2}}', or --config @FILE"
        ))
    })
}
