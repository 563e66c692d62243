//! The run: its states, its causes, what it says, its end and its receipt are pure values.
//! The rest is where they meet the store and the sandbox: `dispatcher` starts runs, `stopping`
//! stops them, `execute` sees one through, `live` is the door through which it is stopped, `handle` and `events` are
//! what an embedder holds.

mod asking;
mod bounds;
mod cause;
pub(crate) mod dispatcher;
mod entry;
mod events;
mod execute;
mod finishing;
mod handle;
pub(crate) mod live;
mod prepare;
mod receipt;
mod replay;
mod retelling;
mod schedule;
mod sofar;
mod state;
pub(crate) mod stats;
mod stopping;
mod transcript;
mod waiting;

pub use bounds::OutputBounds;
pub use cause::Cause;
pub use entry::{Entry, OutputRefused};
pub use events::Events;
pub use finishing::{Changes, finish};
pub use handle::Run;
pub use receipt::{CarriedUsage, Ending, Receipt, RunUsage, Said, Wait};
pub use retelling::{Remains, retell};
pub use state::{IllegalTransition, RunEvent, RunState};
pub use stats::{BUCKETS_US, Histogram, HostStats};
pub use transcript::{DELTA_BYTES_MAX, MESSAGE_PARTS_MAX, MessageEnd, Transcript};
