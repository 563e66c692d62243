//! The kill campaign: a real host process under load, killed with SIGKILL at a moment that a
//! seed chooses, judged by what it had acknowledged, and started again on the same data.
//!
//! `chain` starts, kills and restarts a `victim`, the process with the load. `orders` is its input,
//! and it reports each acknowledgement as a `line`, which `life` reads. `ledger` keeps these and
//! looks for them in the database; `matrix` counts the results.
//! The campaign uses only the public interface of the host, and reads the database directly.

pub mod chain;
pub mod chance;
pub mod ledger;
mod life;
pub mod line;
pub mod matrix;
pub mod orders;
pub mod victim;

pub use chain::{Campaign, Chain, Phase};
pub use ledger::{Finding, Ledger, Loss};
pub use matrix::Matrix;
pub use orders::Orders;
