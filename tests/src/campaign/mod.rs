//! The kill campaign: a real host process under load, killed with SIGKILL at a moment that a
//! seed chooses, judged by what it had acknowledged, and started again on the same data.
//!
//! `orders` is what a victim is told, `line` what it says, `victim` the load; `life` hears it;
//! `ledger` keeps what was said and looks for it in the database; `chain` kills and restarts;
//! `matrix` counts.
//! Knows the host by its public interface, and its data by the database alone.

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
