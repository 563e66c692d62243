//! Guarded HTTP requests of agents: allowed by host and port, sent to checked addresses, bounded in
//! time and size, and with the secrets that they carry redacted from the response.

mod address;
mod body;
mod error;
mod follow;
mod guarded;
mod hosts;
mod options;
mod rules;
mod target;
pub(crate) mod tls;

#[cfg(test)]
pub(crate) mod hostile;
#[cfg(test)]
mod tests;

pub use body::Body;
pub use error::{HttpError, HttpErrorKind};
pub use guarded::{Guarded, Request, Response};
pub use hosts::{HostPatterns, InvalidHostPattern};
pub use options::{HttpOptions, Resolver};
