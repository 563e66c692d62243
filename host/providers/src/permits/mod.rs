//! Deciding whether what a tool or a guest is about to do is allowed: by rules, by grants, by
//! policy, and by asking somebody. Knows neither tools nor how a question reaches a person.

mod policy;

pub use policy::{Decision, PermissionPolicy};

use crate::tools::{ToolError, ToolErrorKind};
use futures_util::future::BoxFuture;
use lastword_types::permission::{Access, Rule};
use std::fmt;
use std::sync::Arc;

/// Where a tool asks before it does what needs a capability. A cloneable handle.
#[derive(Clone)]
pub struct Permits {
    decider: Arc<dyn Decide>,
}

/// Somebody who decides.
pub trait Decide: Send + Sync + 'static {
    /// Returns once it is decided; may wait for a person. Dropping the future takes the question back.
    fn decide(&self, access: Access) -> BoxFuture<'static, Result<Allowed, Denied>>;
}

/// By what something is allowed.
#[derive(Clone, Debug)]
pub enum Allowed {
    /// By the run's rules, and by these, which answers granted before.
    ByRules(Vec<Rule>),
    /// By somebody who decided it, this once.
    Once,
}

/// It is not allowed: who said so, and what would allow it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Denied(pub String);

impl Permits {
    /// Permits that this decider gives.
    pub fn new(decider: Arc<dyn Decide>) -> Self {
        Self { decider }
    }

    /// Returns once it is allowed. May wait for a person.
    ///
    /// # Errors
    /// [`Denied`], with who said so and what would allow it.
    pub async fn require(&self, access: Access) -> Result<(), Denied> {
        self.settle(access).await.map(|_| ())
    }

    /// The same, and answers by what it is allowed.
    pub async fn settle(&self, access: Access) -> Result<Allowed, Denied> {
        self.decider.decide(access).await
    }
}

impl From<Denied> for ToolError {
    fn from(denied: Denied) -> Self {
        Self::new(ToolErrorKind::Denied, denied.0)
    }
}

impl fmt::Debug for Permits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permits").finish_non_exhaustive()
    }
}

/// Deciders for tests of what asks them.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use std::sync::{Mutex, PoisonError};

    /// Allows or denies everything, and remembers what it was asked.
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

        pub(crate) fn permits(self: &Arc<Self>) -> Permits {
            Permits::new(Arc::clone(self) as _)
        }

        pub(crate) fn asked(&self) -> Vec<Access> {
            self.asked
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone()
        }
    }

    impl Decide for Scripted {
        fn decide(&self, access: Access) -> BoxFuture<'static, Result<Allowed, Denied>> {
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
