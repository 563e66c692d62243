//! `lastword check`: describes an agent and its wants. The agent is loaded with everything denied,
//! and not run; the user's sessions are not touched. A crate is built first, which runs its build
//! scripts and macros.

use crate::agent;
use crate::arguments::{self, Shared};
use crate::failure::{Exit, Failure};
use crate::hints::{self, Place};
use crate::paths::Paths;
use crate::settings::Settings;
use crate::terminal::{Stream, Terminal, brief, line, to_stdout};
use crate::units;
use lastword::permission::{Rule, Want};
use lastword::{Agent, Capability, WIT_PACKAGE, text};
use serde_json::json;
use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// Describes an agent.
pub(crate) async fn check(
    arguments: arguments::Check,
    shared: Shared,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    let settings = Settings::load(shared.config_file.as_deref())?;
    let paths = Paths::of(&shared, &settings)?;
    if agent::is_crate(&arguments.agent) {
        terminal.note(
            "building the crate: its build scripts and macros, and those of what it depends on, run \
             with your rights, outside of any sandbox",
        );
    }

    let found = agent::find(&arguments.agent, terminal)?;
    let temporary = tempfile::tempdir().map_err(|error| {
        Failure::usage(format!(
            "cannot make a temporary directory: {error}; name another with TMPDIR"
        ))
    })?;
    let host = settings
        .host()
        .data_dir(temporary.path())
        .cache_dir(&paths.cache)
        .concurrent_runs(1)
        .build()
        .await?;
    let began = Instant::now();
    let loaded = host.load_agent(&found.name, found.file.as_path());
    let agent = agent::loading(&found.name, loaded, terminal).await?;
    let loading = began.elapsed();
    let text = if arguments.json {
        format!("{}\n", as_json(&agent, &found.file, loading))
    } else {
        for_people(&agent, &found.file, loading, &terminal.out)
    };

    host.shutdown().await;
    drop(temporary);
    // A reader that closed the pipe needs no more output: this is no failure.
    let _closed = to_stdout(&text);
    Ok(Exit::Completed)
}

/// Returns the version of the WIT package that the agent was built against.
fn wit(agent: &Agent) -> Option<&str> {
    let exports = agent.inspection().exports.iter();
    let prefix = format!("{WIT_PACKAGE}/turn@");
    exports
        .filter_map(|name| name.strip_prefix(prefix.as_str()))
        .next()
}

fn as_json(agent: &Agent, file: &Path, loading: Duration) -> serde_json::Value {
    let (manifest, inspection) = (agent.manifest(), agent.inspection());
    let wants: Vec<_> = manifest
        .wants
        .iter()
        .map(|want| {
            json!({
                "capability": want.capability.as_str(),
                "required": want.required,
                "scope": want.scope,
                "rules": rules(want),
                "reason": want.reason,
            })
        })
        .collect();
    json!({
        "file": file,
        "name": manifest.name,
        "version": manifest.version,
        "description": manifest.description,
        "bytes": inspection.bytes,
        "digest": agent.digest().to_string(),
        "wit": { "package": WIT_PACKAGE, "version": wit(agent) },
        "wants": wants,
        "unknown_wants": manifest.unknown_wants,
        "default_prompt": manifest.default_prompt,
        "config_schema": manifest.config_schema,
        "epilogue": inspection.has_epilogue(),
        "imports": inspection.imports,
        "exports": inspection.exports,
        "cached": agent.was_cached(),
        "load_ms": u64::try_from(loading.as_millis()).unwrap_or(u64::MAX),
    })
}

fn for_people(agent: &Agent, file: &Path, loading: Duration, out: &Stream) -> String {
    let (manifest, inspection) = (agent.manifest(), agent.inspection());
    let mut page = Page {
        text: String::new(),
        out: *out,
    };

    let title = out.bold(&line(&manifest.name, 80));
    page.text = format!("{title} {}\n", line(&manifest.version, 40));
    if !manifest.description.is_empty() {
        page.text.push_str(&line(&manifest.description, 400));
        page.text.push('\n');
    }

    page.text.push('\n');
    page.row("file", &text::line(&file.display().to_string()));
    page.row("size", &units::bytes(inspection.bytes));
    page.row("digest", &format!("sha256:{}", agent.digest()));
    page.row(
        "built for",
        &format!("{WIT_PACKAGE}@{}", wit(agent).unwrap_or("?")),
    );
    let micros = u64::try_from(loading.as_micros()).unwrap_or(u64::MAX);
    let how = if agent.was_cached() {
        "loaded from the cache in"
    } else {
        "compiled in"
    };

    page.row("host", &format!("{how} {}", units::time(micros)));
    let default = manifest.default_prompt.as_deref();
    let default = default.map_or("none; a prompt must be given".to_owned(), |prompt| {
        format!("“{}”", line(prompt, 200))
    });
    page.row("default prompt", &default);
    let epilogue = if inspection.has_epilogue() {
        "yes: it may add closing words when it is stopped"
    } else {
        "no"
    };

    page.row("epilogue", epilogue);
    wants(&mut page, agent);
    names(&mut page, "imports", &inspection.imports);
    names(&mut page, "exports", &inspection.exports);
    page.text
}

