//! The only constructor of an engine: which features of WebAssembly are on, how instances are
//! pooled, and the fallback if the pool does not fit into the address space.

use super::instance::BACKTRACE_FRAMES;
use super::interrupt::{Interrupt, Interrupter, LiveGuard};
use super::memory::Memory;
use super::scheduler::{Scheduler, processors};
use rustix::process::{Resource, getrlimit};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroUsize;
use std::sync::Arc;
use wasmtime::{
    Config, Enabled, InstanceAllocationStrategy, MemoryType, PoolingAllocationConfig, Store,
};

/// Bytes of a guest's stack, including the host futures that it waits in.
const STACK_BYTES: usize = 2 << 20;
/// The part of the stack that WebAssembly may use; the rest is for host functions.
const WASM_STACK_BYTES: usize = 1 << 20;
/// Memory mappings of one live run: two for its stack, four for its memories, and one to spare.
const MAPPINGS_PER_RUN: u64 = 7;
/// The number of mappings that are left to the rest of the process.
const MAPPINGS_RESERVED: u64 = 4000;
/// The bytes that the host itself needs, and those that one run needs in addition to its linear
/// memory: its stack, its calls, and output that is not on disk yet.
const HOST_BYTES: u64 = 128 << 20;
const RUN_BYTES: u64 = 16 << 20;
/// Stores in addition to those of the runs: one for a component that describes itself, and one for
/// a benchmark.
const SPARE: u32 = 2;

/// How many slots keep their pages for the next guest, and how many bytes of memory, tables and
/// stack each keeps. Clearing this much costs less than returning it to the kernel and faulting it
/// in again.
const WARM_SLOTS: u32 = 64;
const KEEP_MEMORY_BYTES: usize = 128 << 10;
const KEEP_TABLE_BYTES: usize = 16 << 10;
const KEEP_STACK_BYTES: usize = 32 << 10;

/// Why the engine could not be created.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up the WebAssembly engine on this machine: {0}")]
pub struct EngineError(String);

/// The settings that determine the size of an engine.
#[derive(Clone, Copy, Debug)]
pub struct EngineOptions {
    /// The largest number of simultaneous runs.
    pub concurrent_runs: ConcurrentRuns,
    /// The size of the largest linear memory in bytes.
    pub memory_bytes: usize,
    /// The number of bytes of linear memory that each run may have.
    pub run_bytes: u64,
}

/// The largest number of simultaneous runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConcurrentRuns {
    /// Exactly this many, regardless of the memory that they may need.
    Exactly(u32),
    /// At most this many, fewer if the memory of this process holds fewer.
    AtMost(u32),
}

impl ConcurrentRuns {
    /// Returns how many runs of `run_bytes` linear memory each are allowed. Logs it if memory is
    /// the bound.
    fn in_memory(self, run_bytes: u64) -> u32 {
        let memory = Memory::of_process();
        let fit = memory.map_or(u32::MAX, |memory| runs_by_memory(memory.bytes(), run_bytes));
        let memory = memory.map(|memory| memory.to_string()).unwrap_or_default();

        match self {
            Self::Exactly(asked) => {
                if asked > fit {
                    tracing::info!(asked, fit, memory, "runs may need more than there is");
                }
                asked
            }
            Self::AtMost(most) => {
                if most > fit {
                    tracing::info!(most, given = fit, memory, "fewer runs at the same time");
                }
                most.min(fit)
            }
        }
    }
}

/// How many runs fit into this much memory; at least one.
fn runs_by_memory(memory_bytes: u64, run_bytes: u64) -> u32 {
    let runs = memory_bytes.saturating_sub(HOST_BYTES) / run_bytes.saturating_add(RUN_BYTES);
    u32::try_from(runs).unwrap_or(u32::MAX).max(1)
}

/// The engine, and the thread that can stop its guests.
pub struct Engine {
    // Declared before the engine, so that its thread ends first.
    interrupter: Interrupter,
    scheduler: Arc<Scheduler>,
    engine: wasmtime::Engine,
    concurrent_runs: u32,
}

