//! What a run prints and how the process ends, for each way in which a run ends by itself.

use super::{Shell, agent, probe};
use lastword::event::{Event, EventBody};
use lastword::{Receipt, RunState};
use lastword_tests::check::violations;

#[test]
fn what_an_agent_says_is_what_stdout_holds() {
    let shell = Shell::new();
    let done = shell.probe("echo Hello there", &[]).exits(0);
    assert_eq!(done.out, "Hello there");
    done.tells(&["completed", "cause returned", "end_turn", "--session "]);
    assert_eq!(violations(&shell.data()), [""; 0]);
}

#[test]
fn what_a_terminal_would_obey_is_escaped_in_a_pipe_too() {
    let shell = Shell::new();
    let (prompt, escaped) = ("echo a\x1b[2Jb", r"a\u{1b}[2Jb");
    assert_eq!(shell.probe(prompt, &[]).exits(0).out, escaped);
    assert_eq!(shell.probe(prompt, &["--raw"]).exits(0).out, "a\x1b[2Jb");
    for command in ["show", "export", "follow"] {
        let shown = shell.lastword(&[command]).exits(0).out;
        assert!(
            shown.contains(escaped) && !shown.contains('\x1b'),
            "{shown}"
        );
        let shown = shell.lastword(&[command, "--raw"]).exits(0).out;
        assert!(shown.contains("a\x1b[2Jb"), "{shown}");
    }

    // In JSON the same words are exact, and its strings can be read.
    shell.probe("echo a\u{202e}b", &[]).exits(0);
    for command in [&["show", "--json"][..], &["export", "--format", "json"]] {
        let json = shell.lastword(command).exits(0).out;
        let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert!(json.to_string().contains("a\u{202e}b"), "{json}");
    }
}

#[test]
fn receipts_leave_out_what_says_nothing() {
    let shell = Shell::new();
    let quiet = shell.probe("echo x", &[]).exits(0);
    for words in ["0 + 0 tokens", "µs"] {
        assert!(!quiet.err.contains(words), "{quiet:?}");
    }
    quiet.tells(&["completed", "1 byte of text"]);
    let whole = shell.probe("echo x", &["-v"]).exits(0);
    whole.tells(&["0 + 0 tokens", "saved in", "took"]);
    let shown = shell.lastword(&["show"]).exits(0).out;
    assert!(
        !shown.contains("0 + 0 tokens") && !shown.contains("µs"),
        "{shown}"
    );
    let shown = shell.lastword(&["show", "-v"]).exits(0).out;
    assert_eq!(shown.matches("0 + 0 tokens").count(), 2, "{shown}");
}

#[test]
fn an_ephemeral_run_leaves_nothing_behind() {
    let shell = Shell::new();
    let done = shell.probe("echo Hello", &["--ephemeral"]).exits(0);
    assert_eq!(done.out, "Hello");
    assert!(!shell.data().exists());
    for option in [
        &["--session", "latest"][..],
        &["--server", "http://127.0.0.1:9"],
        // No other command could answer.
        &["--ask"],
    ] {
        let options = [&["--ephemeral"], option].concat();
        shell.probe("echo Hello", &options).exits(2);
    }
    assert!(!shell.data().exists());
}

#[test]
fn an_ephemeral_run_names_no_command_that_would_need_what_it_did() {
    let shell = Shell::new();
    for (prompt, code, told) in [
        ("echo Hello", 0, &["completed", "cause returned"][..]),
        ("fail the door is shut", 1, &["the door is shut", "failed"]),
        ("wait 3600000", 0, &["waiting", "is not kept"]),
        ("wait-for your name", 0, &["your name", "is not kept"]),
    ] {
        let kept = shell.probe(prompt, &[]).exits(code);
        assert!(kept.err.contains("--session "), "the control: {kept:?}");
        let done = shell.probe(prompt, &["--ephemeral"]).exits(code);
        let done = done.tells(told);
        for hint in ["--session", "go on with", "`lastword", "lastword answer"] {
            assert!(!done.err.contains(hint), "{hint}: {done:?}");
        }
    }
}

#[test]
fn json_is_the_log_and_nothing_else() {
    let shell = Shell::new();
    let done = shell.probe("two-steps", &["--json"]).exits(0);
    let (runs, events) = shell.newest();
    let events = events.iter().filter(|event| event.run == Some(runs[0].id));
    let lines: Vec<String> = events
        .map(|event| serde_json::to_string(event).unwrap())
        .collect();
    assert_eq!(done.out.lines().collect::<Vec<_>>(), lines);
    let last: Event = serde_json::from_str(done.out.lines().last().unwrap()).unwrap();
    let EventBody::RunEnded { receipt } = last.body else {
        panic!("the last line is not the end: {last:?}");
    };
    assert_eq!(Some(&receipt), runs[0].receipt.as_ref());
    assert!(receipt.persisted);
}

