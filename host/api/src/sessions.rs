//! Requests to create, change and fork sessions.

use crate::forms::objects;
use lastword_types::id::{MessageId, SessionId};
use lastword_types::session::Todo;
use serde::{Deserialize, Serialize};

/// A new session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewSession {
    /// The name of a loaded agent.
    pub agent: String,
    /// The title. Default: made from the first prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The parent session on whose behalf the new one works, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<SessionId>,
}

impl NewSession {
    /// Creates a session with an agent, by the name under which it is loaded.
    #[must_use]
    pub fn with(agent: impl Into<String>) -> Self {
        Self {
            agent: agent.into(),
            ..Self::default()
        }
    }
}

/// Changes to a session. Members that are absent stay as they are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Changes))]
#[serde(deny_unknown_fields)]
pub struct SessionChanges {
    /// The new title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The plan that replaces the present one.
    #[serde(
        default,
        deserialize_with = "objects",
        skip_serializing_if = "Option::is_none"
    )]
    pub todo: Option<Vec<Todo>>,
}

/// A fork of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Fork {
    /// The last message that is copied.
    pub message: MessageId,
}
