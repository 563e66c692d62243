//! Who may do what. An [`Authorizer`] says who sends a request and decides what they may do;
//! three are provided. Knows nothing of routes, and nothing of what an action does.

mod bearer;
mod local;
mod token;

pub use bearer::BearerToken;
pub use local::{Anyone, FirstOf, ThisProcess, UnixOwner};
pub use token::{Token, TokenError};

use axum::http::HeaderMap;
use lastword::WorkspaceKey;
use lastword::permission::Rule;
use std::any::Any;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// How a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Arrival {
    /// Over TCP.
    Tcp {
        /// Who is connected.
        peer: SocketAddr,
        /// The address of this end.
        local: SocketAddr,
    },
    /// Over a unix socket.
    Unix {
        /// The user whose process is connected, as the kernel says.
        uid: u32,
    },
    /// From the process that the server runs in, through [`in_process`](crate::in_process).
    InProcess,
    /// Over a listener of the embedder's own, which said nothing of it.
    Unknown,
}

/// Who sends a request, as far as an [`Authorizer`] wants to know it.
#[derive(Clone)]
pub struct Principal {
    name: Arc<str>,
    details: Option<Arc<dyn Any + Send + Sync>>,
}

impl Principal {
    /// A principal with a name for the log.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            details: None,
        }
    }

    /// The same, with what its authorizer wants to remember until it decides.
    #[must_use]
    pub fn with_details(mut self, details: impl Any + Send + Sync) -> Self {
        self.details = Some(Arc::new(details));
        self
    }

    /// The name for the log.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its authorizer remembers.
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

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action<'a> {
    /// Open a workspace, claim it, and release the claim.
    Open,
    /// See a workspace, its sessions and its runs. What one may not read does not exist.
    Read,
    /// Begin sessions, change them, and ask their agents.
    Prompt,
    /// Stop runs and withdraw prompts.
    Cancel,
    /// Let agents of the workspace do what a rule extends to: when it is opened, and by an
    /// answer that allows something, be it only once.
    Grant(&'a Rule),
    /// Answer what runs ask: deny it, or say something. To allow takes [`Action::Grant`] too.
    Answer,
    /// Take back what an answer has granted.
    Revoke,
    /// Close a workspace whoever has it open.
    Close,
    /// Delete a workspace or a session with all that it holds.
    Purge,
    /// See which agents are loaded. Of no workspace.
    ReadAgents,
    /// Load agents and forget them. Of no workspace.
    LoadAgents,
    /// Load an agent from a file of the server's. Of no workspace.
    LoadFiles,
    /// Retire a client, which ends its claims on whatever workspace. Of no workspace.
    Retire,
    /// See the server's own figures. Of no workspace.
    Administrate,
}

/// Why a request comes from nobody: what to do about it, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unauthenticated(pub String);

/// Decides who may do what.
#[async_trait::async_trait]
pub trait Authorizer: Send + Sync + 'static {
    /// Who sends a request with these headers.
    ///
    /// # Errors
    /// [`Unauthenticated`], which is answered with 401.
    async fn authenticate(
        &self,
        headers: &HeaderMap,
        arrival: &Arrival,
    ) -> Result<Principal, Unauthenticated>;

    /// Whether they may do this, in this workspace if the action is of one.
    async fn allows(
        &self,
        principal: &Principal,
        action: Action<'_>,
        workspace: Option<&WorkspaceKey>,
    ) -> bool;

    /// Whether it lets in everybody who can connect. A server with such an authorizer
    /// listens on loopback addresses only.
    fn is_open(&self) -> bool {
        false
    }
}
