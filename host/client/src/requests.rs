//! The requests to a server, with a method for each. All methods fail with [`ClientError`]; the
//! names of refusals are those of the run contract.

use crate::api::{
    AgentFile, AgentView, AnsweredView, ClosedWorkspace, EditedRun, Fork, Health, NewRun,
    NewSession, NewWorkspace, PageView, QuestionView, QueuedRun, RunSummary, SessionChanges,
    Version, WorkspaceView,
};
use crate::client::{Call, piece};
use crate::{Client, ClientError};
use bytes::Bytes;
use http::Method;
use lastword_types::id::{ClientId, GrantId, MessageId, QuestionId, RunId, SessionId, WorkspaceId};
use lastword_types::run::Receipt;
use lastword_types::session::{Answer, BlobId, Export, Granted, Message, Question, SessionRecord};

/// A result of a request.
type Answered<T> = Result<T, ClientError>;

/// The server itself.
impl Client {
    /// Returns whether the server accepts work. Needs no token.
    ///
    /// # Errors
    /// If the server is not reached. A server that accepts no work is not an error.
    pub async fn health(&self) -> Answered<Health> {
        let (_, _, body) = self.exchange(Call::get("/health")).await?;
        self.read(&body)
    }

    /// Returns the program and the version of the server.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub async fn version(&self) -> Answered<Version> {
        self.ask(Call::get("/version")).await
    }
}

/// Workspaces, and the claims on them.
impl Client {
    /// Opens a workspace and claims it for a limited time. A stream of its events with the client's
    /// id keeps the claim ([`Client::claimed_events`]).
    ///
    /// # Errors
    /// Any [`ClientError`]; among others `outside-roots`, `invalid-directory`, `forbidden`.
    pub async fn open_workspace(&self, new: &NewWorkspace) -> Answered<WorkspaceView> {
        self.ask(Call::post("/workspaces").json(new)).await
    }

    /// Returns all workspaces, open or not.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub async fn workspaces(&self) -> Answered<PageView<WorkspaceView>> {
        self.all("/workspaces").await
    }

    /// Returns one workspace.
    ///
    /// # Errors
    /// Any [`ClientError`]; `unknown-workspace`.
    pub async fn workspace(&self, id: WorkspaceId) -> Answered<WorkspaceView> {
        self.ask(Call::get(format!("/workspaces/{id}"))).await
    }

    /// Ends a client's claim.
    ///
    /// # Errors
    /// Any [`ClientError`]; `client-not-attached`.
    pub async fn release_workspace(&self, id: WorkspaceId, client: ClientId) -> Answered<()> {
        let path = format!("/workspaces/{id}?client_id={client}");
        self.tell(Call::delete(path)).await
    }

    /// Closes a workspace: its runs are stopped, and waiting prompts are held.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub async fn close_workspace(&self, id: WorkspaceId) -> Answered<ClosedWorkspace> {
        self.ask(Call::delete(format!("/workspaces/{id}"))).await
    }

    /// Deletes a workspace with everything in it.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub async fn purge_workspace(&self, id: WorkspaceId) -> Answered<()> {
        let path = format!("/workspaces/{id}?purge=true");
        self.tell(Call::delete(path)).await
    }

    /// Ends all claims of a client that will not return. Its runs continue.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub async fn retire(&self, client: ClientId) -> Answered<()> {
        self.tell(Call::delete(format!("/clients/{client}"))).await
    }
}

/// Agents.
impl Client {
    /// Returns the loaded agents.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub async fn agents(&self) -> Answered<PageView<AgentView>> {
        self.ask(Call::get("/agents")).await
    }

    /// Returns an agent; `None` if no agent of this name is loaded.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub async fn agent(&self, name: &str) -> Answered<Option<AgentView>> {
        let found = self
            .ask(Call::get(format!("/agents/{}", piece(name))))
            .await;
        match found {
            Ok(agent) => Ok(Some(agent)),
            Err(error) if matches!(error.name(), Some("unknown-agent" | "invalid-id")) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Loads a component, which the server stores. Another upload with the same name replaces the
    /// component of later runs.
    ///
    /// # Errors
    /// Any [`ClientError`]; `invalid-agent`.
    pub async fn upload_agent(&self, name: &str, wasm: impl Into<Bytes>) -> Answered<AgentView> {
        let call = Call::post(format!("/agents?name={}", piece(name)));
        self.ask(call.bytes("application/wasm", wasm)).await
    }

    /// Loads a component from a file on the server's machine, which the server does not store.
    ///
    /// # Errors
    /// Any [`ClientError`]; `invalid-agent`.
    pub async fn load_agent(&self, file: &AgentFile) -> Answered<AgentView> {
        self.ask(Call::post("/agents").json(file).large()).await
    }

    /// Unloads an agent. Runs that have begun or wait continue.
    ///
    /// # Errors
    /// Any [`ClientError`]; `unknown-agent`.
    pub async fn forget_agent(&self, name: &str) -> Answered<()> {
        let path = format!("/agents/{}", piece(name));
        self.tell(Call::delete(path)).await
    }
}

