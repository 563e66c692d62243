//! What is asked of an agent.

use super::HostError;
use crate::capability::{BLOB_BYTES_MAX, Blob, blob_of};
use crate::id::ClientId;
use crate::session::{Part, PartBody};
use std::fmt;
use std::time::Duration;

/// Bytes of the attachments of one prompt at the most, all together.
pub const ATTACHED_BYTES_MAX: usize = 20 << 20;

/// What is asked of an agent, and under which conditions.
#[derive(Clone, Default, PartialEq)]
pub struct Prompt {
    pub(super) parts: Vec<Part>,
    pub(super) attached: Vec<Blob>,
    pub(super) key: Option<String>,
    pub(super) deadline: Option<Duration>,
    pub(super) config: Option<String>,
    pub(super) bound_to: Option<ClientId>,
}

impl Prompt {
    /// A text. An empty one stands for the agent's default prompt.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            parts: vec![Part::text(text)],
            ..Self::default()
        }
    }

    /// The caller's name for this very request: the same key again answers the same run and
    /// starts nothing. Unique per session, kept as long as the run.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// How long the run may take once it is running, instead of the limits' own deadline.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// The agent's configuration for this run, as JSON text. Default: `{}`.
    #[must_use]
    pub fn config(mut self, json: impl Into<String>) -> Self {
        self.config = Some(json.into());
        self
    }

    /// These parts instead of a text.
    #[must_use]
    pub fn parts(parts: Vec<Part>) -> Self {
        Self {
            parts,
            ..Self::default()
        }
    }

    /// Adds bytes, such as an image: kept with the prompt, read by the agent as a data part and
    /// told to models that take them. At most 8 MiB each and [`ATTACHED_BYTES_MAX`] together;
    /// more is [`HostError::Invalid`] when it is asked.
    #[must_use]
    pub fn attach(
        mut self,
        media_type: impl Into<String>,
        name: Option<String>,
        bytes: Vec<u8>,
    ) -> Self {
        let length = bytes.len() as u64;
        let blob = blob_of(bytes, &mut self.attached);
        let body = PartBody::Data {
            media_type: media_type.into(),
            name,
            blob,
            bytes: length,
        };
        self.parts.push(body.into());
        self
    }

    /// Refuses attachments that are too large to be kept.
    pub(super) fn check_attached(&self) -> Result<(), HostError> {
        let lengths = self.attached.iter().map(|(_, bytes)| bytes.len());
        let (largest, sum) = lengths.fold((0, 0), |(largest, sum), length| {
            (length.max(largest), length + sum)
        });
        if largest > BLOB_BYTES_MAX {
            return Err(HostError::Invalid(format!(
                "an attachment holds {largest} bytes; each may hold {BLOB_BYTES_MAX}: put the \
                 file into the workspace instead"
            )));
        }
        if sum > ATTACHED_BYTES_MAX {
            return Err(HostError::Invalid(format!(
                "the attachments hold {sum} bytes; together they may hold {ATTACHED_BYTES_MAX}: \
                 ask with fewer, or put the files into the workspace instead"
            )));
        }
        Ok(())
    }

    /// Stops the run, with the cause `client-gone`, once this client's claim on the workspace
    /// ends. Default: a run does not depend on who asked for it.
    #[must_use]
    pub fn bound_to(mut self, client: ClientId) -> Self {
        self.bound_to = Some(client);
        self
    }

    /// Whether it holds nothing but white space.
    pub(super) fn is_empty(&self) -> bool {
        self.parts
            .iter()
            .all(|part| part.as_text().is_some_and(|text| text.trim().is_empty()))
    }
}

impl fmt::Debug for Prompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the bytes: the parts say what is attached.
        f.debug_struct("Prompt")
            .field("parts", &self.parts)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl From<&str> for Prompt {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<String> for Prompt {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}
