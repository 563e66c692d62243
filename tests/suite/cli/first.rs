//! `lastword` as the first process of a container: it collects what others leave, hands signals on,
//! and ends as the command does.

use super::served::Served;
use super::{Shell, Started, binary};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What begins processes of their own kind; a user who is not root becomes it first.
fn unshare() -> Option<Vec<&'static str>> {
    let plain = vec!["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];
    let mut mapped = plain.clone();
    mapped.extend(["--user", "--map-root-user"]);
    [plain, mapped].into_iter().find(|words| {
        let tried = Command::new(words[0])
            .args(&words[1..])
            .arg("true")
            .output();
        tried.is_ok_and(|tried| tried.status.success())
    })
}

/// The processes whose parent this is.
fn children(process: u32) -> Vec<u32> {
    let path = format!("/proc/{process}/task/{process}/children");
    let children = std::fs::read_to_string(path).unwrap_or_default();
    let numbers = children.split_whitespace();
    numbers
        .map(|number| number.parse().expect("a number"))
        .collect()
}

/// Looks again and again, within a bound that nothing but a failure reaches.
fn until<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn the_first_process_collects_what_is_left_without_a_parent() {
    let Some(words) = unshare() else {
        eprintln!("not tested: this user may make no process namespace");
        return;
    };
    let shell = Shell::new();
    let mut command = shell.prepare(Command::new(words[0]));
    command
        .args(&words[1..])
        .arg(binary())
        .args(["serve", "--json", "--listen", "none"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let served = Served::ready(Started::of(command));
    let unshare = served.started.child.as_ref().expect("it runs").id();
    let first = children(unshare)[0];
    let server = children(first);
    assert_eq!(server.len(), 1, "the command is its child");

    // A process of the same kind that leaves one behind, which ends with its standard input.
    let target = first.to_string();
    let mut leaving = Command::new("nsenter")
        .args(["--target", &target, "--pid", "sh", "-c"])
        .arg("exec 3<&0; (read -r line <&3) & echo left; exit")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("nsenter starts");
    let input = leaving.stdin.take().expect("a pipe");
    let output = BufReader::new(leaving.stdout.take().expect("a pipe"));
    assert_eq!(output.lines().next().expect("it speaks").unwrap(), "left");
    assert!(leaving.wait().expect("it ends").success());
    let left = until("it is left to the first process", || {
        children(first)
            .into_iter()
            .find(|child| !server.contains(child))
    });
    drop(input);
    until("it is collected", || {
        (!children(first).contains(&left)).then_some(())
    });
    assert_eq!(children(first), server);

    let sent = Command::new("kill").args(["-TERM", &target]).status();
    assert!(sent.expect("kill runs").success());
    served
        .started
        .end()
        .exits(0)
        .tells(&["shutting down: nothing runs"]);
}

#[test]
fn the_first_process_ends_as_the_command_does() {
    let Some(words) = unshare() else {
        eprintln!("not tested: this user may make no process namespace");
        return;
    };
    let shell = Shell::new();
    for (arguments, code) in [(["show", "latest"], 2), (["sessions", "--json"], 0)] {
        let mut command = shell.prepare(Command::new(words[0]));
        command.args(&words[1..]).arg(binary()).args(arguments);
        let done = super::Done::from(command.output().expect("it starts"));
        done.exits(code);
    }
}
