//! Resumes runs: a held run is put back into the queue; a run that ended early is continued by one
//! new run.

use super::{HostError, Session, bounds};
use crate::run::dispatcher::NotAccepted;
use crate::run::{Origin, Run, RunState};
use lastword_store::{HeldScope, KeepKey, Key, PromptRecord, Refusal, RunAt, StoreError};
use lastword_types::id::RunId;

/// The run to resume, and the caller's idempotency key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    run: RunId,
    key: Option<String>,
}

impl Resume {
    /// Names a run by its id.
    #[must_use]
    pub fn of(run: RunId) -> Self {
        Self { run, key: None }
    }

    /// Sets the caller's idempotency key, as [`Prompt::key`](super::Prompt::key) does.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }
}

impl From<RunId> for Resume {
    fn from(run: RunId) -> Self {
        Self::of(run)
    }
}

impl Session {
    /// Resumes a run. A held run is put back into the queue. A run that ended early, for any
    /// reason, is continued by a new run of the origin `resume`, which repeats the prompt with the
    /// earlier output in its history. A run that has not ended is returned unchanged.
    ///
    /// Concurrent calls continue a run only once: until the new run has ended, another call
    /// returns that run. The same key returns the same run for as long as it exists.
    ///
    /// Dropping the future leaves the run as it is, or resumed once; another call returns the run
    /// that continues it.
    ///
    /// # Errors
    /// [`HostError::UnknownRun`]; [`HostError::NotResumable`] for one that completed;
    /// [`HostError::AlreadyResumed`] once the run that went on has its end as well: resume that
    /// one; [`HostError::BegunByRun`] for one that another run began, whose words are not the
    /// user's; and as [`Session::prompt`].
    pub async fn resume(&self, which: impl Into<Resume>) -> Result<Run, HostError> {
        let Resume { run, key } = which.into();
        key.as_deref().map_or(Ok(()), bounds::check_key)?;
        let at = self.run(run).stored().await?;
        if at.session != self.id {
            return Err(HostError::UnknownRun(run));
        }

        let key = key.map(|word| Key::of_resume(word, run)).transpose()?;
        if let Some(key) = &key
            && let Some(known) = self.host.inner.store.known(self.id, key.clone()).await?
        {
            return Ok(self.run(known));
        }
        match at.state {
            RunState::Held => self.put_back(&at, key).await,
            RunState::Queued | RunState::Running | RunState::Finishing => {
                self.goes_on_already(&at, key).await
            }
            RunState::Cancelled | RunState::Failed | RunState::Interrupted => {
                self.resume_ended(at, key).await
            }
            state => Err(HostError::NotResumable { run, state }),
        }
    }

    async fn put_back(&self, at: &RunAt, key: Option<Key>) -> Result<Run, HostError> {
        let scope = HeldScope::Run(at.id);
        let resumed = self.host.resume_all(scope, key.clone()).await?;
        if let Some(resumed) = resumed.into_iter().next() {
            return Ok(resumed);
        }
        if self.host.agent(&self.agent).is_none() {
            return Err(HostError::UnknownAgent(self.agent.clone()));
        }

        self.host.workspace(self.workspace)?;
        match self.run(at.id).stored().await?.state {
            state @ (RunState::Held | RunState::Cancelled) => {
                Err(HostError::NotResumable { run: at.id, state })
            }
            // Another request resumed it first, and it may have ended by now.
            _ => self.goes_on_already(at, key).await,
        }
    }

    async fn goes_on_already(&self, at: &RunAt, key: Option<Key>) -> Result<Run, HostError> {
        if let Some(key) = key {
            let keep = KeepKey { run: at.id, key };
            self.host.inner.store.execute(keep).await?;
        }
        Ok(self.run(at.id))
    }

    async fn resume_ended(&self, at: RunAt, key: Option<Key>) -> Result<Run, HostError> {
        if at.prompt.origin == Origin::Parent {
            return Err(HostError::BegunByRun(at.id));
        }

        let record = PromptRecord {
            origin: Origin::Resume,
            carried: None,
            ..at.prompt
        };

        let mut job = self.host.inner.job(self, RunId::generate(), record, None)?;
        job.resumes = Some(at.id);
        let handed_in = self.hand_in(job, key).await;
        handed_in.map_err(|refused| match refused {
            NotAccepted::Store(StoreError::Refused(Refusal::Resumed { by })) => {
                HostError::AlreadyResumed { run: at.id, by }
            }
            refused => self.refused(refused),
        })
    }
}
