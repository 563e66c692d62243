//! A run as an embedder holds it.

use super::dispatcher::Dispatcher;
use super::events::Events;
use super::live::LiveRun;
use super::{Cause, Receipt};
use crate::event::Seq;
use crate::host::HostError;
use crate::id::{RunId, SessionId};
use crate::store::SessionNo;
use std::fmt;
use std::sync::Arc;

/// A run that was accepted. Dropping the handle changes nothing: the run belongs to its
/// workspace.
#[derive(Clone)]
pub struct Run {
    pub(crate) dispatcher: Arc<Dispatcher>,
    pub(crate) id: RunId,
    pub(crate) session: SessionId,
    pub(crate) session_no: SessionNo,
    /// `None` once it has its end.
    pub(crate) live: Option<Arc<LiveRun>>,
}

impl Run {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> RunId {
        self.id
    }

    /// The session that it belongs to.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// The run's events from its first one, past and future; the stream ends after
    /// `run.ended`.
    #[must_use]
    pub fn events(&self) -> Events {
        Events::of_run(
            self.dispatcher.store.clone(),
            self.session,
            self.session_no,
            self.id,
        )
    }

    /// The same, after an event that was seen before.
    #[must_use]
    pub fn events_after(&self, seq: Seq) -> Events {
        self.events().after(seq)
    }

    /// Stops the run, and answers once its end is on disk. A run that has ended already
    /// answers with the end that it has. Idempotent.
    ///
    /// If the store takes longer than the finishing write's deadline, the receipt is
    /// provisional: `state: finishing`, `persisted: false`.
    ///
    /// Dropping the future does not take the cancel back.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn cancel(&self) -> Result<Receipt, HostError> {
        self.stop(Cause::User).await
    }

    /// As [`Run::cancel`], because the client that the run was bound to went away.
    ///
    /// # Errors
    /// As [`Run::cancel`].
    pub async fn client_gone(&self) -> Result<Receipt, HostError> {
        self.stop(Cause::ClientGone).await
    }

    /// As [`Run::cancel`], because the run that had started it ended.
    ///
    /// # Errors
    /// As [`Run::cancel`].
    pub async fn parent_ended(&self) -> Result<Receipt, HostError> {
        self.stop(Cause::Parent).await
    }

    async fn stop(&self, cause: Cause) -> Result<Receipt, HostError> {
        let Some(live) = &self.live else {
            return self.stored().await;
        };
        self.dispatcher.stop(live, &cause);
        Ok(Receipt::clone(&*live.ended_or_provisional().await))
    }

    /// The run's end, if it is on disk already and this handle saw the run alive.
    #[must_use]
    pub fn try_ended(&self) -> Option<Receipt> {
        self.live
            .as_ref()?
            .try_ended()
            .map(|receipt| Receipt::clone(&receipt))
    }

    /// Waits for the run's end, however long that takes.
    ///
    /// # Errors
    /// [`HostError::StoreUnavailable`] when the end cannot reach the disk in this process; the
    /// next host's recovery writes it.
    pub async fn ended(&self) -> Result<Receipt, HostError> {
        match &self.live {
            Some(live) => Ok(Receipt::clone(&*live.ended().await?)),
            None => self.stored().await,
        }
    }

    async fn stored(&self) -> Result<Receipt, HostError> {
        let receipt = self.dispatcher.store.receipt(self.id).await?;
        receipt.ok_or(HostError::UnknownRun(self.id))
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
