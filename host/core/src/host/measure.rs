//! Measurements for the project's own benchmarks: single steps of a run, without a store.

use super::{Agent, Host};
use crate::guest::Capabilities;
use crate::guest::control::Control;
use crate::guest::log::Journal;
use lastword_sandbox::bindings::exports::lastword::agent::turn;
use lastword_sandbox::{
    Call, CallNothing, CallResult, CallRun, Files, GuestLines, GuestState, Interrupt, Limiter,
    Share, call,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn state(host: &Host) -> GuestState<Capabilities> {
    let journal = Journal::new(None);
    let control = Control::new(Arc::clone(&host.inner.dispatcher.clock));
    let lines: Arc<dyn GuestLines> = Arc::clone(&journal) as _;
    let capabilities = Capabilities::none(&control, &journal);
    let limiter = Limiter::new(&host.inner.limits);
    GuestState::new(capabilities, limiter, Files::none(), &lines)
}

/// Calls an export of a new instance, without limits of time.
async fn once<C: Call<Capabilities>>(
    host: &Host,
    agent: &Agent,
    share: &Share,
    export: C,
) -> CallResult<Capabilities, C::Output> {
    let (interrupt, never) = (Interrupt::new(), std::future::pending());
    let engine = &host.inner.engine;
    let loaded = &agent.inner.loaded;
    call(
        engine,
        loaded,
        state(host),
        &interrupt,
        share,
        never,
        export,
    )
    .await
}

/// Returns how long it takes to create and drop an instance of a guest, for `times` instances one
/// after another on the guests' own threads.
///
/// # Panics
/// If a guest cannot be instantiated.
pub async fn instantiate(host: &Host, agent: &Agent, times: usize) -> Vec<Duration> {
    let (host, agent) = (host.clone(), agent.clone());
    let guests = host.inner.dispatcher.guests.clone();
    let task = guests.spawn(async move {
        let mut took = Vec::with_capacity(times);
        let share = Share::default();
        for _ in 0..times {
            let began = Instant::now();
            let called = once(&host, &agent, &share, CallNothing).await;
            drop(called.state);
            took.push(began.elapsed());
            assert!(called.outcome.is_ok(), "{:?}", called.outcome);
        }
        took
    });
    task.await.expect("the guests can be instantiated")
}

/// Returns how long it takes to create an instance of a guest, let it answer a prompt without a
/// transcript, and drop it, `times` times.
///
/// # Panics
/// If the call fails.
pub async fn run(host: &Host, agent: &Agent, prompt: &str, times: usize) -> Vec<Duration> {
    let (host, agent, prompt) = (host.clone(), agent.clone(), prompt.to_owned());
    let guests = host.inner.dispatcher.guests.clone();
    let task = guests.spawn(async move {
        let mut took = Vec::with_capacity(times);
        let share = Share::default();
        for _ in 0..times {
            let began = Instant::now();
            let prompt = turn::Prompt {
                run_id: String::new(),
                session_id: String::new(),
                origin: "user".to_owned(),
                parts: vec![turn::Part {
                    body: lastword_sandbox::bindings::lastword::agent::types::Body::Text(
                        prompt.clone(),
                    ),
                    extra: Vec::new(),
                }],
                config_json: "{}".to_owned(),
                extra: Vec::new(),
            };
            let called = once(&host, &agent, &share, CallRun(prompt)).await;
            drop(called.state);
            took.push(began.elapsed());
            assert!(matches!(called.outcome, Ok(Ok(_))), "{:?}", called.outcome);
        }
        took
    });
    task.await.expect("the guests can be called")
}
