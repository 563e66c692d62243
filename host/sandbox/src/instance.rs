//! One call into a fresh instance: set up, raced against its stop switch, torn down. A store serves
//! one call and is never entered again. Generic over the host's data.

use super::bindings::exports::lastword::agent::{epilogue, turn};
use super::wasi::GuestState;
use super::{Engine, Interrupt, Loaded};
use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use wasmtime::component::{Instance, ResourceTableError};
use wasmtime::{Store, Trap, UpdateDeadline};

/// The largest number of bytes that one host call may copy out of a guest.
const HOSTCALL_BYTES: usize = 8 << 20;
/// The largest number of handles that a guest may hold at once.
pub(super) const HANDLES_MAX: usize = 4096;

/// Why a call did not return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The call was stopped.
    Interrupted,
    /// WebAssembly trapped.
    Trap {
        /// The trap's name.
        kind: &'static str,
        /// The innermost function, if the component has names.
        place: String,
    },
    /// The guest called `exit`.
    Exit(i32),
    /// The stack overflowed.
    StackOverflow,
    /// The guest trapped, or could not start, after its memory limit had refused it memory.
    OutOfMemory,
    /// The guest exceeded a bound on what a host call may carry or hold.
    Limit(String),
    /// The host failed.
    Host(String),
}

/// The result of a call.
pub struct CallResult<T, R> {
    /// The host's data, taken out of the store after the instance was dropped.
    pub state: Option<GuestState<T>>,
    /// What the call returned, or how it failed.
    pub outcome: Result<R, Fault>,
    /// Processor time inside the sandbox, host calls included.
    pub busy: Duration,
}

/// An export that can be called.
pub trait Call<T: 'static>: Send {
    type Output: Send;

    fn call<'a>(
        self,
        loaded: &'a Loaded<T>,
        store: &'a mut Store<GuestState<T>>,
        instance: &'a Instance,
    ) -> impl Future<Output = wasmtime::Result<Self::Output>> + Send + 'a;
}

/// Calls no export: measures what a guest costs before it does anything.
pub struct CallNothing;

impl<T: Send + 'static> Call<T> for CallNothing {
    type Output = ();

    async fn call<'a>(
        self,
        _: &'a Loaded<T>,
        _: &'a mut Store<GuestState<T>>,
        _: &'a Instance,
    ) -> wasmtime::Result<()> {
        Ok(())
    }
}

/// `turn.describe`.
pub struct CallDescribe;

impl<T: Send + 'static> Call<T> for CallDescribe {
    type Output = turn::Manifest;

    async fn call<'a>(
        self,
        loaded: &'a Loaded<T>,
        store: &'a mut Store<GuestState<T>>,
        instance: &'a Instance,
    ) -> wasmtime::Result<Self::Output> {
        loaded
            .turn
            .load(&mut *store, instance)?
            .call_describe(store)
            .await
    }
}

/// `turn.run`.
pub struct CallRun(pub turn::Prompt);

impl<T: Send + 'static> Call<T> for CallRun {
    type Output = Result<turn::Outcome, turn::Failure>;

    async fn call<'a>(
        self,
        loaded: &'a Loaded<T>,
        store: &'a mut Store<GuestState<T>>,
        instance: &'a Instance,
    ) -> wasmtime::Result<Self::Output> {
        let guest = loaded.turn.load(&mut *store, instance)?;
        guest.call_run(store, &self.0).await
    }
}

/// `epilogue.close`, of a component that exports it.
pub struct CallClose {
    /// Why the run was interrupted.
    pub interruption: epilogue::Interruption,
    /// The parts of the open message.
    pub said: Vec<epilogue::Part>,
}

impl<T: Send + 'static> Call<T> for CallClose {
    type Output = Vec<epilogue::Part>;

    async fn call<'a>(
        self,
        loaded: &'a Loaded<T>,
        store: &'a mut Store<GuestState<T>>,
        instance: &'a Instance,
    ) -> wasmtime::Result<Self::Output> {
        let indices = loaded.epilogue.as_ref();
        let indices = indices.ok_or_else(|| wasmtime::Error::msg("there is no epilogue"))?;
        let guest = indices.load(&mut *store, instance)?;
        guest
            .call_close(store, &self.interruption, &self.said)
            .await
    }
}

/// Instantiates a component and calls an export, until the call returns or the switch is thrown.
/// `beside` is polled along with the call and may throw the switch, but never ends the call by
/// itself.
///
/// The instance is gone when this returns. Dropping the future has the same effect, but the host's
/// data is lost.
pub async fn call<T: Send + 'static, C: Call<T>>(
    engine: &Engine,
    loaded: &Loaded<T>,
    state: GuestState<T>,
    interrupt: &Arc<Interrupt>,
    beside: impl Future<Output = Infallible> + Send,
    export: C,
) -> CallResult<T, C::Output> {
    let guest = interrupt.enter();
    let mut busy = Duration::ZERO;

    let mut store = match store(engine, state, interrupt) {
        Ok(store) => store,
        Err(error) => {
            let outcome = Err(Fault::Host(format!("{error:#}")));
            return CallResult {
                state: None,
                outcome,
                busy,
            };
        }
    };

    let live = engine.live();

    let result = {
        let body = async {
            let instance = loaded.pre.instantiate_async(&mut store).await?;
            export.call(loaded, &mut store, &instance).await
        };

        let body = pin!(PollTimer {
            busy: &mut busy,
            future: pin!(body)
        });

        tokio::select! {
            biased;
            () = interrupt.stopped() => None,
            never = beside => match never {},
            result = body => Some(result),
        }
    };

    drop(live);
    let mut state = store.into_data();
    drop(guest);

    let outcome = match result {
        None => Err(Fault::Interrupted),
        Some(result) => result.map_err(|error| classify(&error, state.limiter().refused())),
    };

    CallResult {
        state: Some(state),
        outcome,
        busy,
    }
}

