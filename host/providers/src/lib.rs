//! What agents reach outside of the sandbox: models, guarded HTTP requests, secrets that are filled
//! into requests, and tools for files and commands.
//!
//! Independent of the sandbox and the store, so that everything here can be used without a guest.

mod causes;
pub mod foreign;
pub mod http;
pub mod model;
pub mod permits;
pub mod secrets;
pub mod tools;

pub use causes::causes;
