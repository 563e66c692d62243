//! Commands through a guest: only those that are listed and allowed, and none that outlives
//! its run.

use super::{results, text};
use lastword::Capability;
use lastword::capability::tools::Commands;
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
