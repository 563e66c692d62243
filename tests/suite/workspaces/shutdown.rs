//! The host's own end: an order, not a race, and nothing that was said is lost in it.

use super::Bench;
use lastword::id::{ClientId, RunId};
use lastword::{Archive, Lifecycle, Run, RunState};
use lastword_tests::check::violations;
use lastword_tests::fixture::{builder, wait_until_said};
use std::collections::HashMap;
use std::time::Duration;

/// Runs that compute, that wait inside a host call, and that have not begun.
struct Load {
    active: Vec<Run>,
    queued: Vec<Run>,
}

async fn load(bench: &Bench) -> Load {
    let (mut active, mut queued) = (Vec::new(), Vec::new());
    for workspace in 0..4 {
        let client = ClientId::generate();
        let workspace = bench.claim(client, &format!("w{workspace}")).await;
        let workspace = workspace.unwrap();
        for n in 0..12 {
            let session = bench.session(&workspace).await;
            let prompt = if n < 2 {
                "spin before"
            } else {
                "sleep 3600000"
            };
            active.push(session.prompt(prompt).await.unwrap());
            queued.push(session.prompt("echo never").await.unwrap());
        }
    }
    for (n, run) in active.iter().enumerate() {
        if n % 12 < 2 {
            wait_until_said(run, "before").await;
        } else {
            lastword_tests::fixture::wait_until_started(run).await;
        }
    }
    Load { active, queued }
}

#[tokio::test(flavor = "multi_thread")]
async fn shutting_down_a_hundred_runs_is_an_order() {
    let mut bench = Bench::with(|builder| builder.concurrent_runs(48)).await;
    let load = load(&bench).await;
    drop(bench.notices.so_far());
    let began = std::time::Instant::now();
    assert_eq!(bench.host.shutdown().await, []);
    let took = began.elapsed();
    let order = bench.notices.so_far();
    assert_eq!(broken(&order), [""; 0]);
    assert_eq!(order.last(), Some(&Lifecycle::HostClosed));
    assert!(
        took < Duration::from_secs(7),
        "the bound is 5 s and a second: {took:?}"
    );
    for run in &load.active {
        let receipt = run.try_ended().expect("it has its end");
        assert_eq!(receipt.state, RunState::Interrupted);
        assert_eq!(
            (&*receipt.cause.name(), receipt.persisted),
            ("shutdown", true)
        );
    }
    assert_eq!(violations(&bench.data()), [""; 0]);
    let archive = Archive::open(&bench.data()).unwrap();
    for run in &load.active {
        let runs = archive.runs(run.session()).unwrap();
        let spun = runs[0].receipt.as_ref().unwrap().text_bytes;
        assert!(spun == 6 || spun == 0, "what was said is kept: {spun}");
    }
    let data = bench.data();
    let folder = data.parent().unwrap();
    let Bench { host, agent, .. } = &bench;
    drop((host.clone(), agent.clone()));
    let next = builder(folder).build().await.unwrap();
    assert_eq!(next.recovered().ended, 0, "nothing was left to recovery");
    assert_eq!(next.recovered().held, load.queued.len() as u64);
}

/// What breaks the order of a shutdown.
fn broken(order: &[Lifecycle]) -> Vec<String> {
    let mut wrong = Vec::new();
    let at = |wanted: &Lifecycle| order.iter().position(|notice| notice == wanted);
    let mut stopped: HashMap<RunId, usize> = HashMap::new();
    let mut ended: HashMap<RunId, usize> = HashMap::new();
    for (place, notice) in order.iter().enumerate() {
        match notice {
            Lifecycle::Stopping { run, .. } => {
                stopped.insert(*run, place);
            }
            Lifecycle::Ended { run, .. } => {
                let twice = ended.insert(*run, place).is_some();
                wrong.extend(twice.then(|| format!("{run} ended twice")));
            }
            _ => {}
        }
    }
    if at(&Lifecycle::HostClosing) != Some(0) {
        wrong.push("the host did not say first that it closes".to_owned());
    }
    for (run, place) in &stopped {
        if ended.get(run).is_none_or(|end| end < place) {
            wrong.push(format!("{run} was stopped and did not end after that"));
        }
    }
    let mut workspaces: Vec<_> = order.iter().filter_map(Lifecycle::workspace).collect();
    workspaces.sort();
    workspaces.dedup();
    for workspace in workspaces {
        let closing = order.iter().position(|n| {
            matches!(n, Lifecycle::Closing { .. }) && n.workspace() == Some(workspace)
        });
        let of = |n: &&Lifecycle| n.workspace() == Some(workspace);
        let last_end = order
            .iter()
            .rposition(|n| matches!(n, Lifecycle::Ended { .. }) && of(&n));
        let steps = [
            closing,
            last_end,
            at(&Lifecycle::Flushed { workspace }),
            at(&Lifecycle::Released { workspace }),
            at(&Lifecycle::Closed { workspace }),
        ];
        if steps.iter().any(Option::is_none) || !steps.is_sorted() {
            wrong.push(format!("{workspace} closed in the order {steps:?}"));
        }
    }
    wrong
}

#[test]
fn a_wrong_order_is_caught() {
    use lastword::id::WorkspaceId;
    let (workspace, run) = (WorkspaceId::generate(), RunId::generate());
    let reason = lastword::CloseReason::Shutdown;
    let right = vec![
        Lifecycle::HostClosing,
        Lifecycle::Closing { workspace, reason },
        Lifecycle::Stopping { workspace, run },
        Lifecycle::Ended { workspace, run },
        Lifecycle::Flushed { workspace },
        Lifecycle::Released { workspace },
        Lifecycle::Closed { workspace },
    ];
    assert_eq!(broken(&right), [""; 0]);
    for first in 0..right.len() - 1 {
        let mut swapped = right.clone();
        swapped.swap(first, first + 1);
        // Being told to stop before the workspace says that it closes is no harm.
        if first != 1 {
            assert_ne!(broken(&swapped), [""; 0], "{first} and its next may swap");
        }
        let mut missing = right.clone();
        missing.remove(first + 1);
        if first + 1 != 2 {
            assert_ne!(broken(&missing), [""; 0], "{} may be missing", first + 1);
        }
    }
    let mut twice = right;
    twice.insert(4, Lifecycle::Ended { workspace, run });
    assert_ne!(broken(&twice), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_may_go_on_for_the_time_to_drain_and_no_prompt_is_taken() {
    let drain = Duration::from_secs(60);
    let bench = Bench::with(|builder| builder.drain(drain)).await;
    let workspace = bench.claim(ClientId::generate(), "w").await.unwrap();
    let short = bench.session(&workspace).await;
    let long = bench.session(&workspace).await;
    let short = short.prompt("sleep 30000").await.unwrap();
    let other = long.prompt("sleep 3600000").await.unwrap();
    lastword_tests::fixture::wait_until_started(&short).await;
    lastword_tests::fixture::wait_until_started(&other).await;
    let host = bench.host.clone();
    let shutdown = tokio::spawn(async move { host.shutdown().await });
    bench.clock.asleep_for(drain, 1).await;
    let refused = long.prompt("echo x").await.unwrap_err();
    assert_eq!(refused.name(), "workspace-closing");
    assert!(bench.host.is_closing());
    let drained_early = bench.host.open_workspaces();
    assert_eq!(drained_early[0].running, 2, "they go on");
    bench.clock.advance(drain);
    assert_eq!(shutdown.await.unwrap(), []);
    assert_eq!(other.try_ended().unwrap().cause, "shutdown");
    assert_eq!(violations(&bench.data()), [""; 0]);
}
