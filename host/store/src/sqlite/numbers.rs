//! Maps ids, which everything outside uses, to the numbers of rows in this database. Numbers that
//! the writer has looked up stay in memory, so that a command needs no statement for them.

use super::listing::lenient;
use crate::damage::{Damage, Describe as _};
use crate::{Refusal, StoreError};
use lastword_types::id::{RunId, SessionId, WorkspaceId};
use rusqlite::{Connection, OptionalExtension, Row};
use std::collections::HashMap;

/// The largest number of sessions, and of runs without an end, whose numbers are remembered. Beyond
/// that all are forgotten.
const REMEMBERED_MAX: usize = 10_000;

/// A session and its workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SessionNo {
    pub(super) session: i64,
    pub(super) workspace: i64,
    pub(super) id: SessionId,
    pub(super) workspace_id: WorkspaceId,
}

impl SessionNo {
    /// Reads four columns from `column` on: the session's number, its workspace's number, and their
    /// ids. A value that cannot be read is zero.
    pub(super) fn read(row: &Row<'_>, column: usize) -> Self {
        Self {
            session: lenient(row, column).unwrap_or_default(),
            workspace: lenient(row, column + 1).unwrap_or_default(),
            id: SessionId::from_bytes(lenient(row, column + 2).unwrap_or_default()),
            workspace_id: WorkspaceId::from_bytes(lenient(row, column + 3).unwrap_or_default()),
        }
    }
}

/// A run and its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RunNo {
    pub(super) run: i64,
    pub(super) id: RunId,
    pub(super) session: SessionNo,
}

/// The columns that [`SessionNo::read`] reads, of a session and its workspace.
pub(super) const SESSION: &str = "session.no, session.workspace, session.id, workspace.id";
pub(super) const WORKSPACES: &str = "LEFT JOIN workspace ON workspace.no = session.workspace";

/// The numbers that the writer remembers.
#[derive(Default)]
pub(super) struct Numbers {
    sessions: HashMap<SessionId, SessionNo>,
    runs: HashMap<RunId, RunNo>,
}

impl Numbers {
    /// Forgets everything, after a rollback: the same numbers may be given to other rows.
    pub(super) fn clear(&mut self) {
        self.sessions.clear();
        self.runs.clear();
    }

    pub(super) fn keep_session(&mut self, no: SessionNo) {
        if self.sessions.len() >= REMEMBERED_MAX {
            self.sessions.clear();
        }
        self.sessions.insert(no.id, no);
    }

    pub(super) fn keep_run(&mut self, no: RunNo) {
        if self.runs.len() >= REMEMBERED_MAX {
            self.runs.clear();
        }
        self.runs.insert(no.id, no);
    }

    /// Forgets a run that has ended, since little is written for it from then on.
    pub(super) fn forget_run(&mut self, run: RunId) {
        self.runs.remove(&run);
    }

    /// Forgets the runs of a session whose rows are deleted: their numbers can be given to other
    /// rows.
    pub(super) fn forget_runs_of(&mut self, session: i64) {
        self.runs.retain(|_, no| no.session.session != session);
    }

    /// Forgets the sessions of a workspace that is deleted.
    pub(super) fn forget_workspace(&mut self, workspace: i64) {
        self.sessions.retain(|_, no| no.workspace != workspace);
        self.runs.retain(|_, no| no.session.workspace != workspace);
    }

    /// Returns a session, even if its deletion has begun or is done.
    pub(super) fn session(
        &mut self,
        conn: &Connection,
        id: SessionId,
    ) -> Result<SessionNo, StoreError> {
        if let Some(known) = self.sessions.get(&id) {
            return Ok(*known);
        }
        let sql = format!("SELECT {SESSION} FROM session {WORKSPACES} WHERE session.id = ?1");
        let found = conn
            .prepare_cached(&sql)?
            .query_row([id.as_bytes()], |row| Ok(SessionNo::read(row, 0)))
            .optional()
            .map_err(|error| Damage::of("session").session(id).name(error.into()))?;
        let no = found.ok_or(Refusal::UnknownSession(id))?;
        self.keep_session(no);
        Ok(no)
    }

    /// Returns a run, whatever its state.
    pub(super) fn run(&mut self, conn: &Connection, id: RunId) -> Result<RunNo, StoreError> {
        if let Some(known) = self.runs.get(&id) {
            return Ok(*known);
        }
        let sql = format!(
            "SELECT run.no, {SESSION} FROM run LEFT JOIN session ON session.no = run.session
             {WORKSPACES} WHERE run.id = ?1"
        );
        let found = conn
            .prepare_cached(&sql)?
            .query_row([id.as_bytes()], |row| {
                Ok(RunNo {
                    run: row.get(0)?,
                    id,
                    session: SessionNo::read(row, 1),
                })
            })
            .optional()
            .map_err(|error| Damage::of("run").run(id).name(error.into()))?;
        let no = found.ok_or(Refusal::UnknownRun(id))?;
        self.keep_run(no);
        Ok(no)
    }
}

/// Returns the number of a session, even if its deletion has begun or is done.
pub(super) fn session(conn: &Connection, id: SessionId) -> Result<i64, StoreError> {
    conn.prepare_cached("SELECT no FROM session WHERE id = ?1")?
        .query_row([id.as_bytes()], |row| row.get(0))
        .optional()
        .map_err(|error| Damage::of("session").session(id).name(error.into()))?
        .ok_or_else(|| Refusal::UnknownSession(id).into())
}

/// Returns the number of a workspace.
pub(super) fn workspace(conn: &Connection, id: WorkspaceId) -> Result<i64, StoreError> {
    conn.prepare_cached("SELECT no FROM workspace WHERE id = ?1")?
        .query_row([id.as_bytes()], |row| row.get(0))
        .optional()
        .map_err(|error| Damage::of("workspace").row(id).name(error.into()))?
        .ok_or_else(|| Refusal::UnknownWorkspace(id).into())
}

/// Returns the number of a workspace, or `None` for all workspaces.
pub(super) fn workspace_or_all(
    conn: &Connection,
    id: Option<WorkspaceId>,
) -> Result<Option<i64>, StoreError> {
    id.map(|id| workspace(conn, id)).transpose()
}
