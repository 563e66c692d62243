//! Turns the library's hints into the options and commands of this program. The library says what
//! happened and what would help, as a value; only this file turns that into command-line words.

use lastword::{Capability, Hint, hint};

/// How to grant the rules that a denial names.
const RULES: &str = "a rule that would allow it is granted with `--allow RULE`";

/// Returns what helps against the denial that a text contains; `None` if it contains none.
pub(crate) fn of_denial(text: &str) -> Option<String> {
    if let Some(capability) = hint::unwanted(text) {
        return Some(in_manifest(capability));
    }

    hint::names_rule(text).then(|| RULES.to_owned())
}

/// Returns how an agent's author asks for a capability.
fn in_manifest(capability: Capability) -> String {
    let words = capability.as_str().split('-').map(|word| {
        let (first, rest) = word.split_at(1);
        first.to_ascii_uppercase() + rest
    });
    let variant: String = words.collect();
    format!("in Rust, its manifest asks with `.wants(Capability::{variant}, \"REASON\")`")
}

/// Where a run is. The options that choose models and limits are for a host of this process only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a host of this process.
    Here,
    /// In another host, which has a model and limits of its own.
    Elsewhere,
}

/// Returns how a person at a terminal grants a capability.
pub(crate) fn how_to_grant(capability: Capability, place: Place) -> String {
    match (capability, place) {
        (Capability::ReadFiles, _) => "`--workspace DIRECTORY`".to_owned(),
        (Capability::Model, Place::Here) => "`--model PROVIDER:NAME`".to_owned(),
        (other, _) => format!("`--allow {other}`"),
    }
}

/// Returns what to type, as the end of a sentence; `None` where no command helps.
pub(crate) fn of(hint: &Hint) -> Option<String> {
    Some(match hint {
        Hint::Grant(rule) => format!("`--allow {rule}` grants it"),
        Hint::ConfigureModel => "name a model with `--model PROVIDER:NAME`".to_owned(),
        Hint::Prompt(_) => prompt(),
        Hint::UseAgent { agent, .. } => format!(
            "run that one (or give this one its name with `--name {agent}`), or begin a new \
             session without `--session`"
        ),
        Hint::ListSessions => sessions(),
        Hint::Resume(run) => format!("`lastword resume {run}` goes on with it"),
        Hint::Cancel(run) => format!("`lastword cancel {run}` ends it"),
        Hint::FreeDiskSpace => "free disk space, then ask again".to_owned(),
        Hint::Examine => examine(),
        Hint::OtherDataDirectory => {
            "`--data-dir` or LASTWORD_DATA_DIR names another directory".to_owned()
        }
        _ => return None,
    })
}

/// The same for the name of a server's refusal.
pub(crate) fn of_name(name: &str) -> Option<String> {
    Some(match name {
        "empty-prompt" => prompt(),
        "unknown-session" => sessions(),
        "unknown-run" => lists("runs"),
        "unknown-question" => lists("questions"),
        "unknown-grant" => lists("grants"),
        "store-damaged" => examine(),
        _ => return None,
    })
}

fn prompt() -> String {
    "`lastword run AGENT \"PROMPT\"`".to_owned()
}

fn sessions() -> String {
    lists("sessions")
}

fn lists(command: &str) -> String {
    format!("`lastword {command}` lists those that there are")
}

fn examine() -> String {
    "`lastword doctor` says what else is damaged, and how to export the rest".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_denial_has_the_remedy_of_its_cause() {
        let unwanted = hint::not_wanted(Capability::RunAgents, None);
        let told = of_denial(&unwanted).expect("a hint");
        assert!(told.contains(".wants(Capability::RunAgents, "), "{told}");
        assert!(!told.contains("--allow"), "{told}");

        let granted = of_denial(&hint::with_rule(&Capability::State.into()));
        assert_eq!(granted.as_deref(), Some(RULES));
        assert_eq!(of_denial("the disk is full"), None);
    }
}
