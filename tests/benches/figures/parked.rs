//! What a run costs in memory while it waits for a model.

use lastword::capability::model::{Reply, Scripted, Step};
use lastword_tests::fixture::Plan;
use std::time::Instant;

fn resident_kib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/statm").expect("a Linux machine");
    let pages: f64 = status
        .split(' ')
        .nth(1)
        .and_then(|n| n.parse().ok())
        .expect("pages");
    pages * 4.0
}

pub(crate) async fn figures() {
    for count in [1000, 10_000] {
        let model = Scripted::new([Reply::new([Step::Hang])]);
        let plan = Plan::new().host(|host| host.concurrent_runs(count).model(model.clone()));
        let fixture = plan.build().await;
        let mut sessions = Vec::new();
        for _ in 0..count {
            let session = fixture.workspace.new_session(&fixture.agent);
            sessions.push(session.await.expect("a session"));
        }
        let before = resident_kib();
        let began = Instant::now();
        let mut runs = Vec::new();
        for session in &sessions {
            runs.push(
                session
                    .prompt("loop model/completion.next")
                    .await
                    .expect("accepted"),
            );
        }
        while model.requests().len() < count as usize {
            tokio::task::yield_now().await;
        }
        let each = (resident_kib() - before) / f64::from(count);
        println!(
            "  {count} parked runs: {each:.1} KiB each (to reach: 64), begun in {:.1?}",
            began.elapsed()
        );
        let began = Instant::now();
        let left = fixture.host.shutdown().await;
        println!(
            "    shut down in {:.1?}, {} without their end",
            began.elapsed(),
            left.len()
        );
    }
}
