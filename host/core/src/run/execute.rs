//! Executes one run, from the call of its guest until its end is handed to the store's writer.
//! Each step is a function that passes its values to the next: call, conclude, seal, close. A
//! panic in one of them ends the run with a cause, like any other failure.

use super::dispatcher::{Dispatcher, RunJob};
use super::live::Phase;
use super::prepare::{Prepared, prepare};
use super::waiting::{self, Waiter};
use super::{Cause, OutputBounds, Receipt, RunOutcome, RunUsage, Transcript, Wait};
use crate::guest::control::Control;
use crate::guest::log::Journal;
use crate::guest::{Capabilities, check_json, files, part_from_guest, part_to_guest};
use futures_util::FutureExt;
use lastword_sandbox::bindings::exports::lastword::agent::{epilogue, turn};
use lastword_sandbox::{
    CallClose, CallResult, CallRun, Fault, Files, GuestLines, GuestState, Interrupt, Limiter, call,
};
use lastword_store::{Latch, RunOutputBuffer, Sealed, StoreError};
use lastword_types::session::{FinishReason, PartBody};
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::field::Empty;
use tracing::{Instrument, Span};

/// The detail of a run that a panic ended. The panic hook reports the panic itself.
const PANICKED: &str = "the host failed while it carried the run out; its log says why";

/// Runs an agent that has been started in the store, and hands its end to the writer.
///
/// If the future is dropped at an await, the guest is gone, and its output is in the log or is
/// recovered at the next start. The embedder's extensions run in here too: if one panics, the run
/// fails and keeps its output.
pub(super) async fn execute(dispatcher: Arc<Dispatcher>, mut job: RunJob) {
    let waited = dispatcher.clock.elapsed().saturating_sub(job.entered);
    dispatcher.counters.began(waited);
    job.renew();
    let limits = &job.limits;
    let bounds = OutputBounds {
        bytes: limits.output_bytes,
        data: limits.written_bytes,
        entries: limits.log_entries,
    };

    let transcript = Transcript::new(job.live.id, 0).bounded(bounds);
    let output = dispatcher.store.output(job.live.id, transcript);
    let asked_in = std::mem::replace(&mut job.asked_in, Span::none());
    let span = catch_unwind(AssertUnwindSafe(|| span_of(&job, asked_in)));
    let span = span.unwrap_or_else(|_| Span::none());

    let mut left = None;
    let seen = drive_guest(&dispatcher, &job, &output, &mut left).instrument(span.clone());
    if AssertUnwindSafe(seen).catch_unwind().await.is_err() {
        let cause = Cause::Trap("host".to_owned());
        job.live.latch(cause, Some(PANICKED.to_owned()));
    }

    let unseen = || GuestExit::of(&dispatcher, &job, &output, RunUsage::default(), None);
    if let Some(left) = left.or_else(unseen) {
        hand_over(&dispatcher, &job, left, span);
    }
}

/// Returns the run's span. It follows from the span in which the run was asked for, and is not a
/// part of it: the run may start when that work is long done.
#[expect(
    clippy::needless_pass_by_value,
    reason = "it may close, and only once it was followed"
)]
fn span_of(job: &RunJob, asked_in: Span) -> Span {
    let span = tracing::info_span!(
        parent: None,
        "run",
        run = %job.live.id,
        session = %job.live.session,
        workspace = %job.workspace.id,
        agent = %job.agent.id,
        state = Empty,
        cause = Empty,
        stop_us = Empty,
        persist_us = Empty,
    );
    span.follows_from(&asked_in);
    span
}

/// Records on the run's span how the run ended.
fn note(span: &Span, outcome: &Result<Receipt, StoreError>) {
    if let Ok(receipt) = outcome {
        span.record("state", receipt.state.as_str());
        span.record("cause", &*receipt.cause.name());
        span.record("stop_us", receipt.stop_us);
        span.record("persist_us", receipt.persist_us);
    }
}

/// A run's sealed output and its outcome, once its guest is gone.
struct GuestExit {
    sealed: Sealed,
    ending: RunOutcome,
    /// When the guest was gone, on the clock's scale.
    at: Duration,
}

impl GuestExit {
    fn of(
        dispatcher: &Dispatcher,
        job: &RunJob,
        output: &RunOutputBuffer,
        usage: RunUsage,
        wait: Option<Wait>,
    ) -> Option<Self> {
        let live = &job.live;
        let gone = Instant::now();
        let stop = live
            .latched()
            .map_or(Duration::ZERO, |latched| gone - latched.at);
        let mut ending = live.ending(stop, usage);
        ending.wait = wait.filter(|_| ending.cause == Cause::Returned(FinishReason::Waiting));
        let at = dispatcher.clock.elapsed();
        live.set_phase(Phase::Finishing {
            at,
            ending: Arc::new(ending.clone()),
        });
        let sealed = output.seal()?;
        Some(Self { sealed, ending, at })
    }
}

