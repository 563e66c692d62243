//! One call into a fresh instance: set up, raced against its stop switch, torn down. A store serves
//! one call and is never entered again. Generic over the host's data.

use super::bindings::exports::lastword::agent::{epilogue, turn};
use super::scheduler::{Scheduled, Share, Turn};
use super::wasi::GuestState;
use super::{Engine, Interrupt, Loaded};
use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use wasmtime::component::{Instance, ResourceTableError};
use wasmtime::{Store, Trap, UpdateDeadline};

/// The largest number of bytes that one host call may copy out of a guest.
const HOSTCALL_BYTES: usize = 8 << 20;
/// The largest number of frames in the backtrace of a trap; more would make a trap costly.
pub(super) const BACKTRACE_FRAMES: usize = 20;
/// The largest number of handles that a guest may hold at once.
pub(super) const HANDLES_MAX: usize = 4096;

/// Why a call did not return.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The call was stopped.
    #[error("it was stopped before it returned")]
    Interrupted,
    /// WebAssembly trapped.
    #[error("it trapped ({kind}){}", in_place(place))]
    Trap {
        /// The trap's name.
        kind: &'static str,
        /// The innermost function, if the component has names.
        place: String,
    },
    /// The guest called `exit`.
    #[error("it exited with code {0} instead of returning")]
    Exit(i32),
    /// The stack overflowed: that of its calls, or the one that its compiler keeps in memory.
    #[error("its call stack is exhausted{}", in_place(place))]
    StackOverflow {
        /// The function that calls itself without an end, if the component has names.
        place: String,
    },
    /// The guest trapped, or could not start, after its memory limit had refused it memory.
    #[error("it asked for more memory than it may have")]
    OutOfMemory,
    /// The guest exceeded a bound on what a host call may carry or hold.
    #[error("it exceeded a bound of the host: {0}")]
    Limit(String),
    /// The host failed.
    #[error("the host failed while it carried out the call: {0}")]
    Host(String),
}

fn in_place(place: &str) -> String {
    match place {
        "" => String::new(),
        place => format!(" in `{place}`"),
    }
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
    /// What the export returns.
    type Output: Send;

    /// Calls the export of an instance.
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
/// The guest has its part of the processors with all others; `share` is what guests that it belongs
/// to had before.
///
/// The instance is gone when this returns. Dropping the future has the same effect, but the host's
/// data is lost.
pub async fn call<T: Send + 'static, C: Call<T>>(
    engine: &Engine,
    loaded: &Loaded<T>,
    state: GuestState<T>,
    interrupt: &Arc<Interrupt>,
    share: &Share,
    beside: impl Future<Output = Infallible> + Send,
    export: C,
) -> CallResult<T, C::Output> {
    let guest = interrupt.enter();
    let mut busy = Duration::ZERO;

    let turn = engine.scheduler().turn();
    let mut store = match store(engine, state, interrupt, &turn) {
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

        let body = pin!(body);
        let body = pin!(Scheduled::new(
            body,
            engine.scheduler(),
            share,
            turn,
            &mut busy
        ));

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
    turn: &Arc<Turn>,
) -> wasmtime::Result<Store<GuestState<T>>> {
    let mut store = Store::try_new(engine.wasmtime(), state)?;
    store.limiter(|state| state.limiter());
    store.set_hostcall_fuel(HOSTCALL_BYTES);
    store.set_max_component_handles(HANDLES_MAX);

    let (interrupt, turn) = (Arc::clone(interrupt), Arc::clone(turn));
    let scheduler = Arc::clone(engine.scheduler());

    store.epoch_deadline_callback(move |_| {
        if interrupt.is_stopping() {
            return Err(wasmtime::Error::new(Interrupted));
        }

        // Whatever the epoch was raised for, a task may wait for this thread.
        scheduler.yields(&turn);
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
    let functions = functions(error);
    let recursive = recursive(&functions).map(str::to_owned);
    if trap == Some(&Trap::StackOverflow) {
        let place = recursive.unwrap_or_else(|| innermost(&functions));
        return Fault::StackOverflow { place };
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

    // Compilers keep a second stack at the beginning of the memory and do not check its end: a
    // recursion that exhausts it leaves the memory.
    if let (Trap::MemoryOutOfBounds, Some(place)) = (trap, recursive) {
        return Fault::StackOverflow { place };
    }

    Fault::Trap {
        kind: trap_kind(*trap),
        place: innermost(&functions),
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

/// A function on the guest's stack.
struct Function {
    /// Its number in its module.
    index: u32,
    /// Its name; empty if the component has none.
    name: String,
}

/// Returns the functions on the guest's stack, the innermost one first, as far as the backtrace
/// reaches.
fn functions(error: &wasmtime::Error) -> Vec<Function> {
    let frames = error.downcast_ref::<wasmtime::WasmBacktrace>();
    let frames = frames.into_iter().flat_map(wasmtime::WasmBacktrace::frames);
    let functions = frames.map(|frame| Function {
        index: frame.func_index(),
        name: frame.func_name().map(readable).unwrap_or_default(),
    });
    functions.collect()
}

/// Returns the name of a function as its author wrote it, without the hash that compilers add.
fn readable(name: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(name))
}

/// Returns the name of the innermost function that is none of those that report a panic; empty if
/// there is none.
fn innermost(functions: &[Function]) -> String {
    let reports = |name: &str| name.contains("panic") || name.contains("abort");
    let own = functions
        .iter()
        .find(|function| !function.name.is_empty() && !reports(&function.name));
    own.map(|function| function.name.clone())
        .unwrap_or_default()
}

/// Returns the name of the function that fills the backtrace, if one does: at least half of a
/// backtrace that is as long as the engine makes it. Such a backtrace shows a deep recursion.
fn recursive(functions: &[Function]) -> Option<&str> {
    if functions.len() < BACKTRACE_FRAMES {
        return None;
    }

    let count = |index: u32| {
        functions
            .iter()
            .filter(|other| other.index == index)
            .count()
    };
    let most = functions.iter().max_by_key(|other| count(other.index))?;
    (count(most.index) * 2 >= functions.len()).then_some(most.name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_full_backtrace_of_one_function_is_a_recursion() {
        let stack = |indices: &[u32], length: usize| {
            let indices = indices.iter().cycle().take(length);
            let functions = indices.map(|index| Function {
                index: *index,
                name: format!("f{index}"),
            });
            functions.collect::<Vec<_>>()
        };
        assert_eq!(recursive(&stack(&[1], BACKTRACE_FRAMES)), Some("f1"));
        assert_eq!(recursive(&stack(&[1], BACKTRACE_FRAMES - 1)), None);
        let mutual = stack(&[1, 2], BACKTRACE_FRAMES);
        assert!(recursive(&mutual).is_some(), "they call each other");
        let different: Vec<u32> = (0..100).collect();
        assert_eq!(recursive(&stack(&different, BACKTRACE_FRAMES)), None);
    }

    #[test]
    fn names_are_those_of_the_source() {
        let legacy = "_ZN5probe7forever6deeper17h0123456789abcdefE";
        assert_eq!(readable(legacy), "probe::forever::deeper");
        assert_eq!(readable("_RNvCs1234_5probe6deeper"), "probe::deeper");
        assert_eq!(readable("main"), "main");

        let function = |name: &str| Function {
            index: 0,
            name: name.to_owned(),
        };
        let panicking = ["core::panicking::panic", "", "probe::run"].map(function);
        assert_eq!(innermost(&panicking), "probe::run");
        assert_eq!(innermost(&[]), "");
    }

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
