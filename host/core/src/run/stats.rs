//! Counters of what a host has done since it started. Monitoring formats are left to the caller.

use super::{Receipt, RunState};
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bounds of the buckets in which times are counted, in microseconds.
pub const BUCKETS_US: [u64; 12] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 250_000, 1_000_000, 5_000_000,
];

/// Times, counted in buckets: `counts[i]` is the number of times of at most [`BUCKETS_US`]`[i]`
/// microseconds that are larger than the bound before. The last count is that of all longer times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Histogram {
    /// The number of times in each bucket.
    pub counts: [u64; BUCKETS_US.len() + 1],
    /// The sum of all times, in microseconds.
    pub sum_us: u64,
}

/// What a host has done since it started, and its current load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HostStats {
    /// The number of open workspaces.
    pub workspaces_open: u64,
    /// The number of closing workspaces.
    pub workspaces_closing: u64,
    /// The number of clients' claims, summed over workspaces.
    pub clients: u64,
    /// The number of clients' streams, summed over workspaces.
    pub streams: u64,
    /// The number of runs that have a guest.
    pub runs_running: u64,
    /// The number of waiting runs.
    pub runs_queued: u64,
    /// The largest number of runs that have a guest at the same time.
    pub slots: u64,
    /// The number of accepted prompts.
    pub accepted: u64,
    /// The number of completed runs.
    pub completed: u64,
    /// The number of cancelled runs.
    pub cancelled: u64,
    /// The number of failed runs.
    pub failed: u64,
    /// The number of interrupted runs.
    pub interrupted: u64,
    /// The number of runs whose end could not be written in this process.
    pub lost: u64,
    /// The number of tokens that models read.
    pub input_tokens: u64,
    /// The number of tokens that models wrote.
    pub output_tokens: u64,
    /// The cost of these tokens, in millionths of a US dollar, as far as prices are known.
    pub cost_micros: u64,
    /// The number of calls of tools that runs made, including those that were refused.
    pub tool_calls: u64,
    /// The number of bytes of the database; 0 for a store in memory.
    pub database_bytes: u64,
    /// The number of bytes of the database's write-ahead log; 0 for a store in memory.
    pub wal_bytes: u64,
    /// The times between the prompt or resumption of a run and the call of its agent, of runs whose
    /// agent was called.
    pub wait: Histogram,
    /// The times between the latching of a cause and the end of the guest, of runs that were
    /// stopped.
    pub stop: Histogram,
    /// The times between the end of the guest and the finishing transaction, of all runs.
    pub persist: Histogram,
}

/// The counters behind [`HostStats`].
#[derive(Default)]
pub(crate) struct Counters {
    accepted: AtomicU64,
    completed: AtomicU64,
    cancelled: AtomicU64,
    failed: AtomicU64,
    interrupted: AtomicU64,
    lost: AtomicU64,
    input_tokens: AtomicU64,
    output_tokens: AtomicU64,
    cost_micros: AtomicU64,
    tool_calls: Arc<AtomicU64>,
    wait: Times,
    stop: Times,
    persist: Times,
}

