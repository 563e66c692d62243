//! A run that was stopped while the disk refused its end, and whose host then died, ends as it was
//! stopped.

use super::copy;
use lastword::{Archive, Cause, Limits, RunState};
use lastword_tests::check::violations;
use lastword_tests::fixture::{Plan, builder};
use lastword_tests::locked::Locked;
use std::path::Path;
use std::time::Duration;

/// Starts a host on what another left, and returns the state and the cause of each run.
async fn recovered(folder: &Path) -> Vec<(RunState, Option<Cause>)> {
    let host = builder(folder).build().await.expect("it starts");
    host.shutdown().await;
    let data = folder.join("data");
    assert_eq!(violations(&data), [""; 0]);
    let archive = Archive::open(&data).expect("a database");
    let session = archive.sessions(None, 1).expect("sessions").remove(0);
    let runs = archive.runs(session.record.id).expect("runs").into_iter();
    let end = |run: lastword::RunRow| (run.state, run.receipt.map(|receipt| receipt.cause));
    runs.map(end).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stopped_a_run_is_kept_though_the_disk_refuses() {
    let limits = Limits::default().finish_deadline(Duration::from_millis(20));
    let fixture = Plan::new().limits(limits).build().await;
    fixture.start_until("spin before", "before").await;
    let waiting = fixture.start("echo never").await;
    let locked = Locked::hold(&fixture.data());
    let receipts = fixture.session.cancel().await.expect("both are stopped");
    let told: Vec<_> = receipts
        .iter()
        .map(|receipt| (receipt.state, receipt.persisted, receipt.cause.clone()))
        .collect();
    assert_eq!(told, vec![(RunState::Finishing, false, Cause::User); 2]);
    let again = waiting.cancel().await.expect("it is stopped");
    assert!(!again.persisted);
    // What a kill would leave here.
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let image = |name: &str| {
        let image = folder.path().join(name);
        std::fs::create_dir(&image).expect("a folder");
        copy(&fixture.data(), &image.join("data"));
        image
    };
    let (kept, control) = (image("kept"), image("control"));
    std::fs::remove_file(control.join("data/lastword.causes")).expect("there is one");
    let user = || (RunState::Cancelled, Some(Cause::User));
    assert_eq!(recovered(&kept).await, [user(), user()]);
    let crash = (RunState::Interrupted, Some(Cause::HostCrash));
    assert_eq!(recovered(&control).await, [crash, (RunState::Held, None)]);

    // This one gets its end here, and nothing is left to tell of it.
    locked.release();
    assert!(waiting.ended().await.expect("it ends").persisted);
    fixture.host.shutdown().await;
    let slots = std::fs::read(fixture.data().join("lastword.causes")).expect("there is one");
    assert!(slots.iter().all(|byte| *byte == 0), "it is empty");
}

/// A host that ends in order while the disk refuses says at its next start what ended its runs.
#[tokio::test(flavor = "multi_thread")]
async fn an_orderly_end_that_the_disk_refuses_is_no_crash() {
    let limits = Limits::default().finish_deadline(Duration::from_millis(20));
    let fixture = Plan::new().limits(limits).build().await;
    let run = fixture.start_until("spin before", "before").await;
    let locked = Locked::hold(&fixture.data());
    assert_eq!(fixture.host.shutdown().await, [run.id()]);
    locked.release();
    let shutdown = (RunState::Interrupted, Some(Cause::Shutdown));
    let folder = fixture.folder.path();
    assert_eq!(recovered(folder).await, [shutdown]);
}
