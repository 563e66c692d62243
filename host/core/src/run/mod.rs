//! The run: its states, its causes, what it says, its end and its receipt are pure values.
//! The rest is where they meet the store and the sandbox: `dispatcher` starts runs, `stopping`
//! stops them, `execute` sees one through, `live` is the door through which it is stopped, `handle` and `events` are
//! what an embedder holds.

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
    CarriedUsage, Cause, IllegalTransition, Origin, OutputStats, Receipt, RunEvent, RunOutcome,
    RunState, RunUsage, Wait,
};
pub use stats::{BUCKETS_US, Histogram, HostStats};

#[doc(hidden)]
pub use lastword_store::transcript::*;
