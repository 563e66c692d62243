//! Limits on a run: memory, output, files, time, tokens, cost; and the limiter that holds
//! everything in one store to its memory.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use wasmtime::ResourceLimiter;

/// Limits of one run. Each has a default.
///
/// Their JSON is the result of [`Limits::to_named`]: numbers by their names, times in microseconds
/// (`deadline_us`), `null` for no bound. A missing limit has its default; an unknown name is an
/// error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    try_from = "BTreeMap<String, Option<u64>>",
    into = "BTreeMap<String, Option<u64>>"
)]
#[non_exhaustive]
pub struct Limits {
    /// The largest number of bytes of linear memory, summed over all memories. Default: 128 MiB,
    /// which is also the maximum: clearing this much at once takes about 100 ms, during which no
    /// guest can be stopped.
    pub memory_bytes: u64,
    /// The largest number of elements of tables, summed over all tables. Default: 1 million.
    pub table_elements: u64,
    /// The largest number of bytes of text, reasoning, arguments, results, titles and summaries
    /// that one run may produce. On disk they take up to twelve times as much: once in the log and
    /// once in the messages, both as JSON. Default: 16 MiB.
    pub output_bytes: u64,
    /// The largest number of entries that one run may make in its session's log: one for everything
    /// that it appends between two commits, and one for each part, each result, the start and end
    /// of a message, and a title. In addition to its content, an entry takes at most 1 KiB on disk.
    /// Default: 500,000.
    pub log_entries: u64,
    /// The largest number of bytes of files that one run may write, in the workspace and in `/tmp`
    /// together. Each file, directory and link that a guest creates counts for 4 KiB. In addition,
    /// its messages may hold as many bytes of data parts, such as images. Default: 256 MiB.
    pub written_bytes: u64,
    /// The largest number of the host's file descriptors that a guest may hold at once through its
    /// open files and directories, including `/workspace` and `/tmp`. One more is refused with
    /// `insufficient-memory`. All guests together have half of the process's limit, regardless of
    /// this number. Default: 64.
    pub descriptors: u32,
    /// How long a run may take after its start. Default: 30 minutes; `None` is no deadline.
    pub deadline: Option<Duration>,
    /// How many times in a row a session may be woken by a time, without a prompt or an answer of a
    /// person in between. These runs share the limits on output, files, tokens, cost, tool calls
    /// and the deadline; the run that would wait once more ends with `limit(wakes)`. Default:
    /// 1,000.
    pub wakes: u32,
    /// How long a stopped run may continue, to finish its work; meanwhile host calls return
    /// `cancelled`. Default: 0.
    pub grace: Duration,
    /// How long a caller that awaits the end of a run waits for the finishing write. Default: 5 s.
    pub finish_deadline: Duration,
    /// How long an epilogue may take. Default: 200 ms.
    pub epilogue: Duration,
    /// The largest number of bytes of state that one agent may store per session, and also per
    /// workspace. Default: 1 MiB.
    pub state_bytes: u64,
    /// The largest number of queued prompts of one session. Default: 100.
    pub queue: u32,
    /// The largest number of tokens that the models of one run, and of the runs that it starts, may
    /// read and write together. Exceeding it ends the run with `limit(tokens)`. Default: no limit.
    pub tokens: Option<u64>,
    /// The largest cost of these models, in millionths of a US dollar, for models with known
    /// prices. Exceeding it ends the run with `limit(cost)`. Default: no limit.
    pub cost_micros: Option<u64>,
    /// The largest number of tool calls of one run and of the runs that it starts. Exceeding it
    /// ends the run with `limit(tool-calls)`. Default: 1,000.
    pub tool_calls: u32,
    /// How deeply runs may start runs: a run that a user asked for is at depth 0, and one that it
    /// started is at depth 1. Default: 3.
    pub child_depth: u32,
}

