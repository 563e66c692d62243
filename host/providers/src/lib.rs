//! What agents reach outside of the sandbox: models, the network behind a guard, secrets that
//! are put into requests, and tools for files and commands.
//!
//! Everything here can be used without a guest: none of it knows the sandbox or the store.

mod causes;
pub mod foreign;
pub mod http;
pub mod model;
pub mod permits;
pub mod secrets;
pub mod tools;

pub use causes::causes;
