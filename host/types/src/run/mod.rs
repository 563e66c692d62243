//! A run as plain values: its states, the causes of its end, and its receipt.

mod cause;
mod receipt;
mod state;

pub use cause::Cause;
pub use receipt::{CarriedUsage, Ending, Receipt, RunUsage, Said, Wait};
pub use state::{IllegalTransition, RunEvent, RunState};