async fn drive_guest(
    dispatcher: &Dispatcher,
    job: &RunJob,
    output: &Arc<RunOutputBuffer>,
    left: &mut Option<GuestExit>,
) {
    let live = &job.live;
    let journal = Journal::new(Some(live.id));
    let (state, prepared) = prepare(dispatcher, job, output, &journal);
    live.control.begin(live.times().run_deadline);
    let called = call(
        &dispatcher.engine,
        &job.agent.loaded,
        state,
        &live.interrupt,
        &job.workspace.share,
        at_limits(dispatcher, job),
        CallRun(prompt(job)),
    )
    .await;
    let (usage, wait) = conclude(job, output, &journal, &prepared, called);
    *left = GuestExit::of(dispatcher, job, output, usage, wait);
    let Some(GuestExit { sealed, ending, .. }) = left else {
        return;
    };

    if job.agent.loaded.has_epilogue() && ending.cause.allows_epilogue() {
        latch(dispatcher, job, &ending.cause);
        ending.epilogue = Some(close(dispatcher, job, ending, sealed).await);
    }
}

/// Stores a latched cause before an epilogue, which delays the end.
fn latch(dispatcher: &Dispatcher, job: &RunJob, cause: &Cause) {
    let latch = Latch {
        run: job.live.id,
        cause: cause.clone(),
    };

    drop(dispatcher.store.submit(latch, |outcome| {
        if let Err(error) = outcome {
            tracing::warn!(%error, "a latched cause could not be noted");
        }
    }));
}

/// Frees the run's slot, and hands its end to the writer.
fn hand_over(dispatcher: &Arc<Dispatcher>, job: &RunJob, left: GuestExit, span: Span) {
    let GuestExit { sealed, ending, at } = left;
    dispatcher.guest_gone(&job.live);
    let ended = {
        let (dispatcher, live) = (Arc::clone(dispatcher), Arc::clone(&job.live));
        let waits = ending.wait.is_some();
        Box::new(move |outcome| {
            note(&span, &outcome);
            if waits {
                dispatcher.waits.notify_one();
            }
            dispatcher.ended(&live, outcome);
        })
    };

    let store = &dispatcher.store;
    store.finish(sealed, ending, at, ended);
}

/// Stops the run when it reaches its deadline or exceeds one of its budgets.
async fn at_limits(dispatcher: &Dispatcher, job: &RunJob) -> Infallible {
    let live = &job.live;
    let before = waiting::told_before(job.prompt.carried.as_ref());
    let deadline = async {
        match live.times().run_deadline {
            Some(deadline) => dispatcher.clock.sleep(deadline).await,
            None => std::future::pending().await,
        }
    };

    let (cause, detail) = tokio::select! {
        () = deadline => match before {
            None => (Cause::Deadline, None),
            Some(before) => {
                let detail = format!("the run has run as long as it may{before}");
                (Cause::Limit("run-time".to_owned()), Some(detail))
            }
        },
        (kind, detail) = live.control.exceeded() => {
            let detail = format!("{detail}{}", before.unwrap_or_default());
            (Cause::Limit(kind.to_owned()), Some(detail))
        }
    };

    live.stop_because(cause, detail, &dispatcher.guests);
    std::future::pending().await
}

fn prompt(job: &RunJob) -> turn::Prompt {
    turn::Prompt {
        run_id: job.live.id.to_string(),
        session_id: job.live.session.to_string(),
        origin: job.prompt.origin.to_string(),
        parts: job.prompt.parts.iter().filter_map(part_to_guest).collect(),
        config_json: job.prompt.config.clone(),
        extra: Vec::new(),
    }
}

type Answer = Result<turn::Outcome, turn::Failure>;

/// Latches the cause that follows from the call's result, unless one is latched already.
fn conclude(
    job: &RunJob,
    output: &Arc<RunOutputBuffer>,
    journal: &Journal,
    prepared: &Prepared,
    called: CallResult<Capabilities, Answer>,
) -> (RunUsage, Option<Wait>) {
    let live = &job.live;
    let unseen = || prepared.unseen(job);
    let mut wait = None;
    let mut usage = RunUsage {
        guest_cpu_us: u64::try_from(called.busy.as_micros()).unwrap_or(u64::MAX),
        host_calls: live.control.calls(),
        ..RunUsage::default()
    };

    if let Some(mut state) = called.state {
        usage.peak_memory_bytes = state.limiter().peak();
    }

    let (cause, detail) = match called.outcome {
        Ok(Ok(outcome)) => {
            let taken = outcome
                .output_json
                .map_or(Ok(()), |json| take_output(job, output, json));
            let end = returned(outcome.finish.as_deref());
            match taken.and_then(|()| waits_for(job, &outcome.extra)) {
                Err(why) => (Cause::AgentError, Some(why)),
                Ok(Some(read)) if end.0 == Cause::Returned(FinishReason::Waiting) => {
                    let carried = job.prompt.carried.unwrap_or_default();
                    match waiting::carry(
                        read,
                        carried.plus(prepared.meter.used()),
                        job.limits.wakes,
                    ) {
                        Ok(carried) => {
                            wait = Some(carried);
                            end
                        }
                        Err(why) => (Cause::Limit("wakes".to_owned()), Some(why)),
                    }
                }
                Ok(_) => end,
            }
        }
        Ok(Err(failure)) => {
            let detail = Some(format!("{} ({})", failure.message, failure.code));
            (Cause::AgentError, files::explained(detail, unseen))
        }
        Err(fault) => {
            let (cause, detail) = failed(fault, journal.last_words());
            (cause, files::explained(detail, unseen))
        }
    };

    live.latch(cause, detail);
    (usage, wait)
}

