//! Sessions: beginning, changing and forking them.

use crate::forms::objects;
use lastword_types::id::{MessageId, SessionId};
use lastword_types::session::Todo;
use serde::{Deserialize, Serialize};

/// With whom to talk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewSession {
    /// The name of a loaded agent.
    pub agent: String,
    /// A title; otherwise the first prompt makes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The session for which this one works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<SessionId>,
}

impl NewSession {
    /// A session with an agent, by the name under which that is loaded.
    #[must_use]
    pub fn with(agent: impl Into<String>) -> Self {
        Self {
            agent: agent.into(),
            ..Self::default()
        }
    }
}

/// What to change. What is not named stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Changes))]
#[serde(deny_unknown_fields)]
pub struct SessionChanges {
    /// A new title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// A new list instead of the one that it has.
    #[serde(
        default,
        deserialize_with = "objects",
        skip_serializing_if = "Option::is_none"
    )]
    pub todo: Option<Vec<Todo>>,
}

/// Up to where to copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Fork {
    /// The last message of the history that the copy has.
    pub message: MessageId,
}
