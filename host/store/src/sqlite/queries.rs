//! Carries out each query over one read-only connection: resolves ids, and notes the rows that
//! cannot be read.

use super::listing::damage_of;
use super::{
    agent, context, event, finish, folded, grant, life, message, numbers, question, queue, reader,
    retention, run, runs, session, state, wake,
};
use crate::damage::{Damage, Damages};
use crate::notify::ChangeSet;
use crate::prompt::Key;
use crate::queries::Queries;
use crate::rows::{
    DueCursor, DuePage, FoldPage, FoldScan, Followed, HeldScope, Listed, OpenQuestions, PAGE_ROWS,
    Positions, QuestionAt, QueuedRow, RunAt, RunRow, RunSummaryRow, SessionAt, SessionRow,
    SessionsPage, WorkspaceRow,
};
use crate::{StateOwner, StateScope, StoreError, Waits};
use lastword_types::clock::UnixMillis;
use lastword_types::event::{Event, Position, Seq};
use lastword_types::id::{AgentId, GrantId, MessageId, QuestionId, RunId, SessionId, WorkspaceId};
use lastword_types::run::{Receipt, RunSummary};
use lastword_types::session::{BlobId, Granted, Message, Question};
use rusqlite::Connection;

/// One reader of the database.
pub(super) struct SqliteQueries<'c> {
    pub(super) conn: &'c Connection,
    pub(super) damages: &'c Damages,
}

impl SqliteQueries<'_> {
    fn set_aside<T>(&self, (found, damaged): (T, Vec<Damage>)) -> T {
        for damage in damaged {
            self.damages.note(damage);
        }
        found
    }

    /// Notes the events that stand for ones that cannot be read.
    fn note_events(&self, events: &[Event]) {
        for damage in events.iter().filter_map(event::damage) {
            self.damages.note(damage);
        }
    }
}

