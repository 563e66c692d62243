//! Ids: one type for each kind of thing, so that the id of a run cannot be used as that of a
//! session.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// A text that is not an id of the expected kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {kind} id: expected a UUID like 01990b6e-7c1d-7aa0-9f2e-0c5a4d1b7e55")]
pub struct InvalidId {
    text: String,
    kind: &'static str,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident, $kind:literal;)*) => {$(
        $(#[$doc])*
        ///
        /// A UUIDv7: unique, and ordered by time of creation within one process.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Creates an id that is later than every earlier one of this process.
            #[must_use]
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }

            /// Returns the 16 bytes of the UUID, in network order.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// Creates the id with these 16 bytes.
            #[must_use]
            pub fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Uuid::try_parse(text)
                    .map(Self)
                    .map_err(|_| InvalidId { text: text.to_owned(), kind: $kind })
            }
        }
    )*};
}

ids! {
    /// Names a workspace.
    WorkspaceId, "a workspace";
    /// Names a session: one conversation with one agent.
    SessionId, "a session";
    /// Names a run: one prompt and everything that followed from it.
    RunId, "a run";
    /// Names a message of a session.
    MessageId, "a message";
    /// Names a question that a run asked.
    QuestionId, "a question";
    /// Names something that was granted for more than one call.
    GrantId, "a grant";
    /// Names a client, which chooses the id: any UUID.
    ClientId, "a client";
}

/// The name of a loaded component, chosen by the embedder and never by the component. Sessions,
/// grants and state are keyed by it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct AgentId(String);

/// The largest number of bytes of an [`AgentId`].
pub const AGENT_ID_BYTES_MAX: usize = 128;

impl AgentId {
    /// Creates the id from a name of 1 to [`AGENT_ID_BYTES_MAX`] bytes without control characters.
    ///
    /// # Errors
    /// [`InvalidAgentId`] for a name that is empty, too long or contains control characters.
    pub fn new(name: impl Into<String>) -> Result<Self, InvalidAgentId> {
        let name = name.into();
        let fits = (1..=AGENT_ID_BYTES_MAX).contains(&name.len());
        if fits && !name.chars().any(char::is_control) && !name.trim().is_empty() {
            Ok(Self(name))
        } else {
            Err(InvalidAgentId)
        }
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for AgentId {
    type Err = InvalidAgentId;

    fn from_str(name: &str) -> Result<Self, InvalidAgentId> {
        Self::new(name)
    }
}

impl fmt::Debug for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AgentId({:?})", self.0)
    }
}

/// A name that cannot be an [`AgentId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an agent's name must have 1 to {AGENT_ID_BYTES_MAX} bytes and no control characters")]
pub struct InvalidAgentId;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_s_name_is_read_as_it_is_written() {
        let id = AgentId::new("census").expect("a name");
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in ["", " ", "a\nb", &"a".repeat(AGENT_ID_BYTES_MAX + 1)] {
            assert_eq!(text.parse::<AgentId>(), Err(InvalidAgentId), "{text:?}");
        }
    }
}