/// Rows of a label and a value.
struct Page {
    text: String,
    out: Stream,
}

impl Page {
    fn row(&mut self, label: &str, value: &str) {
        let label = self.out.dim(&format!("{label:<16}"));
        self.text.push_str(&label);
        self.text.push_str(value);
        self.text.push('\n');
    }
}

/// Returns a want as rules; none if its scope is not a valid pattern.
fn rules(want: &Want) -> Vec<String> {
    let rules = want.rules().unwrap_or_default();
    rules.iter().map(ToString::to_string).collect()
}

/// Returns the command-line options that grant each rule of a want.
fn granted_by(want: &Want) -> Vec<String> {
    if crate::requirements::is_for_own_tools(want) {
        let names = brief(&want.scope.join(", "), 400);
        return vec![format!("granting what they touch: {names}")];
    }

    let rules = match want.rules() {
        Ok(rules) => rules,
        Err(error) => {
            let why = brief(&error.to_string(), 200);
            return vec![format!("nothing, since nobody understands it: {why}")];
        }
    };

    let how = |rule: &Rule| match (rule.capability(), rule.pattern()) {
        // A directory and a model are more than permissions.
        (Capability::ReadFiles | Capability::Model, None) => {
            hints::how_to_grant(want.capability, Place::Here)
        }
        (Capability::Model, Some(_)) => {
            let model = rule.to_string();
            format!(
                "{} ({})",
                hints::how_to_grant(want.capability, Place::Here),
                text::seen(&model)
            )
        }
        _ => {
            format!("`--allow {}`", text::shell(&text::seen(&rule.to_string())))
        }
    };

    rules.iter().map(how).collect()
}

fn wants(page: &mut Page, agent: &Agent) {
    let manifest = agent.manifest();
    if manifest.wants.is_empty() && manifest.unknown_wants.is_empty() {
        page.row("wants", "nothing");
    }

    let mut label = "wants";
    for want in &manifest.wants {
        let mut value = format!("{:<13}", want.capability.as_str());
        let need = if want.required {
            "required"
        } else {
            "optional"
        };
        let _infallible = write!(value, "{need}, {}", line(&want.reason, 200));
        page.row(std::mem::take(&mut label), &value);
        for how in granted_by(want) {
            page.row("", &format!("  granted by {how}"));
        }
    }

    for unknown in &manifest.unknown_wants {
        let value = format!("{} (not known to this lastword)", brief(unknown, 80));
        page.row(std::mem::take(&mut label), &value);
    }
}

/// Adds names in groups: lastword's own, WASI's, others. Each group is one row.
fn names(page: &mut Page, label: &str, names: &[String]) {
    let mut label = label;
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for name in names {
        let (package, rest) = match name.split_once('/') {
            Some((package, rest)) => (package, rest),
            None => ("", name.as_str()),
        };
        match groups.iter_mut().find(|group| group.0 == package) {
            Some(group) => group.1.push(rest),
            None => groups.push((package, vec![rest])),
        }
    }

    groups.sort_by_key(|group| !group.0.starts_with("lastword:"));
    for (package, mut rest) in groups {
        let version = rest.first().and_then(|name| name.split_once('@'));
        let version = version.map(|(_, version)| version.to_owned());
        let suffix = version.map(|version| format!("@{version}"));
        let suffix = suffix.unwrap_or_default();
        let same = rest.iter().all(|name| name.ends_with(&suffix));
        if same {
            rest = rest
                .iter()
                .map(|name| name.trim_end_matches(&suffix))
                .collect();
        }
        let package = match (package, same) {
            ("", _) => String::new(),
            (package, true) => format!("{package}{suffix}: "),
            (package, false) => format!("{package}: "),
        };
        let value = format!("{package}{}", rest.join(", "));
        page.row(std::mem::take(&mut label), &brief(&value, 1000));
    }

    if label == "imports" || label == "exports" {
        page.row(label, "nothing");
    }
}
