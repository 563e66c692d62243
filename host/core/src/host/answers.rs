//! Questions and grants as an embedder sees them: listing open questions, answering them, listing
//! grants, and revoking them.

use super::{Host, HostError, Session, Workspace, bounds};
use crate::guest::questions::{Refused, Resolved};
use crate::run::{Origin, Run};
use lastword_store::{Continuation, Key, OpenQuestions, PromptRecord, Revoke};
use lastword_types::id::{GrantId, QuestionId, SessionId, WorkspaceId};
use lastword_types::session::{Answer, Granted, Part, Question, QuestionState};

/// The effects of an answer.
#[derive(Clone)]
pub struct Answered {
    /// The lasting grant, if the answer made one.
    pub grant: Option<Granted>,
    /// The other open questions that the grant covers, and that are answered with it: those of
    /// the agent's runs in the session, or in the workspace, and of the child runs of those.
    pub settled: Vec<QuestionId>,
    /// The run that the answer queued, if the run that asked was over.
    pub run: Option<Run>,
}

impl Host {
    /// Returns the open questions of all sessions, the oldest first; at most 1,000.
    ///
    /// Dropping the future has no effect.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn questions(&self) -> Result<Vec<Question>, HostError> {
        Ok(self.inner.store.open_questions(OpenQuestions::All).await?)
    }

    /// Returns the open questions of these workspaces, which need not be open.
    ///
    /// Dropping the future has no effect.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn questions_in(
        &self,
        workspaces: Vec<WorkspaceId>,
    ) -> Result<Vec<Question>, HostError> {
        let of = OpenQuestions::Workspaces(workspaces);
        Ok(self.inner.store.open_questions(of).await?)
    }

    /// Returns the workspaces that have open questions, in no order. They need not be open.
    ///
    /// Dropping the future has no effect.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn asking_workspaces(&self) -> Result<Vec<WorkspaceId>, HostError> {
        Ok(self.inner.store.asking_workspaces().await?)
    }

    /// Returns a question with its state and its workspace.
    ///
    /// Dropping the future has no effect.
    ///
    /// # Errors
    /// [`HostError::UnknownQuestion`].
    pub async fn question(
        &self,
        id: QuestionId,
    ) -> Result<(WorkspaceId, Question, QuestionState), HostError> {
        let at = self.inner.store.question(id).await?;
        let at = at.ok_or(HostError::UnknownQuestion(id))?;
        Ok((at.workspace, at.question, at.state))
    }

    /// Submits an answer to a question. The first answer counts, and is on disk with its grant
    /// once this returns; other open questions that the grant covers are answered with it. If the
    /// run that asked ended waiting for the answer, this queues the session's next run.
    ///
    /// Dropping the future leaves the question open, or answered with all that follows from the
    /// answer.
    ///
    /// # Errors
    /// [`HostError::UnknownQuestion`]; [`HostError::AlreadyAnswered`] with the answer that was
    /// first; [`HostError::QuestionDismissed`] if the run ended meanwhile;
    /// [`HostError::Invalid`] for an answer that does not fit the question; and as
    /// [`Session::prompt`] where it queues a run.
    pub async fn answer(&self, id: QuestionId, answer: Answer) -> Result<Answered, HostError> {
        self.answer_as(id, answer, None).await
    }

    /// Like [`Host::answer`], with a key that identifies the request: if the answer queues a run,
    /// the same answer with the same key returns that run again.
    ///
    /// Dropping the future leaves the question open or answered, as for [`Host::answer`]; if the
    /// answer queued a run, the same call returns it.
    ///
    /// # Errors
    /// As for [`Host::answer`]; [`HostError::KeyConflict`].
    pub async fn answer_with_key(
        &self,
        id: QuestionId,
        answer: Answer,
        key: impl Into<String>,
    ) -> Result<Answered, HostError> {
        let key = key.into();
        bounds::check_key(&key)?;
        let key = Key::of_answer(key, id, &answer)?;
        let (_, question, _) = self.question(id).await?;
        let store = &self.inner.store;
        store.locate(question.session).await?;
        if let Some(answered) = self.answered_under(question.session, &key).await? {
            return Ok(answered);
        }

        match self.answer_as(id, answer, Some(key.clone())).await {
            // The same request may have been sent twice at once, and the other one been first.
            Err(lost @ HostError::AlreadyAnswered { .. }) => {
                let answered = self.answered_under(question.session, &key).await?;
                answered.ok_or(lost)
            }
            outcome => outcome,
        }
    }

    /// Returns the run that an answer with this key queued, if there is one.
    async fn answered_under(
        &self,
        session: SessionId,
        key: &Key,
    ) -> Result<Option<Answered>, HostError> {
        let Some(run) = self.inner.store.known(session, key.clone()).await? else {
            return Ok(None);
        };

        Ok(Some(Answered {
            grant: None,
            settled: Vec::new(),
            run: Some(self.run(run).await?),
        }))
    }

    async fn answer_as(
        &self,
        id: QuestionId,
        answer: Answer,
        key: Option<Key>,
    ) -> Result<Answered, HostError> {
        let dispatcher = &self.inner.dispatcher;
        let now = dispatcher.clock.now();
        match dispatcher.questions.answer(id, answer.clone(), now).await {
            Ok(Resolved { grant, settled }) => Ok(Answered {
                grant,
                settled,
                run: None,
            }),
            Err(Refused::Unknown) => Err(HostError::UnknownQuestion(id)),
            Err(Refused::Answered(first)) => Err(HostError::AlreadyAnswered {
                question: id,
                answer: first,
            }),
            Err(Refused::Dismissed) => Err(HostError::QuestionDismissed(id)),
            Err(Refused::Unfit(why)) => Err(HostError::Invalid(why)),
            Err(Refused::Store(error)) => Err(error.into()),
            Err(Refused::Waits) => self.go_on(id, answer, key).await,
        }
    }

    /// Handles an answer to a run that is over: the answer becomes the session's next prompt, and
    /// counts once that is accepted.
    async fn go_on(
        &self,
        id: QuestionId,
        answer: Answer,
        key: Option<Key>,
    ) -> Result<Answered, HostError> {
        let store = &self.inner.store;
        let at = store.question(id).await?;
        let at = at.ok_or(HostError::UnknownQuestion(id))?;
        let asked = store.run(at.question.run).await?;
        let text = match &answer {
            Answer::Text { text } => text.clone(),
            Answer::Deny { reason: Some(why) } => format!("I do not want to answer that: {why}"),
            Answer::Deny { reason: None } | Answer::Allow { .. } => {
                "I do not want to answer that.".to_owned()
            }
        };

        let record = PromptRecord {
            origin: Origin::Answer,
            parts: vec![Part::text(text)],
            carried: None,
            ..asked.prompt
        };

        let session = self.session(at.question.session).await?;
        let goes_on = Continuation {
            run: at.question.run,
            answer: Some(answer),
        };

        let went_on = self.go_on_reopened(&session, record, goes_on, key);
        match went_on.await? {
            None => Err(self.lost(id).await),
            run => Ok(Answered {
                grant: None,
                settled: Vec::new(),
                run,
            }),
        }
    }

    /// Returns the error for an answer that was not the first.
    async fn lost(&self, id: QuestionId) -> HostError {
        match self.question(id).await {
            Ok((_, _, QuestionState::Answered(answer))) => HostError::AlreadyAnswered {
                question: id,
                answer,
            },
            Ok(_) => HostError::QuestionDismissed(id),
            Err(error) => error,
        }
    }

    /// Returns a grant that an answer made, and its workspace.
    ///
    /// Dropping the future has no effect.
    ///
    /// # Errors
    /// [`HostError::UnknownGrant`].
    pub async fn grant(&self, id: GrantId) -> Result<(WorkspaceId, Granted), HostError> {
        let found = self.inner.store.grant(id).await?;
        found.ok_or(HostError::UnknownGrant(id))
    }

    /// Revokes a grant, for every decision from now on.
    ///
    /// Dropping the future after its first poll does not undo the revocation.
    ///
    /// # Errors
    /// [`HostError::UnknownGrant`].
    pub async fn revoke(&self, id: GrantId) -> Result<(), HostError> {
        if self.inner.store.execute(Revoke { grant: id }).await? {
            Ok(())
        } else {
            Err(HostError::UnknownGrant(id))
        }
    }

    /// Returns the grants in a workspace, the oldest first. The workspace need not be open.
    ///
    /// Dropping the future has no effect.
    ///
    /// # Errors
    /// [`HostError::UnknownWorkspace`].
    pub async fn grants(&self, workspace: WorkspaceId) -> Result<Vec<Granted>, HostError> {
        Ok(self.inner.store.grants(workspace).await?)
    }
}

impl Workspace {
    /// Returns the open questions of its sessions, the oldest first; at most 1,000.
    ///
    /// Dropping the future has no effect.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn questions(&self) -> Result<Vec<Question>, HostError> {
        self.host.questions_in(vec![self.inner.id]).await
    }
}

impl Session {
    /// Returns the open questions of this session and of its child sessions, the oldest first.
    ///
    /// Dropping the future has no effect.
    ///
    /// # Errors
    /// [`HostError::UnknownSession`].
    pub async fn questions(&self) -> Result<Vec<Question>, HostError> {
        let store = &self.host.inner.store;
        let open = store.open_questions(OpenQuestions::Session(self.id));
        Ok(open.await?)
    }
}
