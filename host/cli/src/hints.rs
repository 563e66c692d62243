//! Turns the library's hints into the options and commands of this program. The library says what
//! happened and what would help, as a value; only this file turns that into command-line words.

use lastword::{Capability, Hint, hint};

/// How to grant the rules that a denial names.
const RULES: &str = "a rule that would allow it is granted with `--allow RULE`";

/// What a JavaScript author does whose thrown error came without its message.
const THROWN: &str = "in JavaScript, `run` throws a `failure` record, `{ code: 'internal', message: \
                      String(error), retryable: false, extra: [] }`; of any other thrown value, \
                      an `Error` too, StarlingMonkey keeps nothing";

/// Returns what helps against the error that ended a run, if its text contains a denial or another
/// error with a known remedy.
pub(crate) fn of_error(text: &str, place: Place) -> Option<String> {
    if let Some(capability) = hint::unwanted(text) {
        return Some(in_manifest(capability));
    }

    if is_thrown_value(text) {
        return Some(THROWN.to_owned());
    }

    // An agent can write such a text itself, so that the rule in it is not advised as the host's own
    // word. The two options that are no rules are the user's to choose in any case.
    let rule = hint::missing_rule(text)?;
    let mut with_option = [Capability::Model, Capability::ReadFiles].into_iter();
    Some(
        match with_option.find(|&capability| rule == capability.into()) {
            Some(capability) => format!("{} does so", how_to_grant(capability, place)),
            None => RULES.to_owned(),
        },
    )
}

/// Whether StarlingMonkey's bindings could not make a `failure` of what `run` threw: its `code` is
/// `undefined`, and the error is raised by the bindings themselves, not by the agent's code.
fn is_thrown_value(text: &str) -> bool {
    let mut frames = text.lines().map(str::trim_start);
    let by_bindings = frames
        .find(|line| line.contains("@/"))
        .is_some_and(|frame| frame.starts_with("_utf8AllocateAndEncode@"));
    by_bindings && text.contains("received [undefined]") && text.contains("export_turn_")
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
        let told = of_error(&unwanted, Place::Here).expect("a hint");
        assert!(told.contains(".wants(Capability::RunAgents, "), "{told}");
        assert!(!told.contains("--allow"), "{told}");

        let lacking = |capability: Capability| hint::with_rule(&capability.into());
        for (denial, place, remedy) in [
            (lacking(Capability::State), Place::Here, Some(RULES)),
            (
                lacking(Capability::Model),
                Place::Here,
                Some("`--model PROVIDER:NAME` does so"),
            ),
            (
                lacking(Capability::Model),
                Place::Elsewhere,
                Some("`--allow model` does so"),
            ),
            ("the disk is full".to_owned(), Place::Here, None),
        ] {
            assert_eq!(of_error(&denial, place).as_deref(), remedy, "{denial}");
        }
    }

    #[test]
    fn a_value_that_javascript_throws_has_its_own_remedy() {
        // As componentize-js 0.23 writes it for `throw new Error("…")`.
        let written = "expected a string, received [undefined]\nStack:\n  \
                       _utf8AllocateAndEncode@/tmp/5a62/sources/initializer.js:68:11\n  \
                       export_turn_0_1_0$run@/tmp/5a62/sources/initializer.js:4912:45\n\n\
                       Redirecting call to abort() to mozalloc_abort\n";
        assert_eq!(of_error(written, Place::Here).as_deref(), Some(THROWN));

        let own = written.replace("_utf8AllocateAndEncode@", "answer@");
        assert_eq!(
            of_error(&own, Place::Here),
            None,
            "an error of the agent's own code"
        );
    }
}