impl Limits {
    /// Returns the limits by name; times in microseconds, `None` for no limit.
    #[must_use]
    pub fn to_named(&self) -> BTreeMap<String, Option<u64>> {
        let Limits {
            memory_bytes,
            table_elements,
            output_bytes,
            written_bytes,
            descriptors,
            deadline,
            grace,
            finish_deadline,
            epilogue,
            state_bytes,
            queue,
            tokens,
            cost_micros,
            tool_calls,
            child_depth,
            log_entries,
            wakes,
        } = *self;

        let micros = |time: Duration| Some(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
        let named = [
            ("memory_bytes", Some(memory_bytes)),
            ("table_elements", Some(table_elements)),
            ("output_bytes", Some(output_bytes)),
            ("written_bytes", Some(written_bytes)),
            ("descriptors", Some(descriptors.into())),
            ("deadline_us", deadline.and_then(micros)),
            ("grace_us", micros(grace)),
            ("finish_deadline_us", micros(finish_deadline)),
            ("epilogue_us", micros(epilogue)),
            ("state_bytes", Some(state_bytes)),
            ("queue", Some(queue.into())),
            ("tokens", tokens),
            ("cost_micros", cost_micros),
            ("tool_calls", Some(tool_calls.into())),
            ("child_depth", Some(child_depth.into())),
            ("log_entries", Some(log_entries)),
            ("wakes", Some(wakes.into())),
        ];
        named.map(|(name, most)| (name.to_owned(), most)).into()
    }

    /// Replaces the limits that `named` contains. Returns `None` for an unknown name, or a value
    /// that does not fit.
    #[must_use]
    pub fn with_named(mut self, named: &BTreeMap<String, Option<u64>>) -> Option<Self> {
        for (name, most) in named {
            let count = || u32::try_from((*most)?).ok();
            let time = most.map(Duration::from_micros);

            match name.as_str() {
                "memory_bytes" => self.memory_bytes = (*most)?,
                "table_elements" => self.table_elements = (*most)?,
                "output_bytes" => self.output_bytes = (*most)?,
                "written_bytes" => self.written_bytes = (*most)?,
                "descriptors" => self.descriptors = count()?,
                "deadline_us" => self.deadline = time,
                "grace_us" => self.grace = time?,
                "finish_deadline_us" => self.finish_deadline = time?,
                "epilogue_us" => self.epilogue = time?,
                "state_bytes" => self.state_bytes = (*most)?,
                "queue" => self.queue = count()?,
                "tokens" => self.tokens = *most,
                "cost_micros" => self.cost_micros = *most,
                "tool_calls" => self.tool_calls = count()?,
                "child_depth" => self.child_depth = count()?,
                "log_entries" => self.log_entries = (*most)?,
                "wakes" => self.wakes = count()?,
                _ => return None,
            }
        }

        Some(self)
    }
}

impl From<Limits> for BTreeMap<String, Option<u64>> {
    fn from(limits: Limits) -> Self {
        limits.to_named()
    }
}

impl TryFrom<BTreeMap<String, Option<u64>>> for Limits {
    type Error = UnknownLimit;

    fn try_from(named: BTreeMap<String, Option<u64>>) -> Result<Self, UnknownLimit> {
        Self::default().with_named(&named).ok_or(UnknownLimit)
    }
}

/// An unknown limit, or a number that is invalid for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a limit has a name that is not known, or a number that it cannot have")]
pub struct UnknownLimit;

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 128 << 20,
            table_elements: 1 << 20,
            output_bytes: 16 << 20,
            log_entries: 500_000,
            written_bytes: 256 << 20,
            descriptors: 64,
            deadline: Some(Duration::from_secs(30 * 60)),
            wakes: 1000,
            grace: Duration::ZERO,
            finish_deadline: Duration::from_secs(5),
            epilogue: Duration::from_millis(200),
            state_bytes: 1 << 20,
            queue: 100,
            tokens: None,
            cost_micros: None,
            tool_calls: 1000,
            child_depth: 3,
        }
    }
}

impl Limits {
    /// Sets the bytes of linear memory, at most 128 MiB.
    #[must_use]
    pub fn memory_bytes(mut self, bytes: u64) -> Self {
        self.memory_bytes = bytes.min(128 << 20);
        self
    }