#[derive(Default)]
struct Times {
    counts: [AtomicU64; BUCKETS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Times {
    fn add(&self, us: u64) {
        let bucket = BUCKETS_US.partition_point(|bound| *bound < us);
        add(&self.counts[bucket], 1);
        add(&self.sum_us, us);
    }

    fn read(&self) -> Histogram {
        let mut histogram = Histogram {
            sum_us: read(&self.sum_us),
            ..Histogram::default()
        };
        for (count, counter) in histogram.counts.iter_mut().zip(&self.counts) {
            *count = read(counter);
        }
        histogram
    }
}

fn add(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Counters {
    pub(crate) fn accepted(&self) {
        add(&self.accepted, 1);
    }

    /// Counts a run whose agent is called after this time.
    pub(crate) fn began(&self, waited: Duration) {
        self.wait
            .add(u64::try_from(waited.as_micros()).unwrap_or(u64::MAX));
    }

    /// Returns the counter of tool calls, which each run's tools count up.
    pub(crate) fn tool_calls(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.tool_calls)
    }

    pub(crate) fn lost(&self) {
        add(&self.lost, 1);
    }

    pub(crate) fn ended(&self, receipt: &Receipt) {
        let by_state = match receipt.state {
            RunState::Completed => &self.completed,
            RunState::Cancelled => &self.cancelled,
            RunState::Failed => &self.failed,
            _ => &self.interrupted,
        };

        add(by_state, 1);
        add(&self.input_tokens, receipt.usage.input_tokens);
        add(&self.output_tokens, receipt.usage.output_tokens);
        add(&self.cost_micros, receipt.usage.cost_micros);
        if receipt.state != RunState::Completed {
            self.stop.add(receipt.stop_us);
        }

        self.persist.add(receipt.persist_us);
    }

    /// Returns the counters; the caller fills in the current state.
    pub(crate) fn read(&self) -> HostStats {
        HostStats {
            accepted: read(&self.accepted),
            completed: read(&self.completed),
            cancelled: read(&self.cancelled),
            failed: read(&self.failed),
            interrupted: read(&self.interrupted),
            lost: read(&self.lost),
            input_tokens: read(&self.input_tokens),
            output_tokens: read(&self.output_tokens),
            cost_micros: read(&self.cost_micros),
            tool_calls: read(&self.tool_calls),
            wait: self.wait.read(),
            stop: self.stop.read(),
            persist: self.persist.read(),
            ..HostStats::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{Cause, OutputStats, RunOutcome};
    use lastword_types::id::RunId;
    use lastword_types::session::FinishReason;

    #[test]
    fn a_time_falls_into_the_bucket_of_its_bound() {
        let times = Times::default();
        for us in [0, 50, 51, 5_000_000, 5_000_001] {
            times.add(us);
        }
        let read = times.read();
        assert_eq!((read.counts[0], read.counts[1]), (2, 1));
        assert_eq!((read.counts[11], read.counts[12]), (1, 1));
        assert_eq!(read.sum_us, 10_000_102);
    }

    #[test]
    fn an_ended_run_is_counted_by_its_state_with_its_tokens_and_times() {
        let counters = Counters::default();
        for (cause, tokens) in [
            (Cause::Returned(FinishReason::EndTurn), 1),
            (Cause::User, 10),
            (Cause::AgentError, 100),
            (Cause::Shutdown, 1000),
        ] {
            let mut ending = RunOutcome::of(cause);
            ending.stop = Duration::from_micros(tokens);
            let mut said = OutputStats::default();
            said.usage.input_tokens = tokens;
            said.usage.output_tokens = 2 * tokens;
            said.usage.cost_micros = 5 * tokens;
            let persist = Duration::from_micros(3 * tokens);
            counters.ended(&ending.receipt(RunId::generate(), said, persist));
        }

        let read = counters.read();
        let by_state = [
            read.completed,
            read.cancelled,
            read.failed,
            read.interrupted,
        ];
        assert_eq!(by_state, [1; 4]);
        assert_eq!((read.input_tokens, read.output_tokens), (1111, 2222));
        assert_eq!(read.cost_micros, 5555);
        // A run that returned was not stopped.
        assert_eq!(read.stop.sum_us, 1110);
        assert_eq!(read.stop.counts.iter().sum::<u64>(), 3);
        assert_eq!(read.persist.sum_us, 3333);
        assert_eq!(read.persist.counts.iter().sum::<u64>(), 4);
        assert_eq!((read.accepted, read.lost, read.tool_calls), (0, 0, 0));
        assert_eq!(read.wait, Histogram::default());
        counters.began(Duration::from_millis(2));
        counters.tool_calls().fetch_add(1, Ordering::Relaxed);
        let read = counters.read();
        assert_eq!((read.wait.sum_us, read.tool_calls), (2000, 1));
        counters.accepted();
        counters.lost();
        counters.lost();
        assert_eq!((counters.read().accepted, counters.read().lost), (1, 2));
    }
}
