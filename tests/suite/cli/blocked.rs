//! Signals while no reader takes what is printed: a full pipe, a pager that waits, Ctrl-S. The run gets
//! its end at once, and the command leaves soon after, though its words stay unread.

use super::served::Served;
use super::{Shell, Started, binary, probe};
use lastword::{Archive, RunState};
use lastword_tests::check::violations;
use pty_process::blocking;
use std::io::{Read, Write};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// More than a pipe holds.
const WORDS: usize = 100 << 10;
/// How long a command may take to end; it takes a second or two.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a terminal takes for “no more output”.
const HOLD: &[u8] = b"\x13";

fn many_words() -> String {
    format!("spin {}", "x".repeat(WORDS))
}

/// Waits for a command whose output is not read, and returns its exit code.
#[track_caller]
fn ends_unread(child: &mut Child) -> Option<i32> {
    let began = Instant::now();
    loop {
        match child.try_wait().expect("it can be waited for") {
            Some(status) => return status.code(),
            None => assert!(began.elapsed() < PATIENCE, "it waits for its reader"),
        }
        std::thread::yield_now();
    }
}

impl Started {
    #[track_caller]
    fn ends_unread(&mut self) -> Option<i32> {
        ends_unread(self.child.as_mut().expect("it runs"))
    }
}

/// How the newest run ended: its state and its cause.
fn ended(shell: &Shell) -> (RunState, String) {
    let run = shell.newest().0.pop().expect("a run");
    let receipt = run.receipt.expect("it has its end");
    assert!(receipt.persisted);
    (run.state, receipt.cause.to_string())
}

#[test]
fn a_full_pipe_holds_up_no_signal() {
    let shell = Shell::new();
    for (signal, state, cause) in [
        ("INT", RunState::Cancelled, "user"),
        ("TERM", RunState::Interrupted, "shutdown"),
        ("HUP", RunState::Interrupted, "shutdown"),
    ] {
        for options in [&[][..], &["--json"]] {
            let mut run = shell.start(&many_words(), options);
            // What is read of the first words shows that more than a pipe holds is to come.
            run.until("xx");
            run.signal(signal);
            assert_eq!(run.ends_unread(), Some(130), "{signal} {options:?}");
            assert_eq!(ended(&shell), (state, cause.to_owned()), "{signal}");
        }
    }
    assert_eq!(violations(&shell.data()), [""; 0]);
}

#[test]
fn a_full_pipe_holds_up_no_signal_to_a_run_elsewhere() {
    let shell = Shell::new();
    let served = Served::start(&shell, &[]);
    for signal in ["INT", "TERM", "HUP"] {
        let mut run = shell.start(&many_words(), &["--json"]);
        run.until("xx");
        run.signal(signal);
        assert_eq!(run.ends_unread(), Some(130), "{signal}");
        assert_eq!(ended(&shell), (RunState::Cancelled, "user".to_owned()));
    }
    served.end();
    assert_eq!(violations(&shell.data()), [""; 0]);
}

#[test]
fn a_terminal_that_is_held_holds_up_no_signal() {
    let shell = Shell::new();
    let (mut terminal, side) = blocking::open().expect("a terminal");
    let mut command = shell.prepare(Command::new(binary()));
    command.args(["run", &probe(), "flood"]);
    let mut child = blocking::Command::from(command)
        .spawn(side)
        .expect("it starts");
    let mut byte = [0];
    while byte != *b"x" {
        terminal.read_exact(&mut byte).expect("it shows something");
    }
    terminal.write_all(HOLD).expect("it takes keys");
    let sent = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status();
    assert!(sent.expect("kill runs").success());
    assert_eq!(ends_unread(&mut child), Some(130));
    assert_eq!(
        ended(&shell),
        (RunState::Interrupted, "shutdown".to_owned())
    );
    assert_eq!(violations(&shell.data()), [""; 0]);
}

