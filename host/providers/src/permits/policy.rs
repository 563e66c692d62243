//! An embedder's policy, which decides if no rule does.

use crate::model::CallContext;
use futures_util::future::BoxFuture;
use lastword_types::permission::Access;

/// Decides accesses that no rule covers. Called after deny rules and grants, before a person is
/// asked.
/// Its futures run on the embedder's runtime. Dropping one must be harmless: the host drops it if
/// the run is stopped meanwhile. A policy that panics, or does not decide within a minute, denies.
pub trait PermissionPolicy: Send + Sync + 'static {
    /// Decides on this access, for this time only.
    fn decide(&self, context: CallContext, access: Access) -> BoxFuture<'static, Decision>;
}

/// The decision of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The access is allowed, this once.
    Allow,
    /// The access is denied, for this reason, which the agent reads.
    Deny(String),
    /// A person is asked; the access is denied if no person can be asked
    /// (`lastword::WorkspaceOptions::ask`).
    Ask,
}
