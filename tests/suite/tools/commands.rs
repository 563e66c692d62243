//! Commands through a guest: only those that are listed and allowed, and none that outlives
//! its run.

use super::questions::{asked, remember};
use super::{results, text};
use lastword::Capability;
use lastword::session::{Asked, Within};
use lastword::tools::Commands;
use lastword_tests::fixture::{Fixture, Plan};
use serde_json::json;

async fn with(commands: Commands, change: impl FnOnce(Plan) -> Plan) -> Fixture {
    let plan = Plan::new().host(|host| host.commands(commands));
    let grants = [
        Capability::ReadFiles,
        Capability::Tools,
        Capability::RunCommands,
    ];
    change(plan.grants(grants)).build().await
}

fn call(words: &[&str]) -> String {
    format!("tool run_command {}", json!({ "command": words }))
}

#[tokio::test]
async fn what_is_listed_runs_in_the_workspace() {
    let fixture = with(Commands::none().allow("ls"), |plan| plan).await;
    std::fs::write(fixture.files().join("here"), "").expect("a file");
    let outcome = fixture.run(&call(&["ls"])).await;
    assert!(outcome.text().contains("here"), "{}", outcome.text());
    assert!(super::calls(&outcome)[0].started);
    let other = fixture.run(&call(&["cat", "here"])).await;
    assert!(other.text().starts_with("error denied"), "{}", other.text());
}

#[tokio::test]
async fn nothing_runs_unless_the_operator_lists_it() {
    let fixture = with(Commands::none(), |plan| plan).await;
    let names = fixture.run("tools").await.text();
    assert!(!names.contains("run_command"), "{names}");
    let refused = fixture.run(&call(&["ls"])).await;
    assert!(
        refused.text().starts_with("error not-found"),
        "{}",
        refused.text()
    );
}

#[tokio::test]
async fn a_command_sees_no_variable_of_the_host() {
    let fixture = with(Commands::none().allow("env"), |plan| plan).await;
    let said = fixture.run(&call(&["env"])).await.text();
    assert!(said.contains("PATH="), "{said}");
    assert!(!said.contains("CARGO"), "{said}");
}

/// Whether a process is there and not merely waited for.
fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z"))
}

#[tokio::test]
async fn a_cancelled_run_leaves_no_process() {
    let fixture = with(Commands::none().allow("sh"), |plan| plan).await;
    let pipe = fixture.files().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo runs").success());
    let script = "sleep 1000 & echo $! > pipe; wait";
    let run = fixture.start(&call(&["sh", "-c", script])).await;
    // Opening a pipe waits for the other side: the command is at work when this returns.
    let pid = tokio::task::spawn_blocking(move || std::fs::read_to_string(pipe));
    let pid = pid.await.expect("no panic").expect("the pipe is read");
    assert!(lives(pid.trim()), "the grandchild {pid} is at work");
    let receipt = run.cancel().await.expect("the run ends");
    let outcome = fixture.outcome(&run, receipt).await;
    assert!(text(&results(&outcome)[0]).contains("may have taken effect"));
    // It was killed before the run had its end; the kernel takes a moment to bury it.
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while lives(pid.trim()) {
        assert!(
            std::time::Instant::now() < patience,
            "the grandchild {pid} lives"
        );
        tokio::task::yield_now().await;
    }
}

/// What a call is asked about: the details that are shown, and what an answer may grant. It is
/// answered for as long as can be.
async fn shown(fixture: &Fixture, call: &serde_json::Value) -> (Option<String>, Vec<String>) {
    let run = fixture.start(&format!("tool run_command {call}")).await;
    let question = asked(&run).await;
    let Asked::Permission {
        details, offers, ..
    } = question.asked
    else {
        panic!("a permission");
    };
    let answer = match offers.is_empty() {
        true => super::questions::allow(),
        false => remember(Within::Session, None),
    };
    let answered = fixture.host.answer(question.id, answer).await;
    answered.expect("it counts");
    run.ended().await.expect("the run ends");
    (details, offers)
}

#[tokio::test]
async fn leave_to_run_a_command_is_for_no_other_stdin_and_no_other_directory() {
    let plan = Plan::new().host(|host| host.commands(Commands::none().allow("cat")));
    let plan = plan.grants([Capability::Tools]);
    let fixture = plan.options(|options| options.ask(true)).build().await;
    std::fs::create_dir(fixture.files().join("sub")).expect("a folder");
    let (details, offers) = shown(&fixture, &json!({ "command": ["cat"] })).await;
    assert_eq!((details, offers[0].as_str()), (None, "run-commands=cat"));
    for stdin in ["first", "second\u{202e}"] {
        let (details, offers) =
            shown(&fixture, &json!({ "command": ["cat"], "stdin": stdin })).await;
        let written = stdin.replace('\u{202e}', r"\u{202e}");
        assert_eq!(details, Some(format!("stdin:\n{written}")));
        assert_eq!(offers, [""; 0]);
    }
    let elsewhere = json!({ "command": ["cat"], "directory": "sub" });
    assert_eq!(shown(&fixture, &elsewhere).await, (None, vec![]));
    // The plain command was granted for the session, and is not asked about again.
    let outcome = fixture.run(&call(&["cat"])).await;
    assert!(!outcome.text().starts_with("error"), "{}", outcome.text());
}
