//! Every read of the store. Each query is declared once, and becomes a method that a backend
//! implements and an async method of `Store`.

use super::handle::Store;
use super::prompt::Key;
use super::rows::{
    DueCursor, DuePage, FoldPage, FoldScan, Followed, HeldScope, Listed, OpenQuestions, Positions,
    QuestionAt, QueuedRow, RunAt, RunRow, RunSummaryRow, SessionAt, SessionRow, SessionsPage,
    WorkspaceRow,
};
use super::{ChangeSet, StateOwner, StateScope, StoreError};
use lastword_types::clock::UnixMillis;
use lastword_types::event::{Event, Position, Seq};
use lastword_types::id::{AgentId, GrantId, MessageId, QuestionId, RunId, SessionId, WorkspaceId};
use lastword_types::run::{Receipt, RunSummary};
use lastword_types::session::{BlobId, Granted, Message, Question};
use tokio::sync::oneshot;

macro_rules! queries {
    ($(
        $(#[$doc:meta])*
        $visible:vis fn $name:ident($($argument:ident: $type:ty),*) -> $result:ty;
    )*) => {
        /// Reads of one moment or of a few moments. Each returns a bounded page.
        pub trait Queries {
            /// Classifies the error of a read, and records what cannot be read.
            fn failed(&self, error: StoreError) -> StoreError {
                error
            }

            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// If the store cannot be read, or a [`Refusal`](super::Refusal).
                fn $name(&self, $($argument: $type),*) -> Result<$result, StoreError>;
            )*
        }

        impl Store {
            $(
                $(#[$doc])*
                $visible async fn $name(
                    &self,
                    $($argument: $type),*
                ) -> Result<$result, StoreError> {
                    self.read(move |queries| queries.$name($($argument),*)).await
                }
            )*
        }
    };
}

queries! {
    /// Returns the workspaces in which a question is open.
    pub fn asking_workspaces() -> Vec<WorkspaceId>;

    /// Returns the number before a run's first event.
    pub fn before_run(run: RunId) -> Seq;

    /// Returns the bytes of a data part that this session refers to.
    pub fn blob(session: SessionId, id: BlobId) -> Option<Vec<u8>>;

    /// Returns a page of the new events of a workspace, or of all. Changes that do not fit are
    /// returned too, so that the caller can pass them to the next call.
    pub fn changes(
        workspace: Option<WorkspaceId>,
        changes: ChangeSet,
        after: Position
    ) -> (Positions, ChangeSet);

    /// Refuses a number that is before the beginning of a session's log or beyond its end.
    pub fn check(session: SessionId, after: Seq) -> ();

    /// As [`Queries::check`], for a position of a workspace, or of all.
    pub fn check_position(workspace: Option<WorkspaceId>, after: Position) -> ();

    /// Returns the messages for a request to a model: the summary, if there is one, and the
    /// messages after it or after the message `after`. Of a very long conversation, only the latest
    /// whole turns.
    pub fn context(session: SessionId, after: Option<MessageId>) -> Vec<Message>;

    /// Returns a page of the sessions whose waiting time is over, in the order of these times.
    /// Empty after the last one.
    pub fn due(now: UnixMillis, after: Option<DueCursor>) -> DuePage;

    /// Returns a page of a session's log.
    pub fn events(session: SessionId, after: Seq) -> Vec<Event>;

    /// Returns a page of the sessions whose logs may be folded.
    pub(super) fn fold_page(after: Option<i64>) -> FoldPage;

    /// Reads one more page of a session's log to find the events that may be folded: those of runs
    /// that ended before a time. Returns whether there are more pages.
    pub(super) fn fold_scan(session: SessionId, before: UnixMillis, scan: FoldScan) -> (FoldScan, bool);

    /// Returns a session whose events can be read, even if it was deleted.
    pub fn followed(session: SessionId) -> Followed;

    /// As [`Queries::followed`], by one of the session's runs.
    pub fn followed_run(run: RunId) -> Followed;

    /// Returns a grant, and the workspace in which it applies.
    pub fn grant(id: GrantId) -> Option<(WorkspaceId, Granted)>;

    /// Returns the rules that answers granted to an agent for a session or for its workspace.
    pub fn granted(session: SessionId, agent: AgentId) -> Vec<String>;

    /// Returns every grant of a workspace, the oldest first.
    pub fn grants(workspace: WorkspaceId) -> Vec<Granted>;

    /// Whether any wait exists that [`TakeWaitsBack`](super::TakeWaitsBack) would take back.
    pub(super) fn has_waits(waits: super::Waits) -> bool;

    /// Returns held runs, in the order of acceptance.
    pub fn held(scope: HeldScope) -> Vec<RunAt>;

    /// Returns the last messages before `before`, in time order.
    pub fn history(session: SessionId, before: Option<MessageId>, limit: u32) -> Vec<Message>;

    /// Returns the stored agents by name, each with its digest and its bytes.
    pub fn kept_agents() -> Vec<(AgentId, String, Vec<u8>)>;

    /// Returns the run that an idempotency key of a session already stands for, if any;
    /// [`Refusal::KeyConflict`](super::Refusal::KeyConflict) if it was used for another request.
    pub fn known(session: SessionId, key: Key) -> Option<RunId>;

    /// Returns one known workspace.
    pub fn known_workspace(id: WorkspaceId) -> WorkspaceRow;

    /// Returns a page of sessions, the newest first.
    pub fn list(page: SessionsPage) -> Vec<Listed<SessionRow>>;

    /// Returns a page of a session's runs, in the order of acceptance.
    pub fn list_runs(
        session: SessionId,
        limit: u32,
        after: Option<String>
    ) -> Vec<Listed<RunSummaryRow>>;

    /// Returns the workspace and the agent of a session, unless it is being deleted.
    pub fn locate(id: SessionId) -> SessionAt;

    /// Returns the last messages of a session before `before` for people. This includes messages
    /// that were taken back before they had a place in the history.
    pub fn messages(session: SessionId, before: Option<MessageId>, limit: u32) -> Vec<Message>;

    /// Returns the earliest time after `after` that a session waits for.
    pub fn next_due(after: UnixMillis) -> Option<UnixMillis>;

    /// Returns the questions without an answer, the oldest first.
    pub fn open_questions(of: OpenQuestions) -> Vec<Question>;

    /// Returns a page of the log of a workspace, or of all, after a position. `first` says that a
    /// client named the position, which can then be beyond the log's end.
    pub fn positions(workspace: Option<WorkspaceId>, after: Position, first: bool) -> Positions;

    /// Returns a question, whatever its state.
    pub fn question(id: QuestionId) -> Option<QuestionAt>;

    /// Returns the prompts of a session that are queued or held, in the order of acceptance.
    pub fn queued(session: SessionId) -> Vec<QueuedRow>;

    /// Returns the stored receipt of a run, if it has ended.
    pub fn receipt(run: RunId) -> Option<Receipt>;

    /// Returns all events of a run that has ended and whose logged events were folded away, rebuilt
    /// from its messages and its receipt.
    pub fn retold(run: RunId) -> Vec<Event>;

    /// Returns one run, whatever its state.
    pub fn run(id: RunId) -> RunAt;

    /// Returns one run without its messages, whatever its state.
    pub fn run_summary(id: RunId) -> RunSummary;

    /// Returns the runs of a session with their messages.
    pub fn runs(session: SessionId) -> Vec<RunRow>;

    /// Returns one session, unless it is being deleted.
    pub fn session(id: SessionId) -> SessionRow;

    /// Returns the sessions that changed last, newest first.
    pub fn sessions(workspace: Option<WorkspaceId>, limit: u32) -> Vec<SessionRow>;

    /// Returns the sessions of a workspace, including those whose deletion is not finished.
    pub fn sessions_of(workspace: WorkspaceId) -> Vec<SessionId>;

    /// Returns a value that an agent stored.
    pub fn state(owner: StateOwner, scope: StateScope, key: String) -> Option<Vec<u8>>;

    /// Returns the keys of an agent's values that begin with a prefix, in order.
    pub fn state_keys(owner: StateOwner, scope: StateScope, prefix: String) -> Vec<String>;

    /// Returns the key of a workspace as it is stored.
    pub fn workspace_key(workspace: WorkspaceId) -> String;

    /// Returns a page of workspaces, in the order in which they were first opened.
    pub fn workspaces(limit: u32, after: Option<String>) -> Vec<Listed<WorkspaceRow>>;
}

impl Store {
    /// Reads independently of the writer. A read is short and is not interrupted when the future is
    /// dropped.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Queries) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, result) = oneshot::channel();
        self.shared.readers.submit(Box::new(move |queries| {
            let result = read(queries).map_err(|error| queries.failed(error));
            let _nobody_waits = answer.send(result);
        }));
        result
            .await
            .map_err(|_| StoreError::Closed(super::SHUT_DOWN.to_owned()))?
    }
}
