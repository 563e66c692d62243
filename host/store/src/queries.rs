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
use lastword_types::run::Receipt;
use lastword_types::session::{BlobId, Granted, Message, Question};
use tokio::sync::oneshot;

macro_rules! queries {
    ($(
        $(#[$doc:meta])*
        $visible:vis fn $name:ident($($argument:ident: $type:ty),*) -> $result:ty;
    )*) => {
        /// Reads of one moment or of a few; each a bounded page.
        pub trait Queries {
            /// Sorts what a read failed with, and notes what cannot be read.
            fn failed(&self, error: StoreError) -> StoreError {
                error
            }

            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// When it cannot be read, or a [`Refusal`](super::Refusal).
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
    /// The workspaces in which a question is open.
    pub fn asking_workspaces() -> Vec<WorkspaceId>;

    /// Where a run's events begin.
    pub fn before_run(run: RunId) -> Seq;

    /// The bytes of a data part that this session names.
    pub fn blob(session: SessionId, id: BlobId) -> Option<Vec<u8>>;

    /// A page of the new events of a workspace, or of all. Changes that do not fit are returned
    /// too, so that the caller asks for them next.
    pub fn changes(
        workspace: Option<WorkspaceId>,
        changes: ChangeSet,
        after: Position
    ) -> (Positions, ChangeSet);

    /// Refuses a number that is before the beginning of a session's log or beyond its end.
    pub fn check(session: SessionId, after: Seq) -> ();

    /// The same for a position of a workspace, or of all.
    pub fn check_position(workspace: Option<WorkspaceId>, after: Position) -> ();

    /// The messages that a model shall see: the summary, if there is one, and what came after
    /// it or after the message `after`; of a very long conversation, the latest whole turns.
    pub fn context(session: SessionId, after: Option<MessageId>) -> Vec<Message>;

    /// A page of the sessions whose waiting time is over, after a place, in the order of their
    /// times. Empty after the last.
    pub fn due(now: UnixMillis, after: Option<DueCursor>) -> DuePage;

    /// A page of a session's log.
    pub fn events(session: SessionId, after: Seq) -> Vec<Event>;

    /// Some sessions whose logs may be folded, after a place.
    pub(super) fn fold_page(after: Option<i64>) -> FoldPage;

    /// Looks at one more page of a session's log for what may be folded of it: what belongs to
    /// runs that ended before a time. Returns whether there is more to look at.
    pub(super) fn fold_scan(session: SessionId, before: UnixMillis, scan: FoldScan) -> (FoldScan, bool);

    /// A session whose events can be read, even if it was deleted.
    pub fn followed(session: SessionId) -> Followed;

    /// As [`Queries::followed`], by one of the session's runs.
    pub fn followed_run(run: RunId) -> Followed;

    /// A grant and the workspace in which it stands.
    pub fn grant(id: GrantId) -> Option<(WorkspaceId, Granted)>;

    /// The rules that answers granted to an agent for a session: there, and in its workspace.
    pub fn granted(session: SessionId, agent: AgentId) -> Vec<String>;

    /// Every grant of a workspace, the oldest first.
    pub fn grants(workspace: WorkspaceId) -> Vec<Granted>;

    /// Whether anything waits that [`TakeWaitsBack`](super::TakeWaitsBack) would take back.
    pub(super) fn has_waits(waits: super::Waits) -> bool;

    /// Held runs, in the order of acceptance.
    pub fn held(scope: HeldScope) -> Vec<RunAt>;

    /// The last messages before `before`, in time order.
    pub fn history(session: SessionId, before: Option<MessageId>, limit: u32) -> Vec<Message>;

    /// The agents that are kept, by name: each with its digest and its bytes.
    pub fn kept_agents() -> Vec<(AgentId, String, Vec<u8>)>;

    /// The run that an idempotency key of a session stands for already, if there is one;
    /// [`Refusal::KeyConflict`](super::Refusal::KeyConflict) if it came with another request.
    pub fn known(session: SessionId, key: Key) -> Option<RunId>;

    /// One workspace that is known.
    pub fn known_workspace(id: WorkspaceId) -> WorkspaceRow;

    /// A page of sessions, the newest first.
    pub fn list(page: SessionsPage) -> Vec<Listed<SessionRow>>;

    /// A page of a session's runs, in the order of acceptance.
    pub fn list_runs(
        session: SessionId,
        limit: u32,
        after: Option<String>
    ) -> Vec<Listed<RunSummaryRow>>;

    /// The workspace and the agent of a session, unless it is being deleted.
    pub fn locate(id: SessionId) -> SessionAt;

    /// The last messages of a session before `before` as people read them, those included that
    /// were taken back before they had a place in the history.
    pub fn messages(session: SessionId, before: Option<MessageId>, limit: u32) -> Vec<Message>;

    /// The earliest time after `after` that a session waits for.
    pub fn next_due(after: UnixMillis) -> Option<UnixMillis>;

    /// The questions without an answer, the oldest first.
    pub fn open_questions(of: OpenQuestions) -> Vec<Question>;

    /// A page of the log of a workspace, or of all, after a position. Only the first one is
    /// after a position that a client names, and may be beyond the log's end.
    pub fn positions(workspace: Option<WorkspaceId>, after: Position, first: bool) -> Positions;

    /// A question, however it stands.
    pub fn question(id: QuestionId) -> Option<QuestionAt>;

    /// The prompts of a session that are queued or held, in the order of acceptance.
    pub fn queued(session: SessionId) -> Vec<QueuedRow>;

    /// The stored end of a run, if it has one.
    pub fn receipt(run: RunId) -> Option<Receipt>;

    /// All events of a run that has ended and whose logged events were folded away, made again
    /// from its messages and its receipt.
    pub fn retold(run: RunId) -> Vec<Event>;

    /// One run, whatever its state.
    pub fn run(id: RunId) -> RunAt;

    /// The runs of a session with their messages.
    pub fn runs(session: SessionId) -> Vec<RunRow>;

    /// One session, unless it is being deleted.
    pub fn session(id: SessionId) -> SessionRow;

    /// The sessions that changed last, newest first.
    pub fn sessions(workspace: Option<WorkspaceId>, limit: u32) -> Vec<SessionRow>;

    /// The sessions of a workspace, those included whose deletion is not done.
    pub fn sessions_of(workspace: WorkspaceId) -> Vec<SessionId>;

    /// Reads a value that an agent keeps.
    pub fn state(owner: StateOwner, scope: StateScope, key: String) -> Option<Vec<u8>>;

    /// The keys of an agent's values that begin with a prefix, in order.
    pub fn state_keys(owner: StateOwner, scope: StateScope, prefix: String) -> Vec<String>;

    /// The key of a workspace as it is stored.
    pub fn workspace_key(workspace: WorkspaceId) -> String;

    /// A page of workspaces, in the order in which they were first opened.
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
