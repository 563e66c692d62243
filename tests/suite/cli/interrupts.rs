//! Signals and readers that go away, while an agent computes without a call to its host.

use super::Shell;
use lastword::RunState;
use lastword::session::Message;
use lastword_tests::check::violations;

/// The one run of the newest session: its state, its cause and all that the agent said.
fn left(shell: &Shell) -> (RunState, Option<String>, String) {
    let run = shell.newest().0.pop().unwrap();
    let assistant = lastword::session::Role::Assistant;
    let said = run
        .messages
        .iter()
        .filter(|message| message.role == assistant);
    let cause = run.receipt.map(|receipt| receipt.cause.to_string());
    (run.state, cause, said.map(Message::text).collect())
}

#[test]
fn ctrl_c_keeps_every_word_and_tells_the_receipt() {
    let shell = Shell::new();
    let mut run = shell.start("spin before", &["-v"]);
    run.until("before");
    run.signal("INT");
    let done = run.end().exits(130);
    assert_eq!(done.out, "before");
    let words = [
        "cancelled",
        "cause user",
        "stopped in",
        "saved in",
        "6 bytes of text",
    ];
    done.tells(&words).tells(&["go on with --session"]);
    let user = Some("user".to_owned());
    assert_eq!(
        left(&shell),
        (RunState::Cancelled, user, "before".to_owned())
    );
    assert_eq!(violations(&shell.data()), [""; 0]);
    let shown = shell.lastword(&["show"]).exits(0);
    assert!(
        shown.out.contains("before") && shown.out.contains("cause user"),
        "{shown:?}"
    );
}

#[test]
fn ctrl_c_ends_json_with_the_end() {
    let shell = Shell::new();
    let mut run = shell.start("spin before", &["--json"]);
    run.until("\"text\":\"before\"");
    run.signal("INT");
    let done = run.end().exits(130);
    let last: serde_json::Value = serde_json::from_str(done.out.lines().last().unwrap()).unwrap();
    assert_eq!(last["type"], "run.ended");
    assert_eq!(last["receipt"]["cause"], "user");
}

#[test]
fn a_second_ctrl_c_leaves_at_once_and_the_next_start_recovers() {
    let shell = Shell::new();
    let mut run = shell.start("spin before", &["--grace", "60s"]);
    run.until("before");
    run.signal("INT");
    run.until_told("Ctrl-C again leaves at once");
    run.signal("INT");
    run.end().exits(130);

    let shown = shell.lastword(&["show"]).exits(0);
    assert!(shown.out.contains("awaiting recovery"), "{shown:?}");
    assert!(shown.out.contains("\nbefore\n"), "{shown:?}");
    let json = shell.lastword(&["show", "--json"]).exits(0).out;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["runs"][0]["awaiting_recovery"], true);
    assert_eq!(json["runs"][0]["said_so_far"][0]["text"], "before");

    let id = shell.sessions()[0].record.id.to_string();
    let done = shell.probe("echo again", &["--session", &id]).exits(0);
    assert_eq!(done.out, "again");
    done.tells(&["recovered 1 run"]);
    let shown = shell.lastword(&["show", &id]).exits(0);
    assert!(!shown.out.contains("awaiting recovery"), "{shown:?}");
    assert!(shown.out.contains("\nbefore\n"), "{shown:?}");
    assert_eq!(violations(&shell.data()), [""; 0]);
}

#[test]
fn sigterm_ends_the_host_in_order() {
    let shell = Shell::new();
    let mut run = shell.start("spin before", &[]);
    run.until("before");
    run.signal("TERM");
    let done = run.end().exits(130);
    assert_eq!(done.out, "before");
    done.tells(&["interrupted", "cause shutdown"]);
    let shutdown = Some("shutdown".to_owned());
    assert_eq!(
        left(&shell),
        (RunState::Interrupted, shutdown, "before".to_owned())
    );
    assert_eq!(violations(&shell.data()), [""; 0]);
}

#[test]
fn kill_9_keeps_what_was_seen() {
    let shell = Shell::new();
    let mut run = shell.start("spin before", &[]);
    run.until("before");
    run.signal("KILL");
    drop(run);
    shell
        .probe("echo x", &[])
        .exits(0)
        .tells(&["recovered 1 run"]);
    let first = shell.sessions().pop().unwrap().record.id.to_string();
    let shown = shell.lastword(&["show", &first]).exits(0);
    assert!(shown.out.contains("\nbefore\n"), "{shown:?}");
    assert!(shown.out.contains("cause host-crash"), "{shown:?}");
    assert_eq!(violations(&shell.data()), [""; 0]);
}

#[test]
fn a_reader_that_goes_away_ends_a_silent_agent() {
    let shell = Shell::new();
    let mut run = shell.start("spin before", &[]);
    run.until("before");
    run.hang_up();
    let done = run.end().exits(130);
    assert!(!done.err.contains("error"), "{done:?}");
    let gone = Some("client-gone".to_owned());
    assert_eq!(
        left(&shell),
        (RunState::Cancelled, gone, "before".to_owned())
    );
    assert_eq!(violations(&shell.data()), [""; 0]);
}

#[test]
fn a_reader_that_goes_away_ends_a_talkative_agent() {
    let shell = Shell::new();
    for options in [&[][..], &["--json"]] {
        let mut run = shell.start("flood", options);
        run.until("x");
        run.hang_up();
        let done = run.end().exits(130);
        assert!(!done.err.contains("error"), "{done:?}");
        assert_eq!(left(&shell).1.as_deref(), Some("client-gone"));
    }
    assert_eq!(violations(&shell.data()), [""; 0]);
}

#[test]
fn readers_of_everything_else_may_go_away() {
    let shell = Shell::new();
    shell.probe("echo x", &[]).exits(0);
    for arguments in [
        &["sessions"][..],
        &["show"],
        &["check", &super::probe()],
        &["--help"],
    ] {
        let mut command = shell.command(arguments);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let done = super::Done::from(command.stdout(writer).output().unwrap()).exits(0);
        assert!(!done.err.contains("panicked"), "{done:?}");
    }
}
