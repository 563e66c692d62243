//! Runs as plain values: their origin, their states, the causes of their end, and receipts.

mod cause;
mod listed;
mod origin;
mod receipt;
mod state;

pub use cause::Cause;
pub use listed::{QueuedRun, RunSummary};
pub use origin::Origin;
pub use receipt::{CarriedUsage, OutputStats, Receipt, RunOutcome, RunUsage, Wait};
pub use state::{IllegalTransition, RunEvent, RunState};
