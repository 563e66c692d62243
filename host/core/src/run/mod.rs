//! The run: its states, its causes, what it says, its end and its receipt are pure values.
//! [`handle`] and [`dispatcher`] are where they meet the store and the sandbox.

mod cause;
mod finishing;
mod receipt;
mod state;
mod transcript;

pub use cause::Cause;
pub use finishing::{Changes, finish};
pub use receipt::{Ending, Receipt, RunUsage, Said};
pub use state::{IllegalTransition, RunEvent, RunState};
pub use transcript::{
    DELTA_BYTES_MAX, Entry, MESSAGE_PARTS_MAX, MessageEnd, OutputRefused, Transcript,
};