/// Adds the agent's structured output to the transcript.
///
/// # Errors
/// If it is not JSON: the reason, for the agent's author.
fn take_output(job: &RunJob, output: &Arc<RunOutputBuffer>, json: String) -> Result<(), String> {
    check_json(&json).map_err(|why| {
        format!(
            "the agent returned an output that is not JSON: {why}; an `output-json` is one whole \
             JSON value"
        )
    })?;

    let part = PartBody::Other {
        kind: "output".to_owned(),
        json,
    };
    if let Err(error) = output.part(part.into(), None) {
        tracing::warn!(run = %job.live.id, %error, "the agent's output was not taken");
    }

    Ok(())
}

fn waits_for(job: &RunJob, extra: &[(String, String)]) -> Result<Option<Wait>, String> {
    let live = &job.live;
    let waiter = Waiter {
        session: live.session,
        run: live.id,
        agent: job.agent.id.clone(),
        now: live.control.clock().now(),
    };

    let wait = waiting::read(extra, &waiter)?;
    match (&wait, &job.lineage) {
        // A run that continues the wait would not be a child of the parent run, and so would
        // not be bound by its permissions.
        (Some(_), Some(_)) => Err(
            "a run that another run began cannot wait; end it with what \
             there is to say, and let the one that began it wait"
                .to_owned(),
        ),
        _ => Ok(wait),
    }
}

fn returned(finish: Option<&str>) -> (Cause, Option<String>) {
    match FinishReason::from_agent(finish) {
        Some(reason) => (Cause::Returned(reason), None),
        None => {
            let claimed = finish.unwrap_or_default();
            let detail =
                format!("the agent claimed the end `{claimed}`, which only the host may write");
            (Cause::AgentError, Some(detail))
        }
    }
}

fn failed(fault: Fault, last_words: Option<String>) -> (Cause, Option<String>) {
    match fault {
        // A guest is interrupted only after a cause was latched, so this one is never used.
        Fault::Interrupted => (Cause::Shutdown, None),
        Fault::Trap { kind, place } => {
            let at = (!place.is_empty()).then(|| format!("in `{place}`"));
            (Cause::Trap(kind.to_owned()), last_words.or(at))
        }
        Fault::Exit(code) => {
            let detail = format!("the agent exited with code {code} instead of returning");
            (Cause::Trap("exit".to_owned()), Some(detail))
        }
        Fault::StackOverflow { .. } => {
            let words = last_words.map(|words| format!("; it wrote last: {words}"));
            let detail = format!("{fault}{}", words.unwrap_or_default());
            (Cause::StackOverflow, Some(detail))
        }
        Fault::OutOfMemory => (Cause::OutOfMemory, last_words),
        Fault::Limit(what) => (Cause::Limit("resources".to_owned()), Some(what)),
        Fault::Host(what) => (Cause::Trap("host".to_owned()), Some(what)),
    }
}

/// Calls the agent's epilogue, which may add closing parts: in a separate store, with nothing
/// granted and within a time budget. It cannot change the output so far.
async fn close(
    dispatcher: &Dispatcher,
    job: &RunJob,
    ending: &RunOutcome,
    sealed: &mut Sealed,
) -> Duration {
    let began = Instant::now();
    let journal = Journal::new(Some(job.live.id));
    let control = Control::new(Arc::clone(&dispatcher.clock));
    let lines: Arc<dyn GuestLines> = Arc::clone(&journal) as _;
    let capabilities = Capabilities::none(&control, &journal);
    let state = GuestState::new(
        capabilities,
        Limiter::new(&job.limits),
        Files::none(),
        &lines,
    );
    let interrupt = Interrupt::new();
    let budget = async {
        dispatcher.clock.sleep(job.limits.epilogue).await;
        dispatcher.engine.stop(&interrupt);
        std::future::pending().await
    };

    let export = CallClose {
        interruption: epilogue::Interruption {
            cause: ending.cause.to_string(),
            detail: ending.detail.clone().unwrap_or_default(),
        },
        said: sealed
            .open_parts()
            .iter()
            .filter_map(part_to_guest)
            .collect(),
    };

    let called = call(
        &dispatcher.engine,
        &job.agent.loaded,
        state,
        &interrupt,
        &job.workspace.share,
        budget,
        export,
    )
    .await;
    match called.outcome {
        Ok(parts) => {
            let now = dispatcher.clock.now();
            for part in parts.into_iter().filter_map(part_from_guest) {
                if let Err(error) = sealed.add(part, now) {
                    tracing::warn!(run = %job.live.id, %error, "closing words were not taken");
                }
            }
        }
        Err(fault) => tracing::warn!(run = %job.live.id, %fault, "the epilogue failed"),
    }

    began.elapsed()
}