    /// Sets how long a run may take after its start.
    #[must_use]
    pub fn deadline(mut self, deadline: Option<Duration>) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets how long a stopped run may continue.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Sets how long a caller that awaits the end of a run waits for the finishing write.
    #[must_use]
    pub fn finish_deadline(mut self, deadline: Duration) -> Self {
        self.finish_deadline = deadline;
        self
    }

    /// Sets the bytes of output that one run may produce.
    #[must_use]
    pub fn output_bytes(mut self, bytes: u64) -> Self {
        self.output_bytes = bytes;
        self
    }

    /// Sets the entries that one run may make in its session's log.
    #[must_use]
    pub fn log_entries(mut self, entries: u64) -> Self {
        self.log_entries = entries;
        self
    }

    /// Sets how often in a row a session may be woken by a time.
    #[must_use]
    pub fn wakes(mut self, wakes: u32) -> Self {
        self.wakes = wakes;
        self
    }

    /// Sets the bytes of files that one run may write.
    #[must_use]
    pub fn written_bytes(mut self, bytes: u64) -> Self {
        self.written_bytes = bytes;
        self
    }

    /// Sets the file descriptors of the host that a guest may hold at once.
    #[must_use]
    pub fn descriptors(mut self, descriptors: u32) -> Self {
        self.descriptors = descriptors;
        self
    }

    /// Sets the bytes of state that one agent may store per session, and per workspace.
    #[must_use]
    pub fn state_bytes(mut self, bytes: u64) -> Self {
        self.state_bytes = bytes;
        self
    }

    /// Sets the tokens that a run's models may read and write together.
    #[must_use]
    pub fn tokens(mut self, tokens: Option<u64>) -> Self {
        self.tokens = tokens;
        self
    }

    /// Sets what a run's models may cost, in millionths of a US dollar.
    #[must_use]
    pub fn cost_micros(mut self, cost: Option<u64>) -> Self {
        self.cost_micros = cost;
        self
    }

    /// Sets the tool calls of one run.
    #[must_use]
    pub fn tool_calls(mut self, calls: u32) -> Self {
        self.tool_calls = calls;
        self
    }

    /// Sets how deeply runs may start runs.
    #[must_use]
    pub fn child_depth(mut self, depth: u32) -> Self {
        self.child_depth = depth;
        self
    }

    /// Sets how many prompts of one session may be queued.
    #[must_use]
    pub fn queue(mut self, prompts: u32) -> Self {
        self.queue = prompts;
        self
    }
}

/// Core instances of one store. A Python guest has 14.
const INSTANCES_MAX: usize = 64;
/// Memories of one store.
const MEMORIES_MAX: usize = 8;
/// Tables of one store.
const TABLES_MAX: usize = 32;

/// Counts the memory and tables of one store. A refusal makes the growth fail, which a guest may
/// handle; if it traps instead, it ran out of memory.
#[derive(Debug)]
pub struct Limiter {
    memory_max: usize,
    memory: usize,
    elements_max: usize,
    elements: usize,
    peak: usize,
    refused: bool,
}

impl Limiter {
    /// Creates the limiter of one store.
    pub fn new(limits: &Limits) -> Self {
        let fit = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        Self {
            memory_max: fit(limits.memory_bytes),
            memory: 0,
            elements_max: fit(limits.table_elements),
            elements: 0,
            peak: 0,
            refused: false,
        }
    }

    /// Returns the largest number of bytes of linear memory so far.
    pub fn peak(&self) -> u64 {
        self.peak as u64
    }

    /// Whether the guest was refused memory or table elements.
    pub fn refused(&self) -> bool {
        self.refused
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let sum = self.memory.saturating_add(desired.saturating_sub(current));
        if sum > self.memory_max {
            self.refused = true;
            return Ok(false);
        }
        self.memory = sum;
        self.peak = self.peak.max(sum);
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let sum = self
            .elements
            .saturating_add(desired.saturating_sub(current));
        if sum > self.elements_max {
            self.refused = true;
            return Ok(false);
        }

        self.elements = sum;
        Ok(true)
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        TABLES_MAX
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX
    }
}
