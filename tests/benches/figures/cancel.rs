//! How fast a guest is gone, and what hogs cost their neighbours.

use super::stats::{line, micros};
use futures_util::FutureExt;
use lastword::Session;
use lastword::model::{Reply, Scripted, Step};
use lastword_tests::fixture::{Fixture, Plan, wait_until_said};
use std::time::{Duration, Instant};

/// Sessions beside the fixture's own.
pub(crate) async fn sessions(fixture: &Fixture, count: usize) -> Vec<Session> {
    let mut sessions = Vec::new();
    for _ in 0..count {
        let session = fixture
            .workspace
            .new_session(&fixture.agent)
            .await
            .expect("a session");
        sessions.push(session);
    }
    sessions
}

pub(crate) async fn figures() {
    let model = Scripted::new([Reply::new([Step::Hang])]);
    let plan = Plan::new().host(|host| host.concurrent_runs(64).model(model));
    let fixture = plan.build().await;
    for busy in [1, 2, 8] {
        let name = format!("a busy loop, {busy} busy");
        many(&fixture, "spin before", busy, 600, &name).await;
    }
    many(&fixture, "spin-ready", 1, 600, "a loop of host calls").await;
    let name = "parked in a WASI sleep";
    many(&fixture, "sleep 3600000", 1, 600, name).await;
    many(
        &fixture,
        "loop model/completion.next",
        1,
        600,
        "parked in a model",
    )
    .await;
    fixture.host.shutdown().await;
}

/// Cancels one of several guests after another, each replaced before the next.
async fn many(fixture: &Fixture, prompt: &str, busy: usize, times: usize, name: &str) {
    let sessions = sessions(fixture, busy).await;
    let mut runs = Vec::new();
    for session in &sessions {
        let run = session.prompt(prompt).await.expect("accepted");
        wait_until_said(&run, "before").await;
        runs.push(run);
    }
    let (mut stops, mut whole) = (Vec::new(), Vec::new());
    for at in 0..times {
        let at = at % busy;
        let began = Instant::now();
        let receipt = runs[at].cancel().await.expect("cancelled");
        whole.push(began.elapsed());
        stops.push(micros(receipt.stop_us));
        runs[at] = sessions[at].prompt(prompt).await.expect("accepted");
        wait_until_said(&runs[at], "before").await;
    }
    for run in runs {
        run.cancel().await.expect("cancelled");
    }
    line(name, stops);
    line("    … to the durable receipt", whole);
}

pub(crate) async fn beside_hogs() {
    let plan = Plan::new().host(|host| host.concurrent_runs(64));
    let fixture = plan.build().await;
    let alone = line("accept → ended, alone", many_runs(&fixture, 400).await);
    let mut hogs = Vec::new();
    for session in sessions(&fixture, 8).await {
        let hog = session.prompt("spin before").await.expect("accepted");
        wait_until_said(&hog, "before").await;
        hogs.push(hog);
    }
    let beside = line(
        "accept → ended, beside 8 hogs",
        many_runs(&fixture, 400).await,
    );
    println!("  ratio of medians {:.1}", beside / alone);
    futures_util::future::join_all(hogs.iter().map(|hog| hog.cancel().map(drop))).await;
    fixture.host.shutdown().await;
}

async fn many_runs(fixture: &Fixture, times: usize) -> Vec<Duration> {
    let mut took = Vec::new();
    for _ in 0..times {
        let began = Instant::now();
        let run = fixture.session.prompt("nothing").await.expect("accepted");
        run.ended().await.expect("ended");
        took.push(began.elapsed());
    }
    took
}
