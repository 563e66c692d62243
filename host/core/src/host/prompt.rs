//! The prompt that an embedder sends to an agent.

use super::attachments::Attachments;
use super::{HostError, bounds};
use lastword_types::id::ClientId;
use lastword_types::session::Part;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// A prompt to an agent: its content, and the options of its run.
#[derive(Clone, Default, PartialEq)]
pub struct Prompt {
    pub(super) parts: Vec<Part>,
    pub(super) attached: Attachments,
    pub(super) key: Option<String>,
    pub(super) deadline: Option<Duration>,
    pub(super) config: Option<String>,
    pub(super) bound_to: Option<ClientId>,
    pub(super) labels: BTreeMap<String, String>,
}

impl Prompt {
    /// Creates a prompt with a text. An empty one becomes the agent's default prompt.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            parts: vec![Part::text(text)],
            ..Self::default()
        }
    }

    /// Sets the caller's idempotency key: another prompt with the same key and content returns the
    /// same run and starts nothing. Unique per session, and kept as long as the run.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Sets the longest time that the run may take after its start. Default: the deadline of the
    /// limits.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Sets the agent's configuration for this run, as JSON text. Default: `{}`, which stands for
    /// the agent's own defaults. Any other is held to the schema in the agent's manifest: to the
    /// required members, and to the types of the members at the top.
    #[must_use]
    pub fn config(mut self, json: impl Into<String>) -> Self {
        self.config = Some(json.into());
        self
    }

    /// Replaces the text by these parts.
    #[must_use]
    pub fn parts(parts: Vec<Part>) -> Self {
        Self {
            parts,
            ..Self::default()
        }
    }

    /// Attaches bytes, such as an image. They are stored with the prompt, the agent reads them as a
    /// data part after the text, and models that accept the media type receive them. At most
    /// [`ATTACHMENTS_MAX`](crate::ATTACHMENTS_MAX) attachments of at most
    /// [`ATTACHMENT_BYTES_MAX`](crate::ATTACHMENT_BYTES_MAX) bytes each and
    /// [`ATTACHED_BYTES_MAX`](crate::ATTACHED_BYTES_MAX) bytes together. Sending a prompt that
    /// exceeds this, or has an invalid media type, fails with
    /// [`HostError::Invalid`](crate::HostError::Invalid).
    #[must_use]
    pub fn attach(
        mut self,
        media_type: impl Into<String>,
        name: Option<String>,
        bytes: Vec<u8>,
    ) -> Self {
        self.attached.add(media_type.into(), name, bytes);
        self
    }

    /// Stops the run, with the cause `client-gone`, once this client's claim on the workspace ends.
    /// Default: a run does not depend on the client that asked for it.
    #[must_use]
    pub fn bound_to(mut self, client: ClientId) -> Self {
        self.bound_to = Some(client);
        self
    }

    /// Adds a label: a name and a value that the host passes to the embedder's providers and
    /// policies with every call of the run ([`CallContext::labels`]), such as a customer or an
    /// account. Runs that continue this one, and runs that it starts, have the same labels. Agents
    /// do not see them. A label of the same name is replaced.
    ///
    /// At most [`LABELS_MAX`](crate::LABELS_MAX), each with a name of 1 to
    /// [`LABEL_NAME_BYTES_MAX`](crate::LABEL_NAME_BYTES_MAX) bytes (letters, digits, `.`, `_`, `-`
    /// and `/`) and a value of at most [`LABEL_VALUE_BYTES_MAX`](crate::LABEL_VALUE_BYTES_MAX)
    /// bytes without control characters; otherwise the prompt is refused with
    /// [`HostError::Invalid`](crate::HostError::Invalid). They are stored with the prompt as they
    /// are, so they must not hold secrets.
    ///
    /// [`CallContext::labels`]: crate::model::CallContext::labels
    #[must_use]
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    /// Refuses values that exceed the bounds.
    pub(super) fn check(&self) -> Result<(), HostError> {
        bounds::check_parts(&self.parts)?;
        self.config
            .as_deref()
            .map_or(Ok(()), bounds::check_config)?;
        bounds::check_labels(&self.labels)?;
        self.key.as_deref().map_or(Ok(()), bounds::check_key)
    }

    /// Whether the content is only white space.
    pub(super) fn is_empty(&self) -> bool {
        self.attached.parts.is_empty() && self.parts.iter().all(Part::is_blank)
    }
}

impl fmt::Debug for Prompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the bytes: the parts already describe the attachments.
        f.debug_struct("Prompt")
            .field("parts", &self.parts)
            .field("attached", &self.attached.parts)
            .field("key", &self.key)
            .field("labels", &self.labels)
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
