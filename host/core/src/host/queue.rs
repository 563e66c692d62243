//! The queue of a session: lists, edits and withdraws its prompts.

use super::attachments::Attachments;
use super::{HostError, Session, bounds};
use crate::run::{Cause, Receipt, RunState};
use lastword_store::{EditQueued, Refusal, StoreError};
use lastword_types::id::{RunId, SessionId};
use lastword_types::run::QueuedRun;
use lastword_types::session::Part;
use std::fmt;

/// Changes to a waiting prompt. Everything else stays as it is.
#[derive(Clone, Default, PartialEq)]
pub struct Edit {
    said: Option<Vec<Part>>,
    attached: Option<Attachments>,
}

impl Edit {
    /// Replaces the text. The attachments stay.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::default().say(vec![Part::text(text)])
    }

    /// Replaces the text by these parts. The attachments stay.
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

    /// Replaces the present attachments by this one; further calls add more. The bounds are those
    /// of [`Prompt::attach`](crate::Prompt::attach).
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

/// Replaces the whole content of the prompt.
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
    /// Returns the waiting prompts, in the order of acceptance.
    ///
    /// Dropping the future has no effect.
    ///
    /// # Errors
    /// [`HostError::UnknownSession`], or if the store cannot be read.
    pub async fn queue(&self) -> Result<Vec<QueuedRun>, HostError> {
        let rows = self.host.inner.store.queued(self.id).await?;
        Ok(rows.into_iter().map(QueuedRun::from).collect())
    }

    /// Changes a waiting prompt.
    ///
    /// Dropping the future after its first poll does not undo the change.
    ///
    /// # Errors
    /// [`HostError::RunStarted`] if it no longer waits; [`HostError::UnknownRun`];
    /// [`HostError::EmptyPrompt`] if the prompt would be empty; [`HostError::Invalid`] as for
    /// [`Session::prompt`].
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

    /// Withdraws a waiting prompt. Unlike [`Run::cancel`](crate::Run::cancel), does not stop a run
    /// that has started.
    ///
    /// Dropping the future leaves the prompt as it is, or withdrawn.
    ///
    /// # Errors
    /// [`HostError::RunStarted`] if it no longer waits; [`HostError::UnknownRun`].
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