#[test]
fn log_lines_that_are_not_read_hold_up_no_run() {
    let shell = Shell::new();
    let mut run = shell.start("log 2000", &["-v"]);
    let archive = loop {
        if let Ok(archive) = Archive::open(&shell.data()) {
            break archive;
        }
        std::thread::yield_now();
    };
    let began = Instant::now();
    let mut ended = false;
    while !ended {
        assert!(
            began.elapsed() < PATIENCE,
            "the run waits for a reader of its log"
        );
        let sessions = archive.sessions(None, 1).expect("sessions are read");
        let runs = sessions
            .first()
            .map(|session| archive.runs(session.record.id));
        ended = runs.is_some_and(|runs| {
            let runs = runs.expect("runs are read");
            runs.iter().any(|run| run.state == RunState::Completed)
        });
        std::thread::yield_now();
    }
    run.signal("TERM");
    assert!(run.ends_unread().is_some());
    assert_eq!(violations(&shell.data()), [""; 0]);
}

#[test]
fn what_is_read_slowly_is_read_to_the_end() {
    let shell = Shell::new();
    let words = "x".repeat(WORDS);
    let done = shell.start(&format!("echo {words}"), &[]).end().exits(0);
    assert_eq!(done.out, words);
    let mut run = shell.start(&many_words(), &[]);
    run.until("xx");
    run.signal("INT");
    let done = run.end().exits(130);
    assert_eq!(done.out, words, "a reader who goes on gets all of it");
}

#[test]
fn a_closed_terminal_ends_the_run_in_order() {
    let shell = Shell::new();
    let (mut terminal, side) = blocking::open().expect("a terminal");
    let mut command = shell.prepare(Command::new(binary()));
    command.args(["run", &probe(), "spin before"]);
    let mut child = blocking::Command::from(command)
        .spawn(side)
        .expect("it starts");
    let mut shown = Vec::new();
    while !shown.ends_with(b"before") {
        let mut byte = [0];
        terminal.read_exact(&mut byte).expect("it shows something");
        shown.push(byte[0]);
    }
    drop(terminal);
    assert_eq!(ends_unread(&mut child), Some(130));
    assert_eq!(
        ended(&shell),
        (RunState::Interrupted, "shutdown".to_owned())
    );
    assert_eq!(violations(&shell.data()), [""; 0]);
}

#[test]
fn a_hangup_that_comes_twice_is_one() {
    let shell = Shell::new();
    let mut run = shell.start("spin before", &["--grace", "2s"]);
    run.until("before");
    run.signal("HUP");
    run.until_told("Ctrl-C again leaves at once");
    run.signal("HUP");
    let done = run.end().exits(130);
    done.tells(&["interrupted", "cause shutdown"]);
    assert_eq!(
        ended(&shell),
        (RunState::Interrupted, "shutdown".to_owned())
    );
}

#[test]
fn a_hangup_that_is_ignored_stays_ignored() {
    let shell = Shell::new();
    let mut command = shell.prepare(Command::new("nohup"));
    command.arg(binary()).args(["run", &probe(), "spin before"]);
    let mut run = Started::of(command);
    run.until("before");
    run.signal("HUP");
    run.signal("INT");
    run.end().exits(130).tells(&["cause user"]);
}

#[test]
fn a_hangup_ends_a_server_in_order() {
    let shell = Shell::new();
    let served = Served::start(&shell, &[]);
    shell.probe("spin before", &["--detach"]).exits(0);
    served.started.signal("HUP");
    served.started.end().exits(0).tells(&["stopping 1 run"]);
    assert_eq!(
        ended(&shell),
        (RunState::Interrupted, "shutdown".to_owned())
    );
    assert_eq!(violations(&shell.data()), [""; 0]);
}

#[test]
fn what_cannot_be_printed_is_an_error() {
    let shell = Shell::new();
    shell.probe("echo x", &[]).exits(0);
    for arguments in [
        &["sessions"][..],
        &["show"],
        &["run", &probe(), "spin x"],
        &["run", &probe(), "echo x"],
        &["follow"],
        &["completions", "bash"],
        &["--help"],
    ] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
        let mut command = shell.command(arguments);
        let output = command.stdout(full.expect("a device")).output();
        let done = super::Done::from(output.expect("lastword starts"));
        done.exits(1)
            .tells(&["cannot write to standard output: No space left"]);
    }
}
