//! Guarded HTTP requests of agents: allowed by host and port, sent to checked addresses, bounded in
//! time and size, and with the secrets that they carry redacted from the response.

mod address;
mod body;
mod clients;
mod error;
mod exchange;
mod follow;
mod guarded;
mod hosts;
mod options;
mod retry_after;
mod rules;
mod target;
pub(crate) mod tls;

#[cfg(test)]
pub(crate) mod hostile;
#[cfg(test)]
mod tests;

pub use body::Body;
pub use clients::within_origin;
#[cfg(feature = "models")]
pub(crate) use clients::without_redirects;
pub use error::{HttpError, HttpErrorKind};
pub use exchange::{Client, RequestBuilder, Response as ServiceResponse, exchange};
pub use guarded::{Guarded, Request, Response};
pub use hosts::{HostPatterns, InvalidHostPattern};
pub use options::{HttpOptions, Resolver};
pub use retry_after::header_wait;
#[cfg(feature = "models")]
pub(crate) use retry_after::seconds;
pub use target::is_loopback;