/// Sessions and their content.
impl Client {
    /// Begins a session.
    ///
    /// # Errors
    /// Any [`ClientError`]; `unknown-agent`, `unknown-workspace`.
    pub async fn new_session(
        &self,
        workspace: WorkspaceId,
        new: &NewSession,
    ) -> Answered<SessionRecord> {
        let path = format!("/workspaces/{workspace}/sessions");
        self.ask(Call::post(path).json(new)).await
    }

    /// Begins a session. The same key again in this workspace returns the same one.
    ///
    /// # Errors
    /// As [`Client::new_session`]; `key-conflict`.
    pub async fn new_session_with_key(
        &self,
        workspace: WorkspaceId,
        new: &NewSession,
        key: &str,
    ) -> Answered<SessionRecord> {
        let path = format!("/workspaces/{workspace}/sessions");
        self.ask_with_key(key, || Call::post(&path).json(new)).await
    }

    /// Returns all sessions in the order of creation, the newest first.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub async fn sessions(&self) -> Answered<PageView<SessionRecord>> {
        self.all("/sessions").await
    }

    /// Returns one session.
    ///
    /// # Errors
    /// Any [`ClientError`]; `unknown-session`.
    pub async fn session(&self, id: SessionId) -> Answered<SessionRecord> {
        self.ask(Call::get(format!("/sessions/{id}"))).await
    }

    /// Changes a session, and returns it as changed.
    ///
    /// # Errors
    /// Any [`ClientError`]; `invalid-value`.
    pub async fn change_session(
        &self,
        id: SessionId,
        changes: &SessionChanges,
    ) -> Answered<SessionRecord> {
        let call = Call::new(Method::PATCH, format!("/sessions/{id}"));
        self.ask(call.json(changes)).await
    }

    /// Deletes a session; its runs are ended first.
    ///
    /// # Errors
    /// Any [`ClientError`]; `unknown-session`.
    pub async fn delete_session(&self, id: SessionId) -> Answered<()> {
        self.tell(Call::delete(format!("/sessions/{id}"))).await
    }

    /// Copies a session up to and including a message into a new one. The same key returns the same
    /// new session.
    ///
    /// # Errors
    /// Any [`ClientError`]; `unknown-message`, `key-conflict`.
    pub async fn fork_session(
        &self,
        id: SessionId,
        message: MessageId,
        key: &str,
    ) -> Answered<SessionRecord> {
        let path = format!("/sessions/{id}/fork");
        let fork = Fork { message };
        self.ask_with_key(key, || Call::post(&path).json(&fork))
            .await
    }

    /// Returns all messages of a session, in their order.
    ///
    /// # Errors
    /// Any [`ClientError`]; `unknown-session`.
    pub async fn messages(&self, id: SessionId) -> Answered<PageView<Message>> {
        let mut whole = PageView::whole(Vec::<Message>::new());
        let mut before = String::new();
        // Pages are read backwards from the end.
        loop {
            let path = format!("/sessions/{id}/messages?limit=200{before}");
            let page: PageView<Message> = self.ask(Call::get(path)).await?;
            whole.items.splice(0..0, page.items);
            whole.damaged = page.damaged;
            match page.next {
                Some(next) => before = format!("&before={}", piece(&next)),
                None => return Ok(whole),
            }
        }
    }

    /// Returns a whole session.
    ///
    /// # Errors
    /// Any [`ClientError`]; `unknown-session`.
    pub async fn export(&self, id: SessionId) -> Answered<Export> {
        let path = format!("/sessions/{id}/export?format=json");
        self.ask(Call::get(path)).await
    }

    /// Returns the bytes of a `data` part.
    ///
    /// # Errors
    /// Any [`ClientError`]; `unknown-blob`.
    pub async fn blob(&self, id: SessionId, blob: &BlobId) -> Answered<Bytes> {
        let path = format!("/sessions/{id}/blobs/{}", blob.0);
        self.download(Call::get(path)).await
    }
}

/// Runs, and waiting prompts.
impl Client {
    /// Sends a prompt to a session. Returns once the prompt is on disk. The same key returns the
    /// same run, so that the request can be repeated if the response is lost.
    ///
    /// Dropping the future does not withdraw the prompt, which may have been accepted.
    ///
    /// # Errors
    /// Any [`ClientError`]; `queue-full`, `key-conflict`, `empty-prompt`. After
    /// [`ClientError::Unreachable`] it is unknown whether the prompt was accepted: send it again
    /// with the same key.
    pub async fn prompt(
        &self,
        session: SessionId,
        run: &NewRun,
        key: &str,
    ) -> Answered<RunSummary> {
        let path = format!("/sessions/{session}/runs");
        self.ask_with_key(key, || Call::post(&path).json(run)).await
    }

