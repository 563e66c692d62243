//! From bytes to a guest: compile, load from the cache, instantiate, call.

use super::stats::line;
use lastword::host::measure;
use lastword_tests::fixture::Plan;
use lastword_tests::guests::guest;
use std::time::Instant;

pub(crate) async fn figures() {
    let fixture = Plan::new().build().await;
    let cache = tempfile::tempdir().expect("a folder");
    let cold = Plan::new().host(|host| host.cache_dir(cache.path()));
    let cold = cold.build().await;
    let (mut compiled, mut cached) = (Vec::new(), Vec::new());
    for _ in 0..15 {
        for file in std::fs::read_dir(cache.path())
            .expect("the cache")
            .flatten()
        {
            std::fs::remove_file(file.path()).expect("a cached file");
        }
        let began = Instant::now();
        cold.host
            .load_agent("probe", guest("probe"))
            .await
            .expect("it compiles");
        compiled.push(began.elapsed());
        let began = Instant::now();
        cold.host
            .load_agent("probe", guest("probe"))
            .await
            .expect("it loads");
        cached.push(began.elapsed());
    }
    line("load the probe (415 KB): compile and describe", compiled);
    line("load the probe: from the cache, and describe", cached);
    drop(cold);
    let hog = fixture
        .host
        .load_agent("hog", guest("hog"))
        .await
        .expect("it loads");
    measure::instantiate(&fixture.host, &hog, 500).await;
    let took = measure::instantiate(&fixture.host, &hog, 20_000).await;
    line("instantiate the hog (210 KB) with WASI, drop", took);
    let agent = &fixture.agent;
    measure::instantiate(&fixture.host, agent, 500).await;
    line(
        "instantiate with WASI, drop",
        measure::instantiate(&fixture.host, agent, 20_000).await,
    );
    line(
        "instantiate, run `nothing`, drop",
        measure::run(&fixture.host, agent, "nothing", 20_000).await,
    );
}
