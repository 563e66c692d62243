//! Runs and appends at full durability, beside raw SQLite.

use super::cancel::sessions;
use super::raw::Raw;
use super::stats::{line, micros, percentile};
use lastword::Session;
use lastword_tests::fixture::{Fixture, Plan};
use std::time::{Duration, Instant};

const ALONE: usize = 1500;
const TOGETHER: usize = 64;
const ROUNDS: usize = 300;

async fn one(session: &Session) -> Duration {
    let began = Instant::now();
    let run = session.prompt("nothing").await.expect("accepted");
    run.ended().await.expect("ended");
    began.elapsed()
}

pub(crate) async fn runs() {
    let fixture = Plan::new()
        .host(|host| host.concurrent_runs(128))
        .build()
        .await;
    let folder = tempfile::tempdir().expect("a folder");
    let mut raw = Raw::open(folder.path(), TOGETHER);

    // Turn by turn, so that both sides see the same disk.
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ALONE {
        let began = Instant::now();
        let runs = raw.accept(0..1);
        raw.finish(&runs, 0);
        theirs.push(began.elapsed());
        ours.push(one(&fixture.session).await);
    }
    let theirs = line("raw SQLite, accept + finish, one at a time", theirs);
    let ours = line("accept → ended, one at a time", ours);
    println!("  ratio {:.2} (to reach: 1.5)", ours / theirs);

    let sessions = sessions(&fixture, TOGETHER).await;
    let began = Instant::now();
    for _ in 0..ROUNDS {
        let runs = raw.accept(0..TOGETHER);
        raw.finish(&runs, 0);
    }
    let raw_rate = (ROUNDS * TOGETHER) as f64 / began.elapsed().as_secs_f64();
    let began = Instant::now();
    let tasks = sessions.into_iter().map(|session| {
        tokio::spawn(async move {
            let mut took = Vec::with_capacity(ROUNDS);
            for _ in 0..ROUNDS {
                took.push(one(&session).await);
            }
            took
        })
    });
    let mut took = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        took.extend(task.await.expect("the session runs"));
    }
    let rate = (ROUNDS * TOGETHER) as f64 / began.elapsed().as_secs_f64();
    line("accept → ended, 64 at a time", took);
    println!("  {rate:.0} runs/s at 64 (to reach: 10000); raw SQLite {raw_rate:.0}/s");
    fixture.host.shutdown().await;
}

pub(crate) async fn appends() {
    let fixture = Plan::new()
        .host(|host| host.concurrent_runs(16))
        .build()
        .await;
    one_append(&fixture).await;
    let count = 1_000_000;
    let folder = tempfile::tempdir().expect("a folder");
    let mut raw = Raw::open(folder.path(), 1);
    let began = Instant::now();
    raw.deltas(count / 10, 256);
    let raw_rate = (count / 10) as f64 / began.elapsed().as_secs_f64();
    let began = Instant::now();
    let outcome = fixture
        .session
        .prompt(format!("appends {count}"))
        .await
        .expect("accepted");
    outcome.ended().await.expect("ended");
    let rate = count as f64 / began.elapsed().as_secs_f64();
    println!(
        "  {rate:.0} deltas/s persisted by one run (to reach: 100000); \
         raw SQLite, a row each, 256 a transaction: {raw_rate:.0}/s"
    );
    fixture.host.shutdown().await;
}

/// The difference between runs with and without appends, below the backlog's bound.
async fn one_append(fixture: &Fixture) {
    let (mut with, mut without) = (Vec::new(), Vec::new());
    let appends = 200;
    for _ in 0..400 {
        for (prompt, took) in [
            (format!("appends {appends}"), &mut with),
            ("appends 0".to_owned(), &mut without),
        ] {
            let run = fixture.session.prompt(prompt).await.expect("accepted");
            let receipt = run.ended().await.expect("ended");
            took.push(micros(receipt.usage.guest_cpu_us));
        }
    }
    let each = (percentile(&mut with, 50.0) - percentile(&mut without, 50.0)) / f64::from(appends);
    println!("  append: {each:.3} µs each, guest and host together (to reach: 1)");
}