#[test]
fn each_end_has_its_exit_code() {
    let shell = Shell::new();
    for (prompt, options, code, told) in [
        ("echo x", &[][..], 0, &["completed"][..]),
        ("finish max_tokens", &[], 0, &["max_tokens"]),
        (
            "fail the door is shut",
            &[],
            1,
            &["error: ", "the door is shut (invalid)", "failed"],
        ),
        (
            "panic oh no",
            &[],
            1,
            &["error: The agent crashed", "oh no", "trap(unreachable)"],
        ),
        ("cancelled", &[], 1, &["which only the host may write"]),
        ("exit 0", &[], 1, &["exited with code 0"]),
        ("recurse", &[], 1, &["stack overflowed"]),
        ("grow", &["--memory", "8MiB"], 1, &["ran out of memory"]),
        (
            "spin before",
            &["--deadline", "100ms"],
            130,
            &["cancelled", "cause deadline"],
        ),
    ] {
        let done = shell.probe(prompt, options).exits(code).tells(told);
        assert!(done.err.contains("go on with --session"), "{done:?}");
    }
    assert_eq!(violations(&shell.data()), [""; 0]);
}

#[test]
fn a_required_capability_that_is_not_granted_ends_before_the_run() {
    let shell = Shell::new();
    let census = agent("census");
    let done = shell.lastword(&["run", &census]).exits(3);
    done.tells(&["read-files", "--workspace DIRECTORY", "nothing was run"]);
    assert!(shell.sessions().is_empty());

    shell.file("one.txt", "a\nb\n");
    let done = shell
        .lastword(&["run", &census, "--workspace", "."])
        .exits(0);
    assert!(done.out.contains("Census"), "{done:?}");
}

#[test]
fn a_crate_is_built_and_named_after_its_package() {
    let shell = Shell::new();
    let folder = lastword_tests::guests::root().join("tests/guests/probe");
    let folder = folder.to_str().unwrap();
    let done = shell.lastword(&["run", folder, "echo built"]).exits(0);
    assert_eq!(done.out, "built");
    assert_eq!(shell.sessions()[0].record.agent.as_str(), "probe");
}

#[test]
fn a_session_goes_on() {
    let shell = Shell::new();
    shell.probe("echo first", &[]).exits(0);
    let id = shell.sessions()[0].record.id.to_string();
    let done = shell.probe("history", &["--session", &id[..13]]).exits(0);
    assert_eq!(
        done.out,
        "user: echo first\nassistant: first\nuser: history\n"
    );
    let done = shell.probe("history", &["--session", "latest"]).exits(0);
    assert!(done.out.starts_with("user: echo first\n"), "{done:?}");
    assert_eq!(shell.sessions().len(), 1);
}

#[test]
fn a_key_starts_a_run_once() {
    let shell = Shell::new();
    shell.probe("echo begin", &[]).exits(0);
    let again = ["--session", "latest", "--key", "k1", "--json"];
    let first = shell.probe("echo once", &again).exits(0);
    let second = shell.probe("echo once", &again).exits(0);
    assert_eq!(first.out, second.out);
    let other = shell.probe("echo twice", &again).exits(2);
    other.tells(&["idempotency key", "use a new key"]);
    assert_eq!(shell.newest().0.len(), 2);
}

#[test]
fn settings_come_from_the_folder_and_options_win() {
    let shell = Shell::new();
    shell.file("lastword.toml", "[run]\ndeadline = '123s'\n");
    let deadline = |options: &[&str]| {
        shell.probe("echo x", options).exits(0);
        let receipt: Receipt = shell.newest().0.remove(0).receipt.unwrap();
        assert_eq!(receipt.state, RunState::Completed);
        receipt.run_deadline_ms
    };
    assert_eq!(deadline(&[]), Some(123_000));
    assert_eq!(deadline(&["--deadline", "1m30s"]), Some(90_000));
    assert_eq!(deadline(&["--deadline", "none"]), None);
}

#[test]
fn the_configuration_arrives() {
    let shell = Shell::new();
    let done = shell.probe("config", &["--config", "{\"depth\": 2}"]);
    assert_eq!(done.exits(0).out, "{\"depth\": 2}");
    let file = format!("@{}", shell.file("c.json", "[1]"));
    assert_eq!(
        shell.probe("config", &["--config", &file]).exits(0).out,
        "[1]"
    );
    let file = format!("@{}", shell.file("mark.json", "\u{feff}[2]"));
    assert_eq!(
        shell.probe("config", &["--config", &file]).exits(0).out,
        "[2]"
    );
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_settings() {
    let shell = Shell::new();
    shell.file("lastword.toml", "\u{feff}[run]\ndeadline = '123s'\n");
    shell.probe("echo x", &[]).exits(0);
    let receipt: Receipt = shell.newest().0.remove(0).receipt.unwrap();
    assert_eq!(receipt.run_deadline_ms, Some(123_000));
}

#[test]
fn a_prompt_is_read_from_stdin() {
    use std::io::Write;
    let shell = Shell::new();
    let mut command = shell.command(&["run", &probe(), "-"]);
    command.stdin(std::process::Stdio::piped());
    command.stdout(std::process::Stdio::piped());
    command.stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin
        .write_all("\u{feff}echo from a pipe\n".as_bytes())
        .unwrap();
    drop(stdin);
    let done = super::Done::from(child.wait_with_output().unwrap()).exits(0);
    assert_eq!(done.out.trim_end(), "from a pipe");
}

#[test]
fn log_lines_are_shown_when_asked_for() {
    let shell = Shell::new();
    let quiet = shell.probe("log 2", &[]).exits(0);
    assert!(!quiet.err.contains("line 1"), "{quiet:?}");
    shell.probe("log 2", &["-v"]).exits(0).tells(&["line 1"]);
}