impl Queries for SqliteQueries<'_> {
    fn failed(&self, error: StoreError) -> StoreError {
        let error = reader::unreadable(error);
        self.damages.note_error(&error);
        error
    }

    fn asking_workspaces(&self) -> Result<Vec<WorkspaceId>, StoreError> {
        question::asking_workspaces(self.conn)
    }

    fn before_run(&self, run: RunId) -> Result<Seq, StoreError> {
        event::before_run(self.conn, run)
    }

    fn blob(&self, session: SessionId, id: BlobId) -> Result<Option<Vec<u8>>, StoreError> {
        message::blob(self.conn, numbers::session(self.conn, session)?, &id)
    }

    fn changes(
        &self,
        workspace: Option<WorkspaceId>,
        mut changes: ChangeSet,
        after: Position,
    ) -> Result<(Positions, ChangeSet), StoreError> {
        let page = event::changes(self.conn, workspace, &mut changes, after)?;
        self.note_events(&page.events);
        Ok((page, changes))
    }

    fn check(&self, session: SessionId, after: Seq) -> Result<(), StoreError> {
        event::check(self.conn, session, after)
    }

    fn check_position(
        &self,
        workspace: Option<WorkspaceId>,
        after: Position,
    ) -> Result<(), StoreError> {
        let workspace = numbers::workspace_or_all(self.conn, workspace)?;
        retention::check_positions(self.conn, workspace, after.0, true)
    }

    fn context(
        &self,
        session: SessionId,
        after: Option<MessageId>,
    ) -> Result<Vec<Message>, StoreError> {
        let session = numbers::session(self.conn, session)?;
        context::context(self.conn, session, after).map(|told| self.set_aside(told))
    }

    fn due(&self, now: UnixMillis, after: Option<DueCursor>) -> Result<DuePage, StoreError> {
        wake::due(self.conn, now, after).map(|page| self.set_aside(page))
    }

    fn events(&self, session: SessionId, after: Seq) -> Result<Vec<Event>, StoreError> {
        event::page(self.conn, session, after).inspect(|events| self.note_events(events))
    }

    fn fold_page(&self, after: Option<i64>) -> Result<FoldPage, StoreError> {
        retention::sessions(self.conn, after.unwrap_or(0))
    }

    fn fold_scan(
        &self,
        session: SessionId,
        before: UnixMillis,
        scan: FoldScan,
    ) -> Result<(FoldScan, bool), StoreError> {
        let session = numbers::session(self.conn, session)?;
        let before = i64::try_from(before.0).unwrap_or(i64::MAX);
        retention::look(self.conn, session, before, scan)
    }

    fn followed(&self, session: SessionId) -> Result<Followed, StoreError> {
        event::followed_session(self.conn, session)
    }

    fn followed_run(&self, run: RunId) -> Result<Followed, StoreError> {
        event::followed_run(self.conn, run)
    }

    fn grant(&self, id: GrantId) -> Result<Option<(WorkspaceId, Granted)>, StoreError> {
        grant::find(self.conn, id)
    }

    fn granted(&self, session: SessionId, agent: AgentId) -> Result<Vec<String>, StoreError> {
        grant::rules(self.conn, session, &agent).map(|rules| self.damages.readable(rules))
    }

    fn grants(&self, workspace: WorkspaceId) -> Result<Vec<Granted>, StoreError> {
        grant::of_workspace(self.conn, workspace).map(|grants| self.damages.readable(grants))
    }

    fn has_waits(&self, waits: Waits) -> Result<bool, StoreError> {
        wake::any(self.conn, waits)
    }

    fn held(&self, scope: HeldScope) -> Result<Vec<RunAt>, StoreError> {
        queue::held(self.conn, scope).map(|held| self.damages.readable(held))
    }

    fn history(
        &self,
        session: SessionId,
        before: Option<MessageId>,
        limit: u32,
    ) -> Result<Vec<Message>, StoreError> {
        let session = numbers::session(self.conn, session)?;
        let (mut messages, mut damaged) = message::history(self.conn, session, before, 0, limit)?;
        if let Err(error) = message::mark_summary(self.conn, session, &mut messages) {
            damaged.push(damage_of(error)?);
        }
        Ok(self.set_aside((messages, damaged)))
    }

    fn kept_agents(&self) -> Result<Vec<(AgentId, String, Vec<u8>)>, StoreError> {
        let kept = agent::AGENTS.read(self.conn, &[], agent::kept)?;
        Ok(self.damages.readable(kept))
    }

    fn known(&self, session: SessionId, key: Key) -> Result<Option<RunId>, StoreError> {
        let no = numbers::session(self.conn, session)?;
        run::known(self.conn, no, session, &key)
    }

    fn known_workspace(&self, id: WorkspaceId) -> Result<WorkspaceRow, StoreError> {
        session::known(self.conn, id)
    }

    fn list(&self, page: SessionsPage) -> Result<Vec<Listed<SessionRow>>, StoreError> {
        session::list(self.conn, &page)
    }

    fn list_runs(
        &self,
        session: SessionId,
        limit: u32,
        after: Option<String>,
    ) -> Result<Vec<Listed<RunSummaryRow>>, StoreError> {
        runs::list(self.conn, session, limit, after.as_deref())
    }

    fn locate(&self, id: SessionId) -> Result<SessionAt, StoreError> {
        session::locate(self.conn, id)
    }

    fn messages(
        &self,
        session: SessionId,
        before: Option<MessageId>,
        limit: u32,
    ) -> Result<Vec<Message>, StoreError> {
        // Both at one time: half a session that is being deleted is none.
        let snapshot = self.conn.unchecked_transaction()?;
        let session = event::session_no(&snapshot, session)?;
        message::page(&snapshot, session, before, limit).map(|told| self.set_aside(told))
    }

    fn next_due(&self, after: UnixMillis) -> Result<Option<UnixMillis>, StoreError> {
        wake::next_due(self.conn, after)
    }

    fn open_questions(&self, of: OpenQuestions) -> Result<Vec<Question>, StoreError> {
        question::open(self.conn, &of).map(|open| self.damages.readable(open))
    }

    fn positions(
        &self,
        workspace: Option<WorkspaceId>,
        after: Position,
        first: bool,
    ) -> Result<Positions, StoreError> {
        event::scan(self.conn, workspace, after, first)
            .inspect(|page| self.note_events(&page.events))
    }

    fn question(&self, id: QuestionId) -> Result<Option<QuestionAt>, StoreError> {
        question::find(self.conn, id)
    }

    fn queued(&self, session: SessionId) -> Result<Vec<QueuedRow>, StoreError> {
        queue::list(self.conn, session).map(|queued| self.damages.readable(queued))
    }

    fn receipt(&self, run: RunId) -> Result<Option<Receipt>, StoreError> {
        finish::stored(self.conn, run)
    }

    fn retold(&self, run: RunId) -> Result<Vec<Event>, StoreError> {
        folded::retold(self.conn, run).map(|told| self.set_aside(told))
    }

    fn run(&self, id: RunId) -> Result<RunAt, StoreError> {
        queue::find(self.conn, id)
    }

    fn run_summary(&self, id: RunId) -> Result<RunSummary, StoreError> {
        runs::find(self.conn, id)
    }

    fn runs(&self, session: SessionId) -> Result<Vec<RunRow>, StoreError> {
        message::runs(self.conn, session).map(|runs| self.set_aside(runs))
    }

    fn session(&self, id: SessionId) -> Result<SessionRow, StoreError> {
        session::find(self.conn, id)
    }

    fn sessions(
        &self,
        workspace: Option<WorkspaceId>,
        limit: u32,
    ) -> Result<Vec<SessionRow>, StoreError> {
        let rows = session::latest(self.conn, workspace, limit.min(PAGE_ROWS))?;
        Ok(self.damages.readable(rows))
    }

    fn sessions_of(&self, workspace: WorkspaceId) -> Result<Vec<SessionId>, StoreError> {
        life::sessions_of(self.conn, workspace)
    }

    fn state(
        &self,
        owner: StateOwner,
        scope: StateScope,
        key: String,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let place = state::find(self.conn, owner.session, scope)?;
        state::get(self.conn, place, owner.agent.as_str(), &key)
    }

    fn state_keys(
        &self,
        owner: StateOwner,
        scope: StateScope,
        prefix: String,
    ) -> Result<Vec<String>, StoreError> {
        let place = state::find(self.conn, owner.session, scope)?;
        state::keys(self.conn, place, owner.agent.as_str(), &prefix)
    }

    fn workspace_key(&self, workspace: WorkspaceId) -> Result<String, StoreError> {
        session::workspace_key(self.conn, workspace)
    }

    fn workspaces(
        &self,
        limit: u32,
        after: Option<String>,
    ) -> Result<Vec<Listed<WorkspaceRow>>, StoreError> {
        session::workspaces(self.conn, limit, after.as_deref())
    }
}
