//! What a guest may take of the host's memory, summed over everything in its store.

use std::collections::BTreeMap;
use std::time::Duration;
use wasmtime::ResourceLimiter;

/// Limits of one run's sandbox. Each has a default; none can be switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of linear memory, summed over all memories. Default 128 MiB, which is also the
    /// most: clearing that much at once takes about 100 ms, during which no guest can be
    /// stopped.
    pub memory_bytes: u64,
    /// Elements of tables, summed. Default 1 million.
    pub table_elements: u64,
    /// Bytes of text, reasoning, arguments, results, titles and summaries that one run may say.
    /// On disk they take up to twelve times as much: once in the log and once in the messages,
    /// both as JSON. Default 16 MiB.
    pub output_bytes: u64,
    /// Entries that one run may make in its session's log: one for what it appends between two
    /// commits, for a part, a result, a message's beginning and end, a title. Beside what is said
    /// in it, one takes at most 1 KiB on disk. Default 500,000.
    pub log_entries: u64,
    /// Bytes of files that one run may write, in the workspace and in `/tmp` together. Each file,
    /// directory and link that a guest makes counts for 4 KiB. Its messages may hold as many
    /// bytes of data parts beside that, such as images.
    /// Default 256 MiB.
    pub written_bytes: u64,
    /// File descriptors of the host that a guest may hold at once, by the files and directories
    /// that it has open, `/workspace` and `/tmp` among them. One more is refused with
    /// `insufficient-memory`. All guests together have half of the process's limit, whatever
    /// each may have. Default 64.
    pub descriptors: u32,
    /// How long a run may take once it is running. Default 30 minutes; `None` is no deadline.
    pub deadline: Option<Duration>,
    /// How often a session may be woken by a time in a row, without a prompt or an answer of a
    /// person in between. The limits on output, files, tokens, cost, tool calls and the deadline
    /// go on over these runs; the run that would wait for one time more ends with
    /// `limit(wakes)`. Default 1,000.
    pub wakes: u32,
    /// How long a run that is stopped may go on to bring its work to an end; host calls
    /// answer `cancelled` meanwhile. Default 0.
    pub grace: Duration,
    /// How long whoever waits for a run's end waits for the finishing write. Default 5 s.
    pub finish_deadline: Duration,
    /// How long an epilogue may take. Default 200 ms.
    pub epilogue: Duration,
    /// Bytes of state that one agent may keep per session, and as much per workspace.
    /// Default 1 MiB.
    pub state_bytes: u64,
    /// Prompts of one session that may wait. Default 100.
    pub queue: u32,
    /// Tokens that the models of one run, and of those that it starts, may read and write
    /// together. What goes beyond ends the run with `limit(tokens)`. Default: no bound.
    pub tokens: Option<u64>,
    /// What they may cost, in millionths of a US dollar, where prices are known:
    /// `limit(cost)`. Default: no bound.
    pub cost_micros: Option<u64>,
    /// Tool calls of one run and of those that it starts: `limit(tool-calls)`. Default 1,000.
    pub tool_calls: u32,
    /// How many runs may stand above one another: a run that a user asked for is at 0, one
    /// that it started at 1. Default 3.
    pub child_depth: u32,
}

impl Limits {
    /// Limits by their names; times in microseconds, and no number for no bound.
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

    /// Limits with those that are named in the place of their own; `None` for a name that is not
    /// known, or that takes another number.
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
    /// Bytes of linear memory, at most 128 MiB.
    #[must_use]
    pub fn memory_bytes(mut self, bytes: u64) -> Self {
        self.memory_bytes = bytes.min(128 << 20);
        self
    }

    /// How long a run may take once it is running.
    #[must_use]
    pub fn deadline(mut self, deadline: Option<Duration>) -> Self {
        self.deadline = deadline;
        self
    }

    /// How long a run that is stopped may go on.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// How long whoever waits for a run's end waits for the finishing write.
    #[must_use]
    pub fn finish_deadline(mut self, deadline: Duration) -> Self {
        self.finish_deadline = deadline;
        self
    }

    /// Bytes that one run may say.
    #[must_use]
    pub fn output_bytes(mut self, bytes: u64) -> Self {
        self.output_bytes = bytes;
        self
    }

    /// Entries that one run may make in its session's log.
    #[must_use]
    pub fn log_entries(mut self, entries: u64) -> Self {
        self.log_entries = entries;
        self
    }

    /// How often a session may be woken by a time in a row.
    #[must_use]
    pub fn wakes(mut self, wakes: u32) -> Self {
        self.wakes = wakes;
        self
    }

    /// Bytes of files that one run may write.
    #[must_use]
    pub fn written_bytes(mut self, bytes: u64) -> Self {
        self.written_bytes = bytes;
        self
    }

    /// File descriptors of the host that a guest may hold at once.
    #[must_use]
    pub fn descriptors(mut self, descriptors: u32) -> Self {
        self.descriptors = descriptors;
        self
    }

    /// Bytes of state that one agent may keep per session, and as much per workspace.
    #[must_use]
    pub fn state_bytes(mut self, bytes: u64) -> Self {
        self.state_bytes = bytes;
        self
    }

    /// Tokens that a run's models may read and write together.
    #[must_use]
    pub fn tokens(mut self, tokens: Option<u64>) -> Self {
        self.tokens = tokens;
        self
    }

    /// What a run's models may cost, in millionths of a US dollar.
    #[must_use]
    pub fn cost_micros(mut self, cost: Option<u64>) -> Self {
        self.cost_micros = cost;
        self
    }

    /// Tool calls of one run.
    #[must_use]
    pub fn tool_calls(mut self, calls: u32) -> Self {
        self.tool_calls = calls;
        self
    }

    /// How many runs may stand above one another.
    #[must_use]
    pub fn child_depth(mut self, depth: u32) -> Self {
        self.child_depth = depth;
        self
    }

    /// Prompts of one session that may wait.
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

/// Counts what one store has taken. Refuses by answering that growing failed, which a guest
/// may handle; if it traps instead, it ran out of memory.
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
    /// A limiter for one store.
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

    /// Bytes of linear memory at the highest.
    pub fn peak(&self) -> u64 {
        self.peak as u64
    }

    /// Whether the guest asked for more than it may have.
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