    /// Returns the runs of a session without their messages, in the order of acceptance.
    ///
    /// # Errors
    /// Any [`ClientError`]; `unknown-session`.
    pub async fn runs(&self, session: SessionId) -> Answered<PageView<RunSummary>> {
        self.all(&format!("/sessions/{session}/runs")).await
    }

    /// Returns one run.
    ///
    /// # Errors
    /// Any [`ClientError`]; `unknown-run`.
    pub async fn run(&self, id: RunId) -> Answered<RunSummary> {
        self.ask(Call::get(format!("/runs/{id}"))).await
    }

    /// Stops a run, and returns its receipt once that is on disk, or a provisional one if it cannot
    /// be written in time (`persisted` is false). A repeated call returns the same end.
    ///
    /// # Errors
    /// Any [`ClientError`]; `unknown-run`.
    pub async fn cancel(&self, id: RunId) -> Answered<Receipt> {
        self.ask(Call::post(format!("/runs/{id}/cancel"))).await
    }

    /// Stops all runs of a session, also waiting ones, and returns their receipts.
    ///
    /// # Errors
    /// Any [`ClientError`]; `unknown-session`.
    pub async fn cancel_session(&self, id: SessionId) -> Answered<Vec<Receipt>> {
        self.ask(Call::post(format!("/sessions/{id}/cancel"))).await
    }

    /// Resumes a run that is held or ended early, and returns the run that continues it.
    ///
    /// # Errors
    /// Any [`ClientError`]; `not-resumable`, `already-resumed`.
    pub async fn resume(&self, id: RunId, key: &str) -> Answered<RunSummary> {
        let path = format!("/runs/{id}/resume");
        self.ask_with_key(key, || Call::post(&path)).await
    }

    /// Returns the waiting prompts of a session, including held ones.
    ///
    /// # Errors
    /// Any [`ClientError`]; `unknown-session`.
    pub async fn queue(&self, session: SessionId) -> Answered<PageView<QueuedRun>> {
        self.ask(Call::get(format!("/sessions/{session}/queue")))
            .await
    }

    /// Changes a waiting prompt.
    ///
    /// # Errors
    /// Any [`ClientError`]; `run-started`.
    pub async fn edit_queued(
        &self,
        session: SessionId,
        run: RunId,
        edited: &EditedRun,
    ) -> Answered<QueuedRun> {
        let call = Call::new(Method::PATCH, format!("/sessions/{session}/queue/{run}"));
        self.ask(call.json(edited).large()).await
    }

    /// Withdraws a waiting prompt, and returns its receipt.
    ///
    /// # Errors
    /// Any [`ClientError`]; `run-started`.
    pub async fn withdraw(&self, session: SessionId, run: RunId) -> Answered<Receipt> {
        let path = format!("/sessions/{session}/queue/{run}");
        self.ask(Call::delete(path)).await
    }
}

/// Questions of runs to people, and the grants of answers.
impl Client {
    /// Returns the open questions of one session or of all, the oldest first.
    ///
    /// # Errors
    /// Any [`ClientError`]; `unknown-session`.
    pub async fn questions(&self, session: Option<SessionId>) -> Answered<PageView<Question>> {
        let path = match session {
            None => "/permissions".to_owned(),
            Some(session) => format!("/permissions?session={session}"),
        };
        self.ask(Call::get(path)).await
    }

    /// Returns a question with its status.
    ///
    /// # Errors
    /// Any [`ClientError`]; `unknown-question`.
    pub async fn question(&self, id: QuestionId) -> Answered<QuestionView> {
        self.ask(Call::get(format!("/permissions/{id}"))).await
    }

    /// Sends an answer to a question. The first answer counts.
    ///
    /// # Errors
    /// Any [`ClientError`]; `already-answered` with the answer that counts, `question-dismissed`.
    pub async fn answer(
        &self,
        id: QuestionId,
        answer: &Answer,
        key: &str,
    ) -> Answered<AnsweredView> {
        let path = format!("/permissions/{id}");
        self.ask_with_key(key, || Call::post(&path).json(answer))
            .await
    }

    /// Returns the grants of answers in a workspace that were not revoked.
    ///
    /// # Errors
    /// Any [`ClientError`]; `unknown-workspace`.
    pub async fn grants(&self, workspace: WorkspaceId) -> Answered<PageView<Granted>> {
        self.ask(Call::get(format!("/workspaces/{workspace}/grants")))
            .await
    }

    /// Revokes a grant of an answer, for every decision from now on.
    ///
    /// # Errors
    /// Any [`ClientError`]; `unknown-grant`.
    pub async fn revoke(&self, grant: GrantId) -> Answered<()> {
        self.tell(Call::delete(format!("/grants/{grant}"))).await
    }
}
