//! Commands on earlier prompts and answers: the queue, resuming, and stored sessions; with a
//! server, and without a process that owns the data directory.

use super::served::Served;
use super::{Shell, probe};
use lastword::RunState;
use lastword_tests::check::violations;
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("one JSON value")
}

/// Asks one session three times, the first time without an end, and returns the runs.
fn queued(shell: &Shell) -> [String; 3] {
    let ask = |prompt: &str, options: &[&str]| {
        let options = [&["--detach"], options].concat();
        shell.probe(prompt, &options).exits(0).out.trim().to_owned()
    };
    [
        ask("spin before", &[]),
        ask("echo second", &["--session", "latest"]),
        ask("echo third", &["--session", "latest"]),
    ]
}

#[test]
fn a_queue_is_listed_and_changed() {
    let shell = Shell::new();
    let served = Served::start(&shell, &[]);
    let [running, second, third] = queued(&shell);
    let listed = shell.lastword(&["queue", "latest"]).exits(0).out;
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines.len(), 3, "{listed}");
    assert!(lines[0].starts_with("RUN "), "{listed}");
    assert!(lines[1].contains(&second) && lines[1].ends_with("queued  echo second"));
    assert!(lines[2].contains(&third) && lines[2].ends_with("echo third"));

    shell
        .lastword(&["queue", "latest", "--edit", &second, "echo other"])
        .exits(0);
    let gone = shell
        .lastword(&["queue", "latest", "--withdraw", &third])
        .exits(0);
    assert!(gone.out.contains("cancelled"), "{gone:?}");
    let listed = shell.lastword(&["queue", "latest", "--json"]).exits(0).out;
    assert_eq!(json(listed.trim())["parts"][0]["text"], "echo other");
    let late = shell
        .lastword(&["queue", "latest", "--edit", &running, "x"])
        .exits(2);
    late.tells(&["does not wait any more"]);

    // One run only: what waited behind it goes on.
    let stopped = shell.lastword(&["cancel", &running, "--json"]).exits(0).out;
    assert_eq!(json(stopped.trim())["cause"], "user");
    let done = shell
        .probe("history", &["--session", "latest"])
        .exits(0)
        .out;
    assert!(
        done.contains("user: echo other\nassistant: other\n"),
        "{done}"
    );
    shell
        .lastword(&["queue"])
        .exits(0)
        .tells(&["nothing waits"]);
    served.end();
    assert_eq!(violations(&shell.data()), [""; 0]);
}

/// Returns the shortest beginning that can name this id, which none of the others shares.
fn beginning<'a>(id: &'a str, others: &[&str]) -> &'a str {
    let unique = |length: &usize| {
        let shared = |other: &&&str| other.starts_with(&id[..*length]);
        others.iter().filter(shared).count() <= 1
    };
    &id[..(4..=36).find(unique).expect("ids differ")]
}

#[test]
fn a_run_is_named_by_a_unique_beginning_of_its_id() {
    let shell = Shell::new();
    let served = Served::start(&shell, &[]);
    let [running, second, third] = queued(&shell);
    let session = shell.sessions()[0].record.id.to_string();
    let ids = [&running[..], &second, &third, &session];
    let shown = shell.lastword(&["show"]).exits(0).out;
    for id in &ids[..3] {
        assert!(shown.contains(&format!(" · run {id}\n")), "{shown}");
    }

    let many = shell.lastword(&["queue", "latest", "--withdraw", &third[..4]]);
    many.exits(2)
        .tells(&["more than one run begins with", &second, &third]);
    let second = beginning(&second, &ids);
    shell
        .lastword(&["queue", "latest", "--edit", second, "echo other"])
        .exits(0);
    let third = beginning(&third, &ids);
    let gone = shell.lastword(&["queue", "latest", "--withdraw", third]);
    assert!(gone.exits(0).out.contains("cancelled"));
    let none = shell.lastword(&["queue", "latest", "--withdraw", "ffffffff"]);
    none.exits(2).tells(&["there is no run ffffffff"]);
    let running = beginning(&running, &ids);
    let stopped = shell.lastword(&["cancel", running]).exits(0);
    assert!(stopped.out.contains(ids[0]), "{stopped:?}");
    let none = shell.lastword(&["cancel", "ffffffff"]).exits(2);
    none.tells(&["there is no run or session ffffffff"]);
    let resumed = shell.lastword(&["resume", third]).exits(0);
    assert_eq!(resumed.out, "third");
    served.end();
    assert_eq!(violations(&shell.data()), [""; 0]);
}

#[test]
fn an_ambiguous_beginning_lists_the_sessions() {
    let shell = Shell::new();
    shell.probe("echo first", &[]).exits(0);
    shell.probe("echo second", &[]).exits(0);
    let sessions = shell.sessions();
    let ids: Vec<String> = sessions
        .iter()
        .map(|session| session.record.id.to_string())
        .collect();
    for command in [&["show", &ids[0][..4]][..], &["cancel", &ids[0][..4]]] {
        let done = shell.lastword(command).exits(2);
        done.tells(&["more than one session begins with", "echo first"])
            .tells(&[&ids[0], &ids[1]]);
    }
}

/// A session with one held prompt, without a process that owns its data directory.
fn held() -> Shell {
    let shell = Shell::new();
    let served = Served::start(&shell, &[]);
    shell.probe("spin before", &["--detach"]).exits(0);
    shell
        .probe("echo waited", &["--detach", "--session", "latest"])
        .exits(0);
    served.end();
    // The next start holds it.
    assert_eq!(shell.newest().0[1].state, RunState::Queued);
    shell
}

