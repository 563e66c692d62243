//! The embedder's handle to a run.

use super::events::Events;
use super::live::{LiveRun, NoEnd};
use super::{Cause, Receipt, RunOutcome, RunState, RunSummary};
use crate::host::{Host, HostError};
use lastword_store::{RunAt, StoreError, Withdraw};
use lastword_types::event::Seq;
use lastword_types::id::{RunId, SessionId};
use std::fmt;
use std::sync::Arc;

/// A run that was accepted. Dropping the handle changes nothing: the run belongs to its
/// workspace.
#[derive(Clone)]
pub struct Run {
    pub(crate) host: Host,
    pub(crate) id: RunId,
    pub(crate) session: SessionId,
    /// `None` if it had ended or was held when the handle was created.
    pub(crate) live: Option<Arc<LiveRun>>,
}

impl Run {
    /// Returns the run's id.
    #[must_use]
    pub fn id(&self) -> RunId {
        self.id
    }

    /// Returns the id of the run's session.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// Returns the run's events from its first one, past and future; the stream ends after
    /// `run.ended`. If the events were folded away, they are rebuilt from the run's messages and
    /// its receipt: with whole texts, and with `seq` and `pos` 0.
    #[must_use]
    pub fn events(&self) -> Events {
        Events::of_run(self.host.clone(), self.session, self.id)
    }

    /// Returns the run's events after one that was read before.
    #[must_use]
    pub fn events_after(&self, seq: Seq) -> Events {
        self.events().after(seq)
    }

    /// Returns the run's stored state, or `finishing` as soon as its agent has returned or the run
    /// was stopped.
    ///
    /// Dropping the future has no effect.
    ///
    /// # Errors
    /// [`HostError::UnknownRun`], or when the store cannot be read.
    pub async fn state(&self) -> Result<RunState, HostError> {
        let stored = self.stored().await?.state;
        Ok(self.host.inner.dispatcher.standing(self.id, stored))
    }

    /// Returns the run without its messages, as [`Session::list_runs`](crate::Session::list_runs)
    /// does, with the state of [`Run::state`].
    ///
    /// Dropping the future has no effect.
    ///
    /// # Errors
    /// [`HostError::UnknownRun`], or when the store cannot be read.
    pub async fn summary(&self) -> Result<RunSummary, HostError> {
        let dispatcher = &self.host.inner.dispatcher;
        let mut run = dispatcher.store.run_summary(self.id).await?;
        run.state = dispatcher.standing(self.id, run.state);
        Ok(run)
    }

    /// Stops the run as [`Run::cancel`] does, but does not wait for its end. Returns whether there
    /// was a live run to stop. A run that has ended or is held stays as it is; [`Run::cancel`]
    /// withdraws a held one. Wait for the end with [`Run::ended`] or the run's events. Idempotent;
    /// may be called from any thread, within a runtime or not.
    pub fn stop(&self) -> bool {
        let dispatcher = &self.host.inner.dispatcher;
        let Some(live) = dispatcher.live(self.id) else {
            return false;
        };

        let goes_on = live.try_ended().is_none() && !live.has_no_end();
        if goes_on {
            dispatcher.stop(&live, &Cause::User);
        }

        goes_on
    }

