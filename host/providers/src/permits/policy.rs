//! The policy of an embedder, which decides where no rule does.

use crate::model::CallContext;
use futures_util::future::BoxFuture;
use lastword_types::permission::Access;

/// Decides accesses that no rule covers. Called after deny rules and grants, before a person is
/// asked.
///
/// Its futures run on the embedder's runtime; dropping one must be harmless: the run was stopped
/// meanwhile. One that panics, or decides nothing within a minute, denies.
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
    /// A person is asked; denied if none can be
    /// (`lastword::WorkspaceOptions::ask`).
    Ask,
}
