//! Hosts that are built and shut down one after the other in one process, each with a provider
//! that holds it: nothing of them stays.

use super::handles::{Holding, until};
use lastword::{WorkspaceKey, WorkspaceOptions};
use lastword_tests::fixture::builder;
use std::process::Command;

/// Hosts, one after the other.
const CYCLES: usize = 200;
/// After so many, the process has everything that it makes once.
const WARM: usize = 20;
/// Threads that the runtime may have made in between: it keeps those that may block for a while.
const THREADS_MAX: usize = 8;
/// Bytes that the allocator may hold on to. A host that stays keeps some 2 MB.
const BYTES_MAX: usize = 32 << 20;

/// What this process has.
#[derive(Clone, Copy, Debug)]
struct Held {
    threads: usize,
    descriptors: usize,
    bytes: usize,
}

impl Held {
    fn now() -> Self {
        let count = |folder: &str| std::fs::read_dir(folder).unwrap().count();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let mut resident = status
            .lines()
            .filter_map(|line| line.strip_prefix("VmRSS:"));
        let resident = resident.next().unwrap().trim_end_matches("kB").trim();
        Self {
            threads: count("/proc/self/task"),
            descriptors: count("/proc/self/fd"),
            bytes: resident.parse::<usize>().unwrap() << 10,
        }
    }
}

async fn cycle() {
    let folder = tempfile::tempdir().unwrap();
    let holding = Holding::default();
    let brought = holding.clone();
    let host = builder(folder.path()).tools(brought).build().await.unwrap();
    assert!(holding.0.set(host.clone()).is_ok());
    let opened = host.open_workspace(WorkspaceKey::name("w"), WorkspaceOptions::new());
    drop(opened.await.unwrap());
    host.shutdown().await;
}

/// Other tests would be counted with it, so it has a process of its own.
#[test]
fn hosts_that_come_and_go_leave_nothing_in_the_process() {
    let own = std::env::current_exe().unwrap();
    let inner = "embedder::cycles::in_a_process_of_its_own";
    let mut alone = Command::new(own);
    alone.args([inner, "--exact", "--ignored", "--nocapture"]);
    let output = alone.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
}

#[ignore = "is run by the test above, in a process of its own"]
#[tokio::test(flavor = "multi_thread")]
async fn in_a_process_of_its_own() {
    for _ in 0..WARM {
        cycle().await;
    }
    let warm = Held::now();
    for _ in WARM..CYCLES {
        cycle().await;
    }
    // The threads of the last one end by themselves.
    until("threads or descriptors of earlier hosts stay", || {
        let end = Held::now();
        end.threads <= warm.threads + THREADS_MAX && end.descriptors <= warm.descriptors
    })
    .await;
    let end = Held::now();
    println!("after {WARM} hosts {warm:?}, after {CYCLES} {end:?}");
    assert!(end.bytes <= warm.bytes + BYTES_MAX, "{warm:?} {end:?}");
}
