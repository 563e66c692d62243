//! What an embedder brings to decide where no rule does.

use crate::model::CallContext;
use futures_util::future::BoxFuture;
use lastword_types::permission::Access;

/// Decides what no rule decides. Asked after deny rules and grants, before anybody is asked.
///
/// Its futures run on the embedder's runtime; dropping one must be harmless: the run was
/// stopped meanwhile. One that panics, or decides nothing within a minute, denies.
pub trait PermissionPolicy: Send + Sync + 'static {
    /// Whether this may be done, this once.
    fn decide(&self, context: CallContext, access: Access) -> BoxFuture<'static, Decision>;
}

/// What a policy says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may be done, this once.
    Allow,
    /// It may not, for this reason, which the agent reads.
    Deny(String),
    /// Somebody shall be asked; denied where nobody is there
    /// ([`WorkspaceOptions::ask`](crate::WorkspaceOptions::ask)).
    Ask,
}
