//! The agent with others that answer at once.

use lastword_guest::run_tools::{Answer, Kind, Parameters, Tool};
use lastword_guest::testing::{Host, Reply};
use serde_json::{Value, json};

use super::*;

/// A host whose agents know one thing each, or fail.
fn host() -> Host {
    let parameters = Parameters::new()
        .required("agent", Kind::Text, "Who")
        .required("prompt", Kind::Text, "What")
        .optional("title", Kind::Text, "A name");
    let mut slots = 0;
    let run = Tool::new(RUN_AGENT, "Runs", &parameters, move |arguments: Value| {
        let prompt = arguments["prompt"].as_str().unwrap_or_default().to_owned();
        match prompt.as_str() {
            "Broken?" => Ok(Answer::error("it failed: agent-error")),
            "Silent?" => Ok(Answer::text(" ").structured(json!({ "state": "completed" }))),
            "Full?" => Err(Error::new("limit", "no slot is free")),
            "Later?" if slots == 0 => {
                slots += 1;
                Err(Error::new("limit", "no slot is free"))
            }
            "Stop?" => Err(Error::new("cancelled", "the run is being stopped")),
            _ => Ok(Answer::text(format!(
                "{} knows {prompt}",
                arguments["agent"]
            ))),
        }
    });
    Host::new().tool(run)
}

fn plan(questions: &[&str]) -> Reply {
    let part = |question: &&str| json!({ "title": "t", "question": question });
    let parts: Vec<_> = questions.iter().map(part).collect();
    Reply::text(json!({ "parts": parts }).to_string())
}

#[test]
fn the_parts_are_looked_into_and_summed_up() {
    let host = host()
        .config(&json!({ "agent": "reader" }))
        .reply(plan(&["One?", "Two?"]))
        .reply(Reply::text("Both."));
    let outcome = host.run::<Researcher>("What about both?").unwrap();
    assert_eq!(outcome.reason(), "end_turn");
    let said = host.text();
    assert!(said.starts_with("I have 2 parts looked into"), "{said}");
    assert!(said.ends_with("Both."), "{said}");
    let requests = host.requests();
    assert!(requests[0].output_schema.is_some());
    let material = requests[1].last_text();
    assert!(material.contains("What about both?"));
    assert!(material.contains("\"reader\" knows One?") && material.contains("knows Two?"));
}

#[test]
fn those_for_whom_there_was_no_slot_are_asked_again() {
    let host = host()
        .reply(plan(&["Later?", "One?"]))
        .reply(Reply::text("Both."));
    host.run::<Researcher>("All?").unwrap();
    let material = host.requests()[1].last_text();
    assert!(material.contains("knows Later?"), "{material}");
    assert!(!host.text().contains("Not found out"));
}

#[test]
fn those_that_fail_are_named_and_the_rest_counts() {
    let host = host()
        .reply(plan(&["One?", "Broken?", "Silent?", "Full?"]))
        .reply(Reply::text("One."));
    host.run::<Researcher>("All?").unwrap();
    let said = host.text();
    for words in [
        "Not found out:",
        "it failed: agent-error",
        "ended as completed and said nothing",
        "no slot is free (limit)",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(
        host.requests()[1]
            .last_text()
            .contains("nobody could find out")
    );
}

#[test]
fn nothing_is_made_up_when_nobody_knows() {
    let host = host().reply(plan(&["Broken?", "Full?"]));
    let error = host.run::<Researcher>("Why?").unwrap_err();
    assert_eq!(error.code(), "unavailable");
    assert!(host.text().contains("Not found out:"));
}

#[test]
fn a_run_that_is_being_stopped_ends_and_so_does_one_without_agents() {
    let stopped = host().reply(plan(&["One?", "Stop?"]));
    assert!(
        stopped
            .run::<Researcher>("Why?")
            .unwrap_err()
            .is_cancelled()
    );
    let error = Host::new().run::<Researcher>("Why?").unwrap_err();
    assert!(error.is_denied() && error.message().contains("run_agent"));
    let denied = host().deny(Capability::Tools);
    assert!(denied.run::<Researcher>("Why?").unwrap_err().is_denied());
}

#[test]
fn a_plan_is_kept_within_bounds() {
    let many: Vec<String> = (0..9).map(|at| format!("{at}?")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let host = host()
        .config(&json!({ "max_parts": 2 }))
        .reply(plan(&many))
        .reply(Reply::text("Two."));
    host.run::<Researcher>("All?").unwrap();
    assert_eq!(
        host.requests()[1].last_text().matches("<finding").count(),
        2
    );

    let empty = Plan { parts: Vec::new() };
    assert_eq!(empty.checked("Why?", 3).unwrap().parts[0].question, "Why?");
    let empty = Plan { parts: Vec::new() };
    assert_eq!(empty.checked(" ", 3).unwrap_err().code(), "invalid");
}
