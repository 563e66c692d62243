//! Closing one workspace: its runs end, its prompts are held, and no other notices.

use super::{Bench, name};
use lastword::id::ClientId;
use lastword::{Lifecycle, Prompt, RunState, WorkspaceKey, WorkspaceOptions};
use lastword_tests::check::violations;
use lastword_tests::fixture::wait_until_said;
use lastword_tests::heard::Heard;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn closing_one_workspace_leaves_the_runs_of_another_untouched() {
    let mut bench = Bench::new().await;
    let client = ClientId::generate();
    let (one, two) = (
        bench.claim(client, "one").await.unwrap(),
        bench.claim(client, "two").await.unwrap(),
    );
    let here = bench.session(&one).await.prompt("spin before").await;
    let there = bench.session(&two).await.prompt("spin before").await;
    let (here, there) = (here.unwrap(), there.unwrap());
    wait_until_said(&here, "before").await;
    wait_until_said(&there, "before").await;
    bench.close(&one).await;
    let order = bench.until_closed(&one).await;
    let of_one: Vec<_> = order
        .into_iter()
        .filter(|notice| notice.workspace() == Some(one.id()))
        .collect();
    let (workspace, run) = (one.id(), here.id());
    let expected = [
        Lifecycle::Opened { workspace },
        Lifecycle::Closing {
            workspace,
            reason: lastword::CloseReason::Asked,
        },
        Lifecycle::Stopping { workspace, run },
        Lifecycle::Ended { workspace, run },
        Lifecycle::Flushed { workspace },
        Lifecycle::Released { workspace },
        Lifecycle::Closed { workspace },
    ];
    assert_eq!(of_one, expected);
    assert_eq!(here.ended().await.unwrap().cause, "shutdown");
    assert!(there.try_ended().is_none());
    assert_eq!(there.cancel().await.unwrap().cause, "user");
    assert_eq!(violations(&bench.data()), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_workspace_takes_no_prompt_and_can_still_be_read() {
    let bench = Bench::new().await;
    let key = WorkspaceKey::name("w");
    let options = WorkspaceOptions::new();
    let workspace = bench.host.open_workspace(key.clone(), options.clone());
    let workspace = workspace.await.unwrap();
    let session = bench.session(&workspace).await;
    let asked = Prompt::text("echo once").key("k");
    let run = session.prompt(asked.clone()).await.unwrap();
    run.ended().await.unwrap();
    assert!(workspace.close().await.is_empty());
    assert!(workspace.close().await.is_empty(), "again does nothing");
    assert_eq!(name(session.prompt("echo x").await), "unknown-workspace");
    let known = session.prompt(asked).await.unwrap();
    assert_eq!(known.id(), run.id(), "a key is known wherever it was used");
    let conflict = session.prompt(Prompt::text("echo other").key("k")).await;
    assert_eq!(name(conflict), "key-conflict");
    assert_eq!(session.messages().await.unwrap().len(), 2);
    let again = bench.host.open_workspace(key, options).await.unwrap();
    assert_eq!(again.id(), workspace.id());
    let run = session.prompt("echo x").await.unwrap();
    assert_eq!(run.ended().await.unwrap().state, RunState::Completed);
}

#[tokio::test(flavor = "multi_thread")]
async fn held_prompts_can_be_listed_edited_cancelled_and_resumed_one_by_one() {
    let bench = Bench::new().await;
    let client = ClientId::generate();
    let workspace = bench.claim(client, "w").await.unwrap();
    let session = bench.session(&workspace).await;
    let busy = session.prompt("spin before").await.unwrap();
    wait_until_said(&busy, "before").await;
    let mut held = Vec::new();
    for text in ["echo a", "echo b", "echo c"] {
        held.push(session.prompt(text).await.unwrap());
    }
    bench.close(&workspace).await;
    let queue = session.queue().await.unwrap();
    assert!(queue.iter().all(|queued| queued.state == RunState::Held));
    assert_eq!(queue.len(), 3);
    assert_eq!(
        name(session.resume(held[0].id()).await),
        "unknown-workspace"
    );
    let receipt = held[0].cancel().await.unwrap();
    assert_eq!((&*receipt.cause.name(), receipt.persisted), ("user", true));
    let receipt = session.withdraw(held[1].id()).await.unwrap();
    assert_eq!(receipt.state, RunState::Cancelled);
    bench.claim(client, "w").await.unwrap();
    let resumed = session.resume(held[2].id()).await.unwrap();
    assert_eq!(resumed.ended().await.unwrap().state, RunState::Completed);
    assert!(session.queue().await.unwrap().is_empty());
    assert_eq!(violations(&bench.data()), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_host_is_told_apart_from_a_busy_one() {
    let mut bench = Bench::new().await;
    let linger = Duration::from_secs(60);
    let host = bench.host.clone();
    let before = bench.clock.begun_for(linger);
    let idle = tokio::spawn(async move { host.idle(linger).await });
    bench.clock.asleep_for(linger, before + 1).await;
    let client = ClientId::generate();
    let workspace = bench.claim(client, "w").await.unwrap();
    let _stream = workspace.attach(client).unwrap();
    bench.clock.advance(linger);
    assert!(!idle.is_finished());
    workspace.release(client).unwrap();
    bench.until_closed(&workspace).await;
    // Other parts of the host sleep as well, so that the sleep of this one cannot be counted: it
    // is over at the first step of the clock after it began.
    while !idle.is_finished() {
        bench.clock.advance(linger);
        tokio::task::yield_now().await;
    }
    idle.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_starts_again_goes_on_with_the_grants_that_there_were() {
    let bench = Bench::new().await;
    let folder = tempfile::tempdir().unwrap();
    let key = WorkspaceKey::directory(folder.path()).unwrap();
    let options = WorkspaceOptions::new().grant(lastword::Capability::WriteFiles);
    let client = ClientId::generate();
    let claimed = bench
        .host
        .claim_workspace(client, key.clone(), Some(options));
    let workspace = claimed.await.unwrap();
    let session = bench.session(&workspace).await;
    let busy = session.prompt("spin before").await.unwrap();
    wait_until_said(&busy, "before").await;
    let queued = session.prompt("write /workspace/a text").await.unwrap();
    assert_eq!(bench.host.shutdown().await, []);
    let Bench {
        host,
        agent,
        folder: data,
        ..
    } = bench;
    drop((workspace, session, busy, host, agent));

    let next = lastword_tests::fixture::builder(data.path())
        .build()
        .await
        .unwrap();
    let heard = Heard::listen(vec!["prompts stay held".to_owned()]);
    assert!(next.reopen_held().await.unwrap().is_empty(), "no agent yet");
    let told = heard.found();
    assert!(
        told.iter().any(|line| line.contains("agent=probe")),
        "{told:?}"
    );
    assert!(next.open_workspaces().is_empty(), "and nothing stays open");
    let probe = lastword_tests::guests::guest("probe");
    next.load_agent("probe", probe).await.unwrap();
    let resumed = next.reopen_held().await.unwrap();
    assert_eq!(resumed[0].id(), queued.id());
    let receipt = resumed[0].ended().await.unwrap();
    assert_eq!(receipt.state, RunState::Completed);
    let written = std::fs::read_to_string(folder.path().join("a")).unwrap();
    assert_eq!(written, "text");
    assert_eq!(violations(&data.path().join("data")), [""; 0]);
}

lastword_tests::also_in_memory![
    a_closed_workspace_takes_no_prompt_and_can_still_be_read,
    an_idle_host_is_told_apart_from_a_busy_one,
];
