//! Access control. An [`Authorizer`] identifies the sender of a request and decides what they may
//! do. `guard.rs` calls the first part, and the routes in `api` call the second.

mod bearer;
mod local;
mod token;
mod token_file;

pub use bearer::BearerToken;
pub use local::{Anyone, FirstOf, ThisProcess, UnixOwner};
pub use token::{Token, TokenError};
pub use token_file::TokenFile;

use axum::http::HeaderMap;
use lastword::WorkspaceKey;
use lastword::permission::Rule;
use std::any::Any;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// How a request reached the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Arrival {
    /// Over TCP.
    Tcp {
        /// The address of the client.
        peer: SocketAddr,
        /// The address of the server that the client connected to.
        local: SocketAddr,
    },
    /// Over a unix socket.
    Unix {
        /// The user of the connected process, as the kernel reports it.
        uid: u32,
    },
    /// From the process that the server runs in, through [`in_process`](crate::in_process).
    InProcess,
    /// Over a listener of the embedder, which attached no arrival to the request.
    Unknown,
}

/// The sender of a request, as an [`Authorizer`] identified them.
#[derive(Clone)]
pub struct Principal {
    name: Arc<str>,
    details: Option<Arc<dyn Any + Send + Sync>>,
}

impl Principal {
    /// Creates a principal with a name for the log.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            details: None,
        }
    }

    /// Adds details that the authorizer needs later, when it decides what is allowed.
    #[must_use]
    pub fn with_details(mut self, details: impl Any + Send + Sync) -> Self {
        self.details = Some(Arc::new(details));
        self
    }

    /// Returns the name for the log.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the details that its authorizer added, if they are of this type.
    #[must_use]
    pub fn details<T: Any>(&self) -> Option<&T> {
        self.details.as_deref()?.downcast_ref()
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Principal").field(&self.name).finish()
    }
}

/// What a principal wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action<'a> {
    /// Open a workspace, claim it, and release the claim.
    Open,
    /// See a workspace, its sessions and its runs. Without it, they appear not to exist.
    Read,
    /// Create sessions, change them, and prompt their agents.
    Prompt,
    /// Stop runs and withdraw prompts.
    Cancel,
    /// Let agents of the workspace do what this rule covers: when the workspace is opened, and by
    /// an answer that allows something, even only once.
    Grant(&'a Rule),
    /// Answer questions of runs: deny an access, or give a text. To allow an access requires
    /// [`Action::Grant`] as well.
    Answer,
    /// Revoke the grant of an answer.
    Revoke,
    /// Close a workspace, even one that other clients have open.
    Close,
    /// Delete a workspace or a session with everything in it.
    Purge,
    /// See which agents are loaded. Concerns no workspace.
    ReadAgents,
    /// Load and unload agents. Concerns no workspace.
    LoadAgents,
    /// Load an agent from a file on the server's machine. Concerns no workspace.
    LoadFiles,
    /// Retire a client, which ends its claims on all workspaces. Concerns no workspace.
    Retire,
    /// See the server's own figures. Concerns no workspace.
    Administrate,
}

/// Why the sender of a request is unknown, and what a person can do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unauthenticated(pub String);

/// Identifies senders of requests, and decides what they may do.
#[async_trait::async_trait]
pub trait Authorizer: Send + Sync + 'static {
    /// Identifies the sender of a request with these headers.
    ///
    /// # Errors
    /// [`Unauthenticated`], for which the server responds with 401.
    async fn authenticate(
        &self,
        headers: &HeaderMap,
        arrival: &Arrival,
    ) -> Result<Principal, Unauthenticated>;

    /// Returns whether the principal may do this, in this workspace if the action concerns one.
    async fn allows(
        &self,
        principal: &Principal,
        action: Action<'_>,
        workspace: Option<&WorkspaceKey>,
    ) -> bool;

    /// Returns whether every client that can connect is let in. A server with such an authorizer
    /// listens on loopback addresses only.
    fn is_open(&self) -> bool {
        false
    }
}
