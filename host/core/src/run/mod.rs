//! Runs. The states, causes, events, ends and receipts of a run are plain values from
//! `lastword_types` and `lastword_store`. The modules here connect them to the store and the
//! sandbox: `dispatcher` accepts and starts runs, `stopping` stops them, `execute` carries one
//! out, `live` holds the state of a run that has not ended, and `handle` and `events` are the
//! types that an embedder holds.

pub(crate) mod dispatcher;
mod events;
mod execute;
mod handle;
pub(crate) mod live;
pub(crate) mod polled;
mod prepare;
mod schedule;
pub(crate) mod stats;
mod stopping;
mod waiting;

pub use events::Events;
pub use handle::Run;
pub use lastword_types::run::{
    CarriedUsage, Cause, IllegalTransition, Origin, OutputStats, QueuedRun, Receipt, RunEvent,
    RunOutcome, RunState, RunSummary, RunUsage, Wait,
};
pub use stats::{BUCKETS_US, Histogram, HostStats};

#[doc(hidden)]
pub use lastword_store::transcript::*;
