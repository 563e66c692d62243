//! `check`, `sessions` and `show`: what they print, for people and for programs.

use super::{Shell, agent};
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("one JSON value")
}

#[test]
fn check_describes_and_touches_nothing() {
    let shell = Shell::new();
    let done = shell.lastword(&["check", &agent("census")]).exits(0);
    for words in [
        "census 0.1.0",
        "digest          sha256:",
        "lastword:agent@0.1.0",
        "read-files   required",
        "granted by `--workspace DIRECTORY`",
        "default prompt  “",
        "epilogue        no",
        "wasi:filesystem@0.2",
    ] {
        assert!(done.out.contains(words), "`{words}` is missing: {done:?}");
    }
    assert!(!shell.data().exists(), "check made a data directory");
}

#[test]
fn check_is_for_programs_too() {
    let shell = Shell::new();
    let done = shell
        .lastword(&["check", &agent("epilogue"), "--json"])
        .exits(0);
    let about = json(&done.out);
    assert_eq!(about["name"], "epilogue");
    assert_eq!(about["epilogue"], true);
    assert_eq!(about["wit"]["version"], "0.1.0");
    assert_eq!(about["digest"].as_str().unwrap().len(), 64);
    assert!(!about["imports"].as_array().unwrap().is_empty());
}

#[test]
fn nothing_was_said_yet() {
    let shell = Shell::new();
    let done = shell.lastword(&["sessions"]).exits(0);
    assert!(done.out.is_empty());
    done.tells(&["no sessions yet", "lastword run AGENT"]);
    shell
        .lastword(&["show"])
        .exits(2)
        .tells(&["run an agent first"]);
    assert!(!shell.data().exists(), "reading made a data directory");
}

#[test]
fn sessions_are_listed_newest_first() {
    let shell = Shell::new();
    std::fs::create_dir(shell.folder.path().join("files")).unwrap();
    shell.probe("echo first \x1b[2Jwords", &[]).exits(0);
    shell
        .probe("echo second", &["--workspace", "files"])
        .exits(0);
    let done = shell.lastword(&["sessions"]).exits(0);
    let lines: Vec<&str> = done.out.lines().collect();
    assert!(lines[0].starts_with("SESSION"), "{done:?}");
    assert!(lines[1].contains("echo second") && lines[1].contains("/files"));
    assert!(lines[2].contains("(probe)") && lines[2].contains("echo first"));
    assert!(
        !done.out.contains('\x1b'),
        "a title reached the terminal: {done:?}"
    );
    let short = lines[1].split_whitespace().next().unwrap();
    let shown = shell.lastword(&["show", short]).exits(0);
    assert!(shown.out.contains("echo second"), "{shown:?}");

    let here = shell.lastword(&["sessions", "--workspace", "./files", "--json"]);
    let here = here.exits(0).out;
    assert_eq!(here.lines().count(), 1);
    let session = json(&here);
    assert_eq!(session["title"], "echo second");
    let directory = session["directory"].as_str().expect("a directory");
    assert!(directory.ends_with("/files"), "{session}");
    let one = shell
        .lastword(&["sessions", "--limit", "1", "--json"])
        .exits(0);
    assert_eq!(one.out.lines().count(), 1);
}

#[test]
fn a_conversation_is_shown_with_the_end_of_each_run() {
    let shell = Shell::new();
    shell.probe("two-steps", &[]).exits(0);
    shell
        .probe("fail no luck", &["--session", "latest"])
        .exits(1);
    let done = shell.lastword(&["show", "latest"]).exits(0);
    let places: Vec<_> = [
        "agent probe",
        "user\ntwo-steps",
        "assistant\none",
        "→ t a=1",
        "← t served",
        "assistant\ntwo",
        "— completed · cause returned",
        "fail no luck",
        "— failed · cause agent-error",
        "no luck (invalid)",
    ]
    .map(|words| {
        done.out
            .find(words)
            .unwrap_or_else(|| panic!("`{words}`: {done:?}"))
    })
    .into();
    assert!(places.is_sorted(), "{places:?} {done:?}");

    let whole = json(&shell.lastword(&["show", "--json"]).exits(0).out);
    assert_eq!(whole["runs"].as_array().unwrap().len(), 2);
    assert_eq!(whole["runs"][1]["receipt"]["cause"], "agent-error");
}

#[test]
fn a_running_run_is_shown_beside_its_host() {
    let shell = Shell::new();
    let mut run = shell.start("spin before", &[]);
    run.until("before");
    let done = shell.lastword(&["show"]).exits(0);
    assert!(done.out.contains("\nbefore\n"), "{done:?}");
    assert!(done.out.contains("— running now"), "{done:?}");
    run.signal("INT");
    run.end().exits(130);
}

#[test]
fn help_is_there_for_each_command() {
    let shell = Shell::new();
    for arguments in [
        &["--help"][..],
        &["run", "--help"],
        &["check", "-h"],
        &["show", "-h"],
        &["serve", "--help"],
        &["cancel", "--help"],
        &["queue", "--help"],
        &["resume", "--help"],
        &["rename", "--help"],
        &["delete", "--help"],
        &["export", "--help"],
        &["backup", "--help"],
        &["runs", "--help"],
        &["follow", "--help"],
        &["agents", "--help"],
        &["grants", "revoke", "--help"],
        &["mcp", "login", "--help"],
        &["completions", "--help"],
        &["man", "--help"],
    ] {
        let done = shell.lastword(arguments).exits(0);
        let place = |heading: &str| done.out.find(&format!("\n{heading}:\n"));
        assert!(place("Options") < place("Everywhere"), "{done:?}");
        assert!(place("Limits") < place("Everywhere"), "{done:?}");
        assert!(done.out.contains("Usage: lastword"), "{done:?}");
        assert!(!done.out.contains('\x1b'), "colours in a pipe: {done:?}");
    }
    let done = shell.lastword(&["--help"]);
    assert!(done.out.contains("Exit codes:"), "{done:?}");
    let of_run = shell.lastword(&["help", "run"]).exits(0).out;
    assert_eq!(of_run, shell.lastword(&["run", "--help"]).out);
    shell.lastword(&[]).exits(2);
}
