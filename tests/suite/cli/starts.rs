//! Commands that meet on one data directory: started together, one after the other's end, while its
//! owner comes, leaves, or lost its lock file. Each is done, by itself or by another.

use super::served::Served;
use super::{Shell, Started, probe};
use lastword::{Archive, HostError, OpenError, RunState};
use lastword_server::{Listener, ServerOptions, UnixOwner, router, serve};
use lastword_tests::check::violations;
use lastword_tests::fixture;
use std::io::Write;
use std::process::Stdio;
use std::sync::Arc;

/// Every run completed, each in a session of its own, and nothing is left over.
#[track_caller]
fn all_completed(shell: &Shell, runs: usize) {
    let archive = Archive::open(&shell.data()).unwrap();
    let sessions = shell.sessions().into_iter();
    let states = sessions.flat_map(|session| archive.runs(session.record.id).unwrap());
    let states: Vec<_> = states.map(|run| run.state).collect();
    assert_eq!(states, vec![RunState::Completed; runs]);
    assert_eq!(violations(&shell.data()), [""; 0]);
}

#[test]
fn commands_that_are_started_together_all_run() {
    const COMMANDS: usize = 12;
    let shell = Shell::new();
    let started: Vec<Started> = (0..COMMANDS)
        .map(|n| shell.start(&format!("echo {n}"), &[]))
        .collect();
    for (n, started) in started.into_iter().enumerate() {
        assert_eq!(started.end().exits(0).out, n.to_string());
    }
    all_completed(&shell, COMMANDS);
}

/// As `xargs -P 4` starts them: each begins while another ends, which may be the owner.
#[test]
fn commands_that_follow_on_each_other_all_run() {
    const AT_ONCE: usize = 4;
    const EACH: usize = 6;
    let shell = Shell::new();
    std::thread::scope(|scope| {
        for line in 0..AT_ONCE {
            let shell = &shell;
            scope.spawn(move || {
                for n in 0..EACH {
                    let words = format!("{line} {n}");
                    let done = shell.probe(&format!("echo {words}"), &[]);
                    assert_eq!(done.exits(0).out, words);
                }
            });
        }
    });
    all_completed(&shell, AT_ONCE * EACH);
}

/// What looks after sessions has neither models nor tools for the runs of others: those wait.
#[test]
fn commands_that_own_the_directory_for_a_moment_are_waited_for() {
    let shell = Shell::new();
    shell.probe("echo first", &[]).exits(0);
    let id = shell.sessions()[0].record.id.to_string();
    let mut all = Vec::new();
    for n in 0..4 {
        all.push(shell.spawn(&["rename", &id, &format!("title {n}")]));
        all.push(shell.spawn(&["queue", &id]));
        all.push(shell.start("echo beside", &[]));
    }
    for command in all {
        command.end().exits(0);
    }
    all_completed(&shell, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_does_not_answer_is_waited_for() {
    let shell = Shell::new();
    let host = fixture::builder(shell.home.path()).build().await.unwrap();
    let mut waits = shell.start("echo at last", &[]);
    let process = format!("waiting for process {}", std::process::id());
    waits.until_told(&process);
    let mut stopped = shell.start("echo never", &[]);
    stopped.until_told(&process);
    stopped.signal("INT");
    stopped.end().exits(130).tells(&["nothing was run"]);
    host.shutdown().await;
    assert_eq!(waits.end().exits(0).out, "at last");
    all_completed(&shell, 1);
}

/// Planned for this process first, then for the owner: the prompt on standard input is read once.
#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_begins_to_answer_gets_the_prompt() {
    let shell = Shell::new();
    let host = fixture::builder(shell.home.path()).build().await.unwrap();
    let mut command = shell.command(&["run", &probe(), "-"]);
    command.stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"echo from afar").unwrap();
    drop(stdin);
    let mut waits = Started {
        out: child.stdout.take(),
        child: Some(child),
        read: String::new(),
    };
    waits.until_told("waiting for process");
    let listener = Listener::unix(shell.data().join("socket")).await.unwrap();
    let options = ServerOptions {
        roots: vec!["/".into()],
        ..ServerOptions::default()
    };
    let router = router(host.clone(), Arc::new(UnixOwner), options.clone());
    let ending = host.clone();
    let served = tokio::spawn(async move {
        serve(vec![listener], router, &options, async move {
            ending.drained().await;
        })
        .await;
    });
    assert_eq!(waits.end().exits(0).out, "from afar");
    host.shutdown().await;
    served.await.unwrap();
    all_completed(&shell, 1);
}

/// Neither a command nor an embedder, which looks at no socket, comes in beside an owner and recovers
/// its run. (That a lock file which is away lets nothing in is said in `store/directory.rs`: a host
/// that notices it ends.)
#[tokio::test]
async fn no_second_host_comes_in_beside_an_owner() {
    let shell = Shell::new();
    let served = Served::start(&shell, &[]);
    shell.probe("spin before", &["--detach"]).exits(0);
    let second = fixture::builder(shell.home.path()).build().await;
    assert!(matches!(
        second.map(drop),
        Err(HostError::Open(OpenError::InUse { .. }))
    ));
    let second = shell.lastword(&["serve", "--listen", "none"]).exits(2);
    second.tells(&["has an owner already", "--data-dir"]);
    assert_eq!(shell.probe("echo beside", &[]).exits(0).out, "beside");
    served.end().tells(&["stopping 1 run"]);
    let archive = Archive::open(&shell.data()).unwrap();
    let sessions = shell.sessions().into_iter();
    let mut runs = sessions.flat_map(|session| archive.runs(session.record.id).unwrap());
    let run = runs.find(|run| run.state == RunState::Interrupted);
    assert_eq!(run.unwrap().receipt.unwrap().cause, "shutdown");
    assert_eq!(violations(&shell.data()), [""; 0]);
}

/// A host that leaves when it is idle stays for a session that waits for a time.
#[test]
fn a_session_that_is_due_soon_keeps_an_idle_host() {
    let shell = Shell::new();
    shell.probe("wait 3000", &[]).exits(0);
    let idle = [
        "--listen",
        "none",
        "--exit-when-idle=0s",
        "--agent",
        &probe(),
    ];
    let done = shell.lastword(&[&["serve"], &idle[..]].concat()).exits(0);
    done.tells(&["staying for a session that is due", "nothing runs"]);
    let (runs, _) = shell.newest();
    assert_eq!(runs.len(), 2, "it was gone on with: {runs:?}");
    assert_eq!(violations(&shell.data()), [""; 0]);
}

/// A run's end says that nothing goes on with it once the command is over.
#[test]
fn a_command_says_that_it_leaves_a_session_that_waits() {
    let shell = Shell::new();
    let done = shell.probe("wait 60000", &[]).exits(0);
    done.tells(&["the session waits", "lastword serve"]);
}