/// The error that the epoch callback returns for a guest that has to stop.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
struct Interrupted;

fn store<T: Send + 'static>(
    engine: &Engine,
    state: GuestState<T>,
    interrupt: &Arc<Interrupt>,
) -> wasmtime::Result<Store<GuestState<T>>> {
    let mut store = Store::try_new(engine.wasmtime(), state)?;
    store.limiter(|state| state.limiter());
    store.set_hostcall_fuel(HOSTCALL_BYTES);
    store.set_max_component_handles(HANDLES_MAX);

    let (interrupt, ticks) = (Arc::clone(interrupt), engine.ticks());
    let mut last = ticks.load(Ordering::Acquire);

    store.epoch_deadline_callback(move |_| {
        if interrupt.is_stopping() {
            return Err(wasmtime::Error::new(Interrupted));
        }

        let now = ticks.load(Ordering::Acquire);
        if now == last {
            // The interrupt was for another guest: this one continues.
            return Ok(UpdateDeadline::Continue(1));
        }

        last = now;
        Ok(UpdateDeadline::YieldCustom(
            1,
            Box::pin(tokio::task::yield_now()),
        ))
    });

    // The default of 0 would trap at once, and instantiation counts as well.
    store.set_epoch_deadline(1);
    Ok(store)
}

fn classify(error: &wasmtime::Error, refused: bool) -> Fault {
    if error.is::<Interrupted>() {
        return Fault::Interrupted;
    }

    if let Some(exit) = error.downcast_ref::<wasmtime_wasi::I32Exit>() {
        return Fault::Exit(exit.0);
    }

    let trap = error.downcast_ref::<Trap>();
    if trap == Some(&Trap::StackOverflow) {
        return Fault::StackOverflow;
    }

    if refused {
        return Fault::OutOfMemory;
    }

    let Some(trap) = trap else {
        let text = format!("{error:#}");

        return if is_bound(error, &text) {
            Fault::Limit(text)
        } else {
            Fault::Host(text)
        };
    };

    Fault::Trap {
        kind: trap_kind(*trap),
        place: innermost_function(error),
    }
}

/// Whether an error without a trap says that the guest reached a limit of the engine.
///
/// For the host's own table wasmtime has an error type. It reports the other limits only as text
/// (`bail!`), which is pinned with its version: check the texts when the version changes.
fn is_bound(error: &wasmtime::Error, text: &str) -> bool {
    let is_full = |cause: &(dyn std::error::Error + 'static)| {
        matches!(cause.downcast_ref(), Some(ResourceTableError::Full))
    };
    let words = [
        // A call's arguments and results.
        "fuel allocated for hostcalls",
        // Instances, memories and tables of one store.
        "resource limit exceeded",
        // The guest's own handles, limited by their index and per store.
        "cannot allocate another handle",
        "store handle limit exceeded",
    ];

    error.chain().any(is_full) || words.iter().any(|words| text.contains(words))
}

fn trap_kind(trap: Trap) -> &'static str {
    match trap {
        Trap::UnreachableCodeReached => "unreachable",
        Trap::MemoryOutOfBounds => "memory-out-of-bounds",
        Trap::HeapMisaligned => "heap-misaligned",
        Trap::TableOutOfBounds => "table-out-of-bounds",
        Trap::IndirectCallToNull => "indirect-call-to-null",
        Trap::BadSignature => "bad-signature",
        Trap::IntegerOverflow => "integer-overflow",
        Trap::IntegerDivisionByZero => "integer-division-by-zero",
        Trap::BadConversionToInteger => "bad-conversion-to-integer",
        Trap::CannotEnterComponent => "cannot-enter-component",
        _ => "trap",
    }
}

/// The innermost function of the guest, if the component has names.
fn innermost_function(error: &wasmtime::Error) -> String {
    let frames = error.downcast_ref::<wasmtime::WasmBacktrace>();
    let names = frames.into_iter().flat_map(wasmtime::WasmBacktrace::frames);
    names
        .filter_map(|frame| frame.func_name())
        .map(|name| name.split("::h").next().unwrap_or(name).to_owned())
        .find(|name| !name.contains("panic") && !name.contains("abort"))
        .unwrap_or_default()
}

/// Measures the time in which a future is polled.
struct PollTimer<'b, F> {
    busy: &'b mut Duration,
    future: F,
}

impl<F: Future + Unpin> Future for PollTimer<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let began = Instant::now();
        let polled = Pin::new(&mut self.future).poll(context);
        *self.busy += began.elapsed();
        polled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_the_engine_are_told_apart_from_its_other_errors() {
        let is_limit = |error: wasmtime::Error| matches!(classify(&error, false), Fault::Limit(_));
        assert!(is_limit(ResourceTableError::Full.into()));
        let wrapped = wasmtime::Error::from(ResourceTableError::Full).context("while opening");
        assert!(is_limit(wrapped));

        for bound in [
            "fuel allocated for hostcalls has been exhausted",
            "resource limit exceeded: memory count too high at 33",
            "cannot allocate another handle: index overflow",
            "cannot lend resource: store handle limit exceeded",
        ] {
            assert!(is_limit(wasmtime::Error::msg(bound)), "{bound}");
        }

        assert!(!is_limit(ResourceTableError::NotPresent.into()));
        for other in ["unknown handle index 7", "handle is not a stream"] {
            assert!(!is_limit(wasmtime::Error::msg(other)), "{other}");
        }
    }
}