impl Engine {
    /// Creates an engine. It pools instances if the machine has the address space, and allocates on
    /// demand otherwise.
    ///
    /// # Errors
    /// The machine lacks what an engine needs, or the process may not use the address space of a
    /// single run.
    pub fn new(options: EngineOptions) -> Result<Self, EngineError> {
        let asked = options.concurrent_runs.in_memory(options.run_bytes);
        let concurrent_runs = asked.min(runs_by_mappings());
        if concurrent_runs < asked {
            tracing::warn!(
                asked,
                given = concurrent_runs,
                "fewer concurrent runs than asked for: vm.max_map_count is too low for more"
            );
        }

        let pool = pool(concurrent_runs + SPARE, options.memory_bytes);
        let mut config = config();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));

        let failed = |error: wasmtime::Error| EngineError(format!("{error:#}"));
        let engine = match wasmtime::Engine::new(&config) {
            Ok(engine) => engine,
            Err(error) => {
                config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
                let engine = wasmtime::Engine::new(&config).map_err(failed)?;
                reserve(&engine)?;
                tracing::warn!(%error, "no room for a pool of instances; each run allocates its own");
                engine
            }
        };

        let interrupter = Interrupter::start(engine.weak())
            .map_err(|error| EngineError(format!("no thread can be started: {error}")))?;

        Ok(Self {
            interrupter,
            scheduler: Arc::new(Scheduler::new(processors(), engine.weak())),
            engine,
            concurrent_runs,
        })
    }

    /// Identifies the artifacts of this engine; the same in every process of this build.
    pub(super) fn hash(&self) -> u64 {
        hash(&self.engine)
    }

    pub(super) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.engine
    }

    /// How many runs the engine is sized for.
    pub fn concurrent_runs(&self) -> u32 {
        self.concurrent_runs
    }

    /// Stops a guest, wherever it is. Returns at once.
    pub fn stop(&self, interrupt: &Arc<Interrupt>) {
        self.interrupter.stop(interrupt);
    }

    pub(super) fn live(&self) -> LiveGuard {
        self.interrupter.live()
    }

    /// Lets a task that was just given to the guests' threads begin without waiting for the slices
    /// of guests that compute.
    pub fn make_room(&self) {
        self.scheduler.make_room();
    }

    pub(super) fn scheduler(&self) -> &Arc<Scheduler> {
        &self.scheduler
    }
}

/// Fails if the process has no address space for the memory of one run. Otherwise every agent would
/// fail, each seemingly by itself.
fn reserve(engine: &wasmtime::Engine) -> Result<(), EngineError> {
    let mut store = Store::new(engine, ());
    let reserved = wasmtime::Memory::new(&mut store, MemoryType::new(1, None));
    let error = match reserved {
        Ok(_) => return Ok(()),
        Err(error) => format!("{error:#}"),
    };

    Err(EngineError(match getrlimit(Resource::As).current {
        Some(limit) => format!(
            "a run reserves 4 GiB of address space, of which it uses little, and the limit of this \
             process is {} MiB ({error}); raise that limit (`ulimit -v unlimited`)",
            limit >> 20
        ),
        None => format!("there is no address space for the memory of a run: {error}"),
    }))
}

/// Identifies the artifacts of an engine. The allocation strategy does not matter for it.
pub(super) fn hash(engine: &wasmtime::Engine) -> u64 {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}

/// The settings that artifacts depend on.
pub(super) fn config() -> Config {
    let mut config = Config::new();
    // Without concurrency support a call runs on a plain fiber, and dropping its future
    // unwinds the fiber and the host call that it waits for at once.
    config.epoch_interruption(true).concurrency_support(false);

    // A feature that no guest language needs is attack surface. Threads, gc, function references
    // and exceptions are not even built in.
    config.wasm_memory64(false).wasm_relaxed_simd(false);
    config
        .async_stack_size(STACK_BYTES)
        .max_wasm_stack(WASM_STACK_BYTES)
        .wasm_backtrace_max_frames(NonZeroUsize::new(BACKTRACE_FRAMES));
    config
}

fn pool(stores: u32, memory_bytes: usize) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(stores)
        .total_core_instances(stores.saturating_mul(16))
        .total_memories(stores.saturating_mul(2))
        .total_tables(stores.saturating_mul(3))
        .total_stacks(stores.saturating_add(64))
        .max_core_instances_per_component(16)
        .max_memories_per_component(2)
        .max_tables_per_component(3)
        .max_memory_size(memory_bytes)
        .max_unused_warm_slots(WARM_SLOTS)
        // Where the kernel reports which pages a guest wrote, only those are cleared.
        .pagemap_scan(Enabled::Auto)
        .linear_memory_keep_resident(KEEP_MEMORY_BYTES)
        .table_keep_resident(KEEP_TABLE_BYTES)
        .async_stack_keep_resident(KEEP_STACK_BYTES);

    pool
}

/// How many runs fit into the kernel's limit on memory mappings. A process that exceeds it dies
/// inside malloc, so the number is bounded beforehand.
fn runs_by_mappings() -> u32 {
    let limit = std::fs::read_to_string("/proc/sys/vm/max_map_count")
        .ok()
        .and_then(|text| text.trim().parse::<u64>().ok())
        .unwrap_or(u64::MAX);
    let runs = limit.saturating_sub(MAPPINGS_RESERVED) / MAPPINGS_PER_RUN;
    u32::try_from(runs).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_bounds_the_number_of_runs() {
        assert_eq!(runs_by_memory(600 << 20, 128 << 20), 3);
        assert_eq!(runs_by_memory(600 << 20, 16 << 20), 14);
        assert_eq!(runs_by_memory(64 << 20, 128 << 20), 1);
        assert_eq!(runs_by_memory(u64::MAX, 0), u32::MAX);
    }

    #[test]
    fn an_exact_number_is_not_reduced_by_memory() {
        assert_eq!(ConcurrentRuns::Exactly(7).in_memory(u64::MAX), 7);
        assert_eq!(ConcurrentRuns::AtMost(7).in_memory(u64::MAX), 1);
    }
}
