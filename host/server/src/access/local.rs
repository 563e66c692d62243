//! Authorizers that decide by how a request arrived, and [`FirstOf`], which asks several in turn.

use super::{Action, Arrival, Authorizer, Principal, Unauthenticated};
use axum::http::HeaderMap;
use lastword::WorkspaceKey;
use std::sync::Arc;

/// Lets in processes of the server's own user, over a unix socket. They may do everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct UnixOwner;

#[async_trait::async_trait]
impl Authorizer for UnixOwner {
    async fn authenticate(
        &self,
        _headers: &HeaderMap,
        arrival: &Arrival,
    ) -> Result<Principal, Unauthenticated> {
        let own = rustix::process::geteuid().as_raw();
        match arrival {
            Arrival::Unix { uid } if *uid == own => Ok(Principal::new("owner")),
            Arrival::Unix { uid } => Err(Unauthenticated(format!(
                "this server belongs to the user {own}, and you are the user {uid}"
            ))),
            _ => Err(Unauthenticated(
                "this server only answers its own user, over its unix socket".to_owned(),
            )),
        }
    }

    async fn allows(&self, _: &Principal, _: Action<'_>, _: Option<&WorkspaceKey>) -> bool {
        true
    }
}

/// Lets in requests of the process that the server runs in, which come through
/// [`in_process`](crate::in_process). They may do everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct ThisProcess;

#[async_trait::async_trait]
impl Authorizer for ThisProcess {
    async fn authenticate(
        &self,
        _headers: &HeaderMap,
        arrival: &Arrival,
    ) -> Result<Principal, Unauthenticated> {
        match arrival {
            Arrival::InProcess => Ok(Principal::new("owner")),
            _ => Err(Unauthenticated(
                "this server only answers the process that it runs in".to_owned(),
            )),
        }
    }

    async fn allows(&self, _: &Principal, _: Action<'_>, _: Option<&WorkspaceKey>) -> bool {
        true
    }
}

/// Lets in every client that connects from the same machine. They may do everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Anyone;

#[async_trait::async_trait]
impl Authorizer for Anyone {
    async fn authenticate(
        &self,
        _headers: &HeaderMap,
        arrival: &Arrival,
    ) -> Result<Principal, Unauthenticated> {
        match arrival {
            Arrival::Tcp { peer, .. } if peer.ip().to_canonical().is_loopback() => {
                Ok(Principal::new("anyone"))
            }
            Arrival::Unix { .. } => Ok(Principal::new("anyone")),
            _ => Err(Unauthenticated(
                "this server has no token, so it only answers the machine that it runs on"
                    .to_owned(),
            )),
        }
    }

    async fn allows(&self, _: &Principal, _: Action<'_>, _: Option<&WorkspaceKey>) -> bool {
        true
    }

    fn is_open(&self) -> bool {
        true
    }
}

/// Asks several authorizers; the first that knows the sender decides about them.
pub struct FirstOf(Vec<Arc<dyn Authorizer>>);

/// Which authorizer of a [`FirstOf`] identified the sender, and as which principal.
struct Known {
    by: Arc<dyn Authorizer>,
    principal: Principal,
}

impl FirstOf {
    /// Creates an authorizer that asks these, in this order.
    #[must_use]
    pub fn new(authorizers: impl Into<Vec<Arc<dyn Authorizer>>>) -> Self {
        Self(authorizers.into())
    }
}

#[async_trait::async_trait]
impl Authorizer for FirstOf {
    async fn authenticate(
        &self,
        headers: &HeaderMap,
        arrival: &Arrival,
    ) -> Result<Principal, Unauthenticated> {
        let mut why = Unauthenticated("this server answers nobody".to_owned());
        for authorizer in &self.0 {
            match authorizer.authenticate(headers, arrival).await {
                Ok(principal) => {
                    let name = Arc::clone(&principal.name);
                    let by = Arc::clone(authorizer);
                    return Ok(Principal::new(name).with_details(Known { by, principal }));
                }
                Err(unknown) => why = unknown,
            }
        }

        Err(why)
    }

    async fn allows(
        &self,
        principal: &Principal,
        action: Action<'_>,
        workspace: Option<&WorkspaceKey>,
    ) -> bool {
        match principal.details::<Known>() {
            Some(known) => known.by.allows(&known.principal, action, workspace).await,
            None => false,
        }
    }

    fn is_open(&self) -> bool {
        self.0.iter().any(|authorizer| authorizer.is_open())
    }
}
