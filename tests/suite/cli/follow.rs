//! `lastword follow`: a run of another command, from its first word to its end.

use super::Shell;
use super::served::Served;
use lastword_tests::check::violations;

/// Begins a run that goes on, and returns its id.
fn begin(shell: &Shell, prompt: &str, options: &[&str]) -> String {
    let options = [&["--detach"], options].concat();
    let run = shell.probe(prompt, &options).exits(0);
    run.out.trim().to_owned()
}

#[test]
fn a_run_is_followed_from_its_first_word_to_its_end() {
    let shell = Shell::new();
    let served = Served::start(&shell, &[]);
    // Of a session, it is neither the one that has ended nor the one that waits.
    shell.probe("echo earlier", &[]).exits(0);
    let run = begin(&shell, "spin before", &["--session", "latest"]);
    begin(&shell, "echo later", &["--session", "latest"]);
    let mut first = shell.spawn(&["follow", &run]);
    first.until("before");
    let mut second = shell.spawn(&["follow", "latest", "--json"]);
    second.until("\"text\":\"before\"");
    shell.lastword(&["cancel", &run]).exits(0);
    let done = first.end().exits(130);
    assert_eq!(done.out, "before");
    done.tells(&["cancelled", "cause user"]);
    let json = second.end().exits(130).out;
    assert!(json.lines().last().unwrap().contains("run.ended"), "{json}");
    served.end();
    assert_eq!(violations(&shell.data()), [""; 0]);
}

#[test]
fn a_follower_leaves_the_run_alone() {
    let shell = Shell::new();
    let served = Served::start(&shell, &[]);
    let run = begin(&shell, "spin before", &[]);
    let mut followed = shell.spawn(&["follow", &run]);
    followed.until("before");
    followed.signal("INT");
    let words = [
        "goes on without this command",
        &format!("lastword cancel {run}"),
    ];
    followed.end().exits(130).tells(&words);
    let mut followed = shell.spawn(&["follow", &run]);
    followed.until("before");
    followed.hang_up();
    followed.end().exits(130);
    let stopped = shell.lastword(&["cancel", &run]).exits(0);
    assert!(
        stopped.out.contains("cause user"),
        "it went on: {stopped:?}"
    );
    served.end();
}

#[test]
fn a_run_that_has_ended_is_printed_whole_without_a_host() {
    let shell = Shell::new();
    shell.probe("echo words", &[]).exits(0);
    let done = shell.lastword(&["follow"]).exits(0);
    assert_eq!(done.out, "words");
    done.tells(&["completed"]);
    shell.probe("fail no luck", &[]).exits(1);
    shell.lastword(&["follow"]).exits(1).tells(&["no luck"]);
    shell
        .lastword(&["follow", "ffffffff"])
        .exits(2)
        .tells(&["there is no run or session"]);
    assert_eq!(violations(&shell.data()), [""; 0]);
}

#[test]
fn a_run_that_no_host_goes_on_with_is_not_waited_for() {
    let shell = Shell::new();
    let served = Served::start(&shell, &[]);
    shell.probe("spin before", &["--detach"]).exits(0);
    let waits = shell
        .probe("echo waited", &["--detach", "--session", "latest"])
        .exits(0);
    served.end();
    let done = shell.lastword(&["follow", waits.out.trim()]).exits(1);
    done.tells(&["is held", "lastword resume"]);
}
