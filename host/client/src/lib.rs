//! An async client of lastword's HTTP API: typed methods of [`Client`] for everything that a host
//! does for clients, and streams of events that survive lost connections.
//!
//! ```no_run
//! use lastword_client::api::{NewRun, NewSession, NewWorkspace};
//! use lastword_client::{Client, Frame};
//! use lastword_types::event::EventBody;
//! use lastword_types::id::ClientId;
//! use lastword_types::workspace::WorkspaceKey;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::builder()
//!     .address("http://127.0.0.1:8020".parse()?)
//!     .token("the server's token")
//!     .build()?;
//!
//! // A claim on a workspace, a session in it, and a prompt, which is on disk once this returns.
//! let me = ClientId::generate();
//! let workspace = client
//!     .open_workspace(&NewWorkspace::new(me, &WorkspaceKey::name("notes")))
//!     .await?;
//! let session = client
//!     .new_session(workspace.id, &NewSession::with("assistant"))
//!     .await?;
//! let run = client
//!     .prompt(session.id, &NewRun::text("What is new?"), "a-key-of-mine")
//!     .await?;
//!
//! // The events of the run until its end; a lost connection is opened again.
//! let mut events = client.run_events(run.run);
//! while let Some(frame) = events.next().await {
//!     if let Frame::Event(event) = frame?
//!         && let EventBody::TextDelta { text, .. } = event.body
//!     {
//!         print!("{text}");
//!     }
//! }
//! client.retire(me).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Guarantees
//!
//! * **Streams** ([`Events`]) continue after the last event that was returned, over any number of
//!   connections: no event is missed or repeated.
//! * **A prompt is accepted once**, even if its response was lost: it is sent again with the
//!   caller's key, by which the host recognizes it. The same holds for answers, forks and resumed
//!   runs.
//! * **Errors** ([`ClientError`]) say whether the server refused ([`ClientError::problem`], with
//!   the names of [`api::problem::KINDS`]) or was not reached, and whether a repeated request may
//!   help.
//! * **The server** is reached at an address (`http`, `https`), through a unix socket, or through
//!   any [`Transport`]: `lastword_server::in_process` is one in this process, without a socket or a
//!   token.
//!
//! [`Client`] and what it returns need a tokio runtime with timers.

mod address;
mod builder;
mod client;
mod error;
mod events;
mod http_transport;
mod requests;
mod transport;

pub use address::Address;
pub use builder::ClientBuilder;
pub use client::Client;
pub use error::{ClientError, Refusal};
pub use events::{Events, Frame};
pub use lastword_api as api;
pub use transport::{BodyStream, ServiceTransport, Transport, TransportError};