#[test]
fn a_held_prompt_is_resumed_without_a_server() {
    let shell = held();
    let lacking = shell.lastword(&["resume", "latest"]).exits(2);
    lacking.tells(&["`probe`, which is not loaded", "--agent"]);
    let done = shell
        .lastword(&["resume", "latest", "--agent", &probe()])
        .exits(0);
    assert_eq!(done.out, "waited");
    let again = shell
        .lastword(&["resume", "latest", "--agent", &probe()])
        .exits(2);
    again.tells(&["nothing to go on with"]);
    assert_eq!(violations(&shell.data()), [""; 0]);
}

/// A command that is there for one run of its own says so and leaves what is held alone.
#[test]
fn a_held_prompt_stays_held_beside_another() {
    let shell = held();
    let done = shell.probe("echo mine", &["--session", "latest"]).exits(0);
    assert_eq!(done.out, "mine");
    done.tells(&[
        "1 earlier prompt of this session",
        "stay held",
        "lastword resume",
    ]);
    let held = shell.newest().0.into_iter();
    let held = held.filter(|run| run.state == RunState::Held);
    assert_eq!(held.count(), 1);
    assert_eq!(violations(&shell.data()), [""; 0]);
}

/// A directory and a component whose paths are not UTF-8 are as good as others.
#[test]
fn paths_that_are_not_utf8_can_be_run() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let shell = Shell::new();
    let odd = shell.folder.path().join(OsStr::from_bytes(b"odd-\xff"));
    std::fs::create_dir(&odd).unwrap();
    std::fs::write(odd.join("one.txt"), "a\n").unwrap();
    std::fs::copy(super::agent("census"), odd.join("census.wasm")).unwrap();
    let mut command = shell.command(&["run"]);
    command.arg(odd.join("census.wasm"));
    command.arg("--workspace").arg(&odd);
    let done = super::Done::from(command.output().unwrap()).exits(0);
    assert!(done.out.contains("Census"), "{done:?}");
}

/// What the newest session has is taken back, once.
fn takes_back(shell: &Shell) {
    let done = shell.lastword(&["cancel", "latest"]).exits(0);
    assert!(done.out.contains("cancelled · cause user"), "{done:?}");
    shell
        .lastword(&["cancel", "latest"])
        .exits(0)
        .tells(&["nothing to stop"]);
    assert_eq!(violations(&shell.data()), [""; 0]);
}

#[test]
fn a_held_prompt_is_taken_back_without_a_server() {
    takes_back(&held());
}

#[test]
fn what_a_session_waits_for_is_taken_back_without_a_server() {
    let shell = Shell::new();
    shell.probe("wait 3600000", &[]).exits(0);
    takes_back(&shell);
}

#[test]
fn no_more_is_waited_for_than_was_allowed() {
    let shell = Shell::new();
    let done = shell.probe("wait 1", &["--max-wakes", "0"]).exits(1);
    done.tells(&["limit(wakes)", "--max-wakes"]);
}

#[test]
fn a_run_that_ended_early_is_asked_again() {
    let shell = Shell::new();
    shell.probe("fail no luck", &[]).exits(1);
    let run = shell.newest().0[0].id.to_string();
    let resume = ["resume", &run, "--agent", &probe()];
    shell
        .lastword(&resume)
        .exits(1)
        .tells(&["no luck", "failed"]);
    let runs = shell.newest().0;
    assert_eq!(runs.len(), 2);
    assert_eq!(violations(&shell.data()), [""; 0]);
}

#[test]
fn a_session_is_renamed_exported_and_deleted() {
    let shell = Shell::new();
    shell.probe("echo words", &[]).exits(0);
    let id = shell.sessions()[0].record.id.to_string();
    shell.lastword(&["rename", "latest", "A new name"]).exits(0);
    let listed = shell.lastword(&["sessions"]).exits(0);
    assert!(listed.out.contains("A new name"), "{listed:?}");
    shell.lastword(&["rename", &id, "  "]).exits(2);

    let served = Served::start(&shell, &[]);
    let options = ["--server", served.text("url")];
    let export = |format: &str, options: &[&str]| {
        let command = [&["export", &id, "--format", format], options].concat();
        shell.lastword(&command).exits(0).out
    };
    let markdown = export("md", &options);
    assert!(
        markdown.contains("A new name") && markdown.contains("words"),
        "{markdown}"
    );
    let whole = json(&export("json", &options));
    assert!(whole.to_string().contains("A new name"));
    let listed = shell
        .lastword(&[&["sessions", "--json"], &options[..]].concat())
        .exits(0);
    assert_eq!(
        listed.out,
        shell.lastword(&["sessions", "--json"]).exits(0).out
    );
    let shown = shell
        .lastword(&[&["show", &id], &options[..]].concat())
        .exits(0);
    assert_eq!(shown.out, shell.lastword(&["show", &id]).exits(0).out);
    served.end();
    assert_eq!(json(&export("json", &[])), whole);

    shell
        .lastword(&["delete", "latest"])
        .exits(2)
        .tells(&["by its id"]);
    shell
        .lastword(&["delete", &id])
        .exits(0)
        .tells(&["is deleted"]);
    assert!(shell.sessions().is_empty());
    let gone = shell.lastword(&["export", &id]).exits(2);
    gone.tells(&["there is no session"]);
}

#[test]
fn nothing_is_made_where_nothing_is() {
    let shell = Shell::new();
    for command in [
        &["cancel", "latest"][..],
        &["queue"],
        &["resume"],
        &["export"],
        &["rename", "latest", "x"],
    ] {
        shell.lastword(command).exits(2).tells(&["no sessions yet"]);
    }
    assert!(!shell.data().exists(), "looking made a data directory");
}
