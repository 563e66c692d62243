//! An agent that fulfils a small task in a directory: it finds, reads, edits and explains, with
//! the tools of the host, which ask before they change anything.
//!
//! It does not know which model works, nor how a tool does what it does.

mod briefing;

use lastword_guest::prelude::*;
use lastword_guest::run_tools::Reason;

use crate::briefing::{TOOLS, briefing};

/// The largest number of answers of the model.
const STEPS_MAX: u32 = 40;

/// Refusals that are told at the end, at the most.
const REFUSALS_MAX: usize = 5;

/// Whatever a model claims.
const NOTHING_CHANGED: &str = "\n\nI was not allowed to change files, so none was changed: \
    `write-files` was not granted.\n";

struct Workbench;

impl Agent for Workbench {
    type Config = ();

    fn manifest() -> Manifest {
        Manifest::new("workbench", env!("CARGO_PKG_VERSION"))
            .describe("Fulfils a small task in a directory: finds, reads, edits, explains")
            .needs(Capability::Model, "to work out what to do")
            .needs(
                Capability::ReadFiles,
                "to find and read the files of the task",
            )
            .want(
                Want::new(
                    Capability::Tools,
                    "to look at the directory and to change it",
                )
                .scope(TOOLS),
            )
            .wants(
                Capability::WriteFiles,
                "to make the changes that you ask for; without it they are only described",
            )
            .wants(
                Capability::RunCommands,
                "to build and test what was changed",
            )
    }

    fn run(turn: &Turn<Self::Config>) -> Result<Outcome> {
        let available = turn.tools().available().map_err(explain)?;
        let names: Vec<_> = available.iter().map(|tool| tool.name.as_str()).collect();
        let mut refusals = Vec::new();
        let finished = turn.run_tools(
            ToolLoop::new()
                .system(briefing(&names))
                .host_tools(TOOLS)
                .max_steps(STEPS_MAX)
                .on_step(|step| {
                    let denied = step.failures.iter().filter(|(_, error)| error.is_denied());
                    refusals.extend(denied.map(|(tool, error)| (tool.clone(), error.clone())));
                }),
        );
        let finished = finished.map_err(explain)?;
        let may_change = ["edit_file", "write_file"]
            .iter()
            .any(|tool| names.contains(tool));
        let mut closing = closing(&finished, refusals);
        if !may_change {
            closing.push_str(NOTHING_CHANGED);
        }
        if !closing.is_empty() {
            turn.say(&closing)?;
        }
        Ok(Outcome::from(&finished))
    }
}

/// What the agent adds to the model's own words: why it ended, if not with an answer, and what
/// it was not allowed to do, so that this does not depend on what a model makes of it.
fn closing(finished: &Finished, mut refusals: Vec<(String, Error)>) -> String {
    let mut text = match finished.reason {
        Reason::Answered => String::new(),
        Reason::MaxSteps => format!("\n\n(I stopped after {} steps.)", finished.steps),
        Reason::Loop => "\n\n(I stopped, since I repeated myself. The task is not done.)".into(),
        Reason::CutOff => "\n\n(My answer was cut off in the middle of a call, which was not \
            carried out. The task may not be done; ask me to go on.)"
            .into(),
        reason => format!("\n\n(I stopped: {}.)", reason.name()),
    };
    refusals.dedup_by(|one, other| one.0 == other.0 && one.1.message() == other.1.message());
    if !refusals.is_empty() {
        text.push_str("\n\nDenied this time:\n");
    }
    for (tool, error) in refusals.iter().take(REFUSALS_MAX) {
        text.push_str(&format!("* `{tool}`: {}\n", error.message()));
    }
    if let Some(more) = refusals.len().checked_sub(REFUSALS_MAX + 1) {
        text.push_str(&format!("* and {} more\n", more + 1));
    }
    text
}

/// Says what a refusal means here; the host's message says how to lift it.
fn explain(error: Error) -> Error {
    if error.is_denied() {
        return error.context("I cannot work without a model and tools");
    }
    error
}

lastword_guest::export!(Workbench);

#[cfg(test)]
mod tests;
