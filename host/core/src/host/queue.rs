//! The queue of a session as an embedder sees it: listed, edited, withdrawn one by one.

use super::attachments::Attachments;
use super::{HostError, Session, bounds};
use crate::run::{Cause, Origin, Receipt, RunState};
use lastword_store::{EditQueued, QueuedRow, Refusal, StoreError};
use lastword_types::clock::UnixMillis;
use lastword_types::id::{RunId, SessionId};
use lastword_types::session::Part;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A prompt that waits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct QueuedRun {
    /// Its run.
    pub run: RunId,
    /// `queued`, or `held` until it is resumed.
    pub state: RunState,
    /// What began it: `user`, `parent`, `resume`, `wake` or `answer`.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub origin: Origin,
    /// What is asked.
    pub parts: Vec<Part>,
    /// The caller's idempotency key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// How long the run may take once it is running, if it is not the limits' own deadline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
    /// When it was accepted.
    pub accepted_ms: UnixMillis,
}

impl From<QueuedRow> for QueuedRun {
    fn from(row: QueuedRow) -> Self {
        let millis = |deadline: std::time::Duration| u64::try_from(deadline.as_millis());
        Self {
            run: row.id,
            state: row.state,
            origin: row.prompt.origin,
            parts: row.prompt.parts,
            key: row.key,
            deadline_ms: row.prompt.deadline.and_then(|d| millis(d).ok()),
            accepted_ms: row.accepted_ms,
        }
    }
}

/// What shall be different about a prompt that waits. What is not named stays as it is.
#[derive(Clone, Default, PartialEq)]
pub struct Edit {
    said: Option<Vec<Part>>,
    attached: Option<Attachments>,
}

impl Edit {
    /// Says this instead. What is attached stays.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::default().say(vec![Part::text(text)])
    }

    /// Says these parts instead. What is attached stays.
    #[must_use]
    pub fn say(mut self, parts: Vec<Part>) -> Self {
        self.said = Some(parts);
        self
    }

    /// Removes the attachments.
    #[must_use]
    pub fn detach(mut self) -> Self {
        self.attached = Some(Attachments::default());
        self
    }

    /// Attaches this in place of what is attached now; called again, beside each other. Bounds
    /// as for [`Prompt::attach`](crate::Prompt::attach).
    #[must_use]
    pub fn attach(
        mut self,
        media_type: impl Into<String>,
        name: Option<String>,
        bytes: Vec<u8>,
    ) -> Self {
        let attached = self.attached.get_or_insert_default();
        attached.add(media_type.into(), name, bytes);
        self
    }
}

/// All that is asked, in place of all that is asked now.
impl From<Vec<Part>> for Edit {
    fn from(parts: Vec<Part>) -> Self {
        let mut edit = Self::default().detach();
        let (data, said) = parts.into_iter().partition(Part::is_data);
        edit.attached.get_or_insert_default().parts = data;
        edit.say(said)
    }
}

impl Edit {
    fn of(self, session: SessionId, run: RunId) -> EditQueued {
        let (attached, blobs) = match self.attached {
            Some(Attachments { parts, blobs }) => (Some(parts), blobs),
            None => (None, Vec::new()),
        };

        EditQueued {
            session,
            run,
            said: self.said,
            attached,
            blobs,
        }
    }
}

impl fmt::Debug for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the bytes: the parts already describe the attachments.
        let attached = self.attached.as_ref().map(|attached| &attached.parts);
        f.debug_struct("Edit")
            .field("said", &self.said)
            .field("attached", &attached)
            .finish()
    }
}

impl Session {
    /// The prompts that wait, in the order in which they were accepted.
    ///
    /// Dropping the future has no effect.
    ///
    /// # Errors
    /// [`HostError::UnknownSession`], or when the store cannot be read.
    pub async fn queue(&self) -> Result<Vec<QueuedRun>, HostError> {
        let rows = self.host.inner.store.queued(self.id).await?;
        Ok(rows.into_iter().map(QueuedRun::from).collect())
    }

    /// Asks something else with a prompt that waits.
    ///
    /// Dropping the future after its first poll does not undo the change.
    ///
    /// # Errors
    /// [`HostError::RunStarted`] when it waits no more; [`HostError::UnknownRun`];
    /// [`HostError::EmptyPrompt`] when nothing would be left to ask; [`HostError::Invalid`] as
    /// for [`Session::prompt`].
    pub async fn edit_queued(
        &self,
        run: RunId,
        edit: impl Into<Edit>,
    ) -> Result<QueuedRun, HostError> {
        let edit = edit.into();
        if let Some(attached) = &edit.attached {
            attached.check()?;
        }
        if let Some(said) = &edit.said {
            bounds::check_parts(said)?;
        }

        let store = &self.host.inner.store;
        match store.execute(edit.of(self.id, run)).await {
            Ok(row) => Ok(row.into()),
            Err(StoreError::Refused(Refusal::WrongState)) => Err(HostError::RunStarted(run)),
            Err(StoreError::Refused(Refusal::Empty)) => {
                Err(HostError::EmptyPrompt(self.agent.clone()))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Takes a prompt back that waits; unlike [`Run::cancel`](crate::Run::cancel), leaves one
    /// alone that has started.
    ///
    /// Dropping the future leaves the prompt as it is, or withdrawn.
    ///
    /// # Errors
    /// [`HostError::RunStarted`] when it waits no more; [`HostError::UnknownRun`].
    pub async fn withdraw(&self, run: RunId) -> Result<Receipt, HostError> {
        let handle = self.run(run);
        let at = handle.stored().await?;
        if at.session != self.id {
            return Err(HostError::UnknownRun(run));
        }

        let dispatcher = &self.host.inner.dispatcher;
        if let Some(live) = dispatcher.live(run) {
            if !dispatcher.withdraw_waiting(&live) {
                return Err(HostError::RunStarted(run));
            }
            let receipt = dispatcher.ended_or_provisional(&live).await;
            return Ok(Receipt::clone(&receipt));
        }

        match at.state {
            RunState::Held => handle.take_back(&at, Cause::User).await,
            _ => Err(HostError::RunStarted(run)),
        }
    }
}
