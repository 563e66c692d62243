//! What a run costs in memory while it waits for a model.

use futures_util::future::{BoxFuture, ready};
use futures_util::{FutureExt, StreamExt, stream};
use lastword::model::{
    CallContext, ModelError, ModelInfo, ModelProvider, ModelRequest, ModelStream,
};
use lastword_tests::fixture::Plan;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// A provider that never answers, and keeps nothing but a count.
#[derive(Clone)]
struct Silent(Arc<watch::Sender<u32>>);

impl ModelProvider for Silent {
    fn complete(
        &self,
        _: CallContext,
        _: ModelRequest,
    ) -> BoxFuture<'static, Result<ModelStream, ModelError>> {
        self.0.send_modify(|asked| *asked += 1);
        ready(Ok(stream::pending().boxed())).boxed()
    }

    fn models(&self) -> Vec<ModelInfo> {
        vec![ModelInfo {
            name: "silent".to_owned(),
            provider: "bench".to_owned(),
            context_tokens: None,
        }]
    }
}

pub(crate) fn resident_kib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/statm").expect("a Linux machine");
    let pages = status.split(' ').nth(1).and_then(|n| n.parse::<f64>().ok());
    pages.expect("pages") * 4.0
}

fn mappings() -> f64 {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("a Linux machine");
    maps.lines().count() as f64
}

pub(crate) async fn figures() {
    for wanted in [1000, 10_000] {
        let model = Silent(Arc::new(watch::Sender::new(0)));
        let plan = Plan::new().host(|host| host.concurrent_runs(wanted).model(model.clone()));
        let fixture = plan.build().await;
        let count = fixture.host.concurrent_runs();
        if count < wanted {
            println!("  vm.max_map_count allows {count} of {wanted}");
        }
        let sessions = (0..count).map(|_| fixture.workspace.new_session(&fixture.agent));
        let sessions = futures_util::future::join_all(sessions).await;
        let (before, mapped) = (resident_kib(), mappings());
        let began = Instant::now();
        let prompts = sessions.iter().map(|session| {
            let session = session.as_ref().expect("a session");
            session.prompt("loop model/completion.next")
        });
        let runs = futures_util::future::join_all(prompts).await;
        let mut asked = model.0.subscribe();
        let all = asked.wait_for(|asked| *asked >= count);
        if tokio::time::timeout(Duration::from_secs(30), all)
            .await
            .is_err()
        {
            let ended = runs.iter().flatten().filter_map(lastword::Run::try_ended);
            let why = ended
                .map(|receipt| receipt.detail.unwrap_or_else(|| receipt.cause.to_string()))
                .next();
            println!(
                "  of {count} only {} park; one ended: {why:?}",
                *model.0.borrow()
            );
        }
        let each = (resident_kib() - before) / f64::from(count);
        let took = began.elapsed();
        println!("  {count} parked runs: {each:.1} KiB each (to reach: 64), begun in {took:.1?}");
        let mapped = (mappings() - mapped) / f64::from(count);
        println!("    {mapped:.1} memory mappings each");
        drop(runs);
        let began = Instant::now();
        let left = fixture.host.shutdown().await.len();
        let took = began.elapsed();
        println!("    shut down in {took:.1?}, {left} without their end");
    }
}
