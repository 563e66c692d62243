//! Permission checks of tools and guests: by rules, grants, policy, or a question to a person. The
//! host implements [`Authorize`].

mod policy;

pub use policy::{Decision, PermissionPolicy};

use crate::tools::{ToolError, ToolErrorKind};
use futures_util::future::BoxFuture;
use lastword_types::permission::{Access, Rule};
use std::fmt;
use std::sync::Arc;

/// The handle that a tool calls before it uses a capability. Cheap to clone.
#[derive(Clone)]
pub struct PermissionChecker {
    decider: Arc<dyn Authorize>,
}

/// Decides whether an access is allowed.
pub trait Authorize: Send + Sync + 'static {
    /// Returns the decision; may wait for a person. Dropping the future withdraws the question.
    fn authorize(&self, access: Access) -> BoxFuture<'static, Result<Allowed, Denied>>;
}

/// Why an access is allowed.
#[derive(Clone, Debug)]
pub enum Allowed {
    /// By the run's rules, and these, which earlier answers granted.
    ByRules(Vec<Rule>),
    /// By a decision that is for this access only.
    Once,
}

/// The access is not allowed. The message says which decision denied it, and what would allow it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Denied(pub String);

impl PermissionChecker {
    /// Creates a checker that asks `decider`.
    pub fn new(decider: Arc<dyn Authorize>) -> Self {
        Self { decider }
    }

    /// Returns once the access is allowed. May wait for a person.
    ///
    /// # Errors
    ///
    /// [`Denied`], which says which decision denied it, and what would allow it.
    pub async fn require(&self, access: Access) -> Result<(), Denied> {
        self.authorize(access).await.map(|_| ())
    }

    /// As [`PermissionChecker::require`], but returns why the access is allowed.
    pub async fn authorize(&self, access: Access) -> Result<Allowed, Denied> {
        self.decider.authorize(access).await
    }
}

impl From<Denied> for ToolError {
    fn from(denied: Denied) -> Self {
        Self::new(ToolErrorKind::Denied, denied.0)
    }
}

impl fmt::Debug for PermissionChecker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permits").finish_non_exhaustive()
    }
}

/// Test support: scripted decisions.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use std::sync::{Mutex, PoisonError};

    /// Allows or denies everything, and records the accesses.
    pub(crate) struct Scripted {
        allows: bool,
        pub(crate) asked: Mutex<Vec<Access>>,
    }

    impl Scripted {
        pub(crate) fn new(allows: bool) -> Arc<Self> {
            Arc::new(Self {
                allows,
                asked: Mutex::default(),
            })
        }

        pub(crate) fn permits(self: &Arc<Self>) -> PermissionChecker {
            PermissionChecker::new(Arc::clone(self) as _)
        }

        pub(crate) fn asked(&self) -> Vec<Access> {
            self.asked
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone()
        }
    }

    impl Authorize for Scripted {
        fn authorize(&self, access: Access) -> BoxFuture<'static, Result<Allowed, Denied>> {
            let denied = Denied(format!("{} is not allowed", access.title));
            self.asked
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(access);

            let answer = if self.allows {
                Ok(Allowed::Once)
            } else {
                Err(denied)
            };
            Box::pin(std::future::ready(answer))
        }
    }
}