    /// Stops the run, and returns its receipt once its end is on disk. A queued or held run is
    /// withdrawn; for a run that has ended, this returns its existing receipt. Idempotent.
    ///
    /// If the store takes longer than the finishing write's deadline, the receipt is
    /// provisional: `state: finishing`, `persisted: false`.
    ///
    /// Dropping the future does not undo the cancel.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn cancel(&self) -> Result<Receipt, HostError> {
        self.stop_for(Cause::User).await
    }

    /// Like [`Run::cancel`], with the cause that the run's client is gone.
    ///
    /// Dropping the future does not undo the stop.
    ///
    /// # Errors
    /// As for [`Run::cancel`].
    pub async fn client_gone(&self) -> Result<Receipt, HostError> {
        self.stop_for(Cause::ClientGone).await
    }

    /// Like [`Run::cancel`], with the cause that the run's parent has ended.
    ///
    /// Dropping the future does not undo the stop.
    ///
    /// # Errors
    /// As for [`Run::cancel`].
    pub async fn parent_ended(&self) -> Result<Receipt, HostError> {
        self.stop_for(Cause::Parent).await
    }

    async fn stop_for(&self, cause: Cause) -> Result<Receipt, HostError> {
        if let Some(receipt) = self.try_ended() {
            return Ok(receipt);
        }

        // Not the handle's own `live`: a run that was held and resumed has a new one.
        let dispatcher = &self.host.inner.dispatcher;
        if let Some(live) = dispatcher.live(self.id) {
            dispatcher.stop(&live, &cause);
            let receipt = dispatcher.ended_or_provisional(&live).await;
            if !live.has_no_end() {
                return Ok(Receipt::clone(&receipt));
            }
        }
        if let Some(receipt) = self.host.inner.dispatcher.store.receipt(self.id).await? {
            return Ok(receipt);
        }

        let at = self.stored().await?;
        match at.state {
            RunState::Held => self.take_back(&at, cause).await,
            // Its row has no end, but this process has no such live run.
            _ => Err(HostError::StoreUnavailable(
                "the end of this run is left to the host's next start".to_owned(),
            )),
        }
    }

    /// Ends a held run.
    pub(crate) async fn take_back(&self, at: &RunAt, cause: Cause) -> Result<Receipt, HostError> {
        let withdraw = Withdraw {
            runs: vec![at.id],
            ending: RunOutcome::of(cause),
        };

        match self.host.inner.dispatcher.store.execute(withdraw).await {
            Ok(receipts) => receipts
                .into_iter()
                .next()
                .ok_or(HostError::UnknownRun(self.id)),
            // Another caller has withdrawn or resumed it first.
            Err(StoreError::Refused(_)) => self.receipt().await,
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the run's receipt, if its end is on disk and the run was live when this handle was
    /// made.
    #[must_use]
    pub fn try_ended(&self) -> Option<Receipt> {
        self.live
            .as_ref()?
            .try_ended()
            .map(|receipt| Receipt::clone(&receipt))
    }

    /// Waits for the run's end, however long that takes.
    ///
    /// Dropping the future has no effect.
    ///
    /// # Errors
    /// [`HostError::Held`] when it is held; [`HostError::StoreUnavailable`] when the end
    /// cannot reach the disk in this process: the next host's recovery writes it;
    /// [`HostError::UnknownRun`].
    pub async fn ended(&self) -> Result<Receipt, HostError> {
        let dispatcher = &self.host.inner.dispatcher;
        // Not the handle's own `live` first: a run that was held and resumed has a new one.
        let live = match dispatcher.live(self.id).or_else(|| self.live.clone()) {
            Some(live) => live,
            None => match self.receipt().await {
                // It was resumed in the meantime, has just ended, or is left to recovery.
                Err(HostError::NotEnded { .. }) => match dispatcher.live(self.id) {
                    Some(live) => live,
                    None => return self.receipt().await,
                },
                answer => return answer,
            },
        };

        match live.ended().await {
            Ok(receipt) => Ok(Receipt::clone(&receipt)),
            Err(NoEnd::Held) => Err(HostError::Held(self.id)),
            Err(NoEnd::Lost(error)) => Err(error.into()),
        }
    }

    /// Returns the run's stored receipt.
    ///
    /// Dropping the future has no effect.
    ///
    /// # Errors
    /// [`HostError::NotEnded`] when it has none yet, [`HostError::Held`] when it waits to be
    /// resumed; [`HostError::UnknownRun`].
    pub async fn receipt(&self) -> Result<Receipt, HostError> {
        if let Some(receipt) = self.host.inner.dispatcher.store.receipt(self.id).await? {
            return Ok(receipt);
        }
        let run = self.id;
        match self.stored().await?.state {
            RunState::Held => Err(HostError::Held(run)),
            state => Err(HostError::NotEnded { run, state }),
        }
    }

    pub(crate) async fn stored(&self) -> Result<RunAt, HostError> {
        Ok(self.host.inner.dispatcher.store.run(self.id).await?)
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
