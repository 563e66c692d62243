//! The HTTP API of a host: an axum router over a [`lastword::Host`], for programs that serve it and
//! for embedders that add it to their own routes.
//!
//! ```no_run
//! use lastword_server::{BearerToken, Listener, ServerOptions, Token, router, serve};
//! use std::sync::Arc;
//!
//! # async fn example(host: lastword::Host) -> Result<(), Box<dyn std::error::Error>> {
//! let token = Token::read_or_create("/run/user/1000/lastword/token")?;
//! let authorizer = Arc::new(BearerToken::new(&token));
//! let listener = Listener::tcp("127.0.0.1:8020".parse()?, &*authorizer).await?;
//! let options = ServerOptions::default();
//! let router = router(host.clone(), authorizer, options.clone());
//!
//! let stopping = async {
//!     tokio::signal::ctrl_c().await.ok();
//!     host.drain().await; // ends the runs; streams report their ends
//! };
//! // Until the runs have ended: `Host::closing` would end the streams before that.
//! let serving = serve(vec![listener], router, &options, host.drained());
//! tokio::join!(serving, stopping);
//!
//! options.tasks.close();
//! options.tasks.wait().await; // work that was accepted from clients that are gone
//! host.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Guarantees
//!
//! * A prompt gets the status 202 once it is durable. A client that disconnects withdraws nothing:
//!   neither a prompt that was sent completely, nor a run.
//! * Streams are read from the log. With `Last-Event-ID` a client continues after any event,
//!   without a gap; a slow reader delays no other. If a stream ends early, the client can
//!   reconnect.
//! * Errors are `application/problem+json` with the names of [`problem::KINDS`], including those
//!   for an unknown route, a malformed body and a panic.
//! * If a caller may not see something, the server responds as if it did not exist.
//! * Nothing here is process-global, and only the listeners given to [`serve`] listen.

pub mod access;
#[expect(
    unused_qualifications,
    reason = "the macros that describe routes write the names of parameters in full"
)]
mod api;
mod drain;
mod guard;
mod metrics;
mod observe;
mod options;
pub mod problem;
mod serve;

pub use access::{
    Action, Anyone, Arrival, Authorizer, BearerToken, FirstOf, Principal, ThisProcess, Token,
    TokenError, TokenFile, Unauthenticated, UnixOwner,
};
pub use api::{openapi, router};
pub use options::{Connections, ServerOptions};
pub use serve::{InProcess, ListenError, Listener, connect_unix, in_process, serve};

/// Compiles the program in the guide.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Guide;
