//! Creates, finds and lists workspaces and sessions.

use super::listing::{Listing, lenient};
use super::numbers::{self, SessionNo};
use super::tx::Tx;
use crate::command::{CreateSession, OpenWorkspace, OpenedWorkspace};
use crate::damage::{Damage, Describe as _};
use crate::options::StoredOptions;
use crate::prompt::Key;
use crate::rows::{PAGE_ROWS, SessionAt, SessionRow, SessionsPage, WorkspaceRow, parse_cursor};
use crate::{Refusal, StoreError};
use lastword_types::clock::UnixMillis;
use lastword_types::event::EventBody;
use lastword_types::id::{AgentId, MessageId, SessionId, WorkspaceId};
use lastword_types::session::{ForkPoint, SessionRecord, Usage};
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};

/// Opens a workspace, and stores its options.
pub(super) fn open_workspace(
    tx: &mut Tx<'_>,
    open: &OpenWorkspace,
) -> Result<OpenedWorkspace, StoreError> {
    let (id, no) = workspace(tx, &open.key, open.id)?;
    let options = match &open.options {
        Some(options) => {
            keep_options(tx, id, options)?;
            options.clone()
        }
        None => last_options(tx, no)?,
    };
    Ok(OpenedWorkspace { id, options })
}

/// Stores the options of a workspace. Does nothing for a workspace that is deleted.
pub(super) fn keep_options(
    tx: &Tx<'_>,
    workspace: WorkspaceId,
    options: &StoredOptions,
) -> Result<(), StoreError> {
    let json = serde_json::to_string(options)?;
    tx.conn
        .prepare_cached("UPDATE workspace SET options = ?2 WHERE id = ?1")?
        .execute(params![workspace.as_bytes(), json])?;
    Ok(())
}

/// Returns the options with which a workspace was last opened; [`Refusal::UnreadableOptions`] if
/// they cannot be read completely.
fn last_options(tx: &Tx<'_>, workspace: i64) -> Result<StoredOptions, StoreError> {
    let json: Option<String> = tx
        .conn
        .prepare_cached("SELECT options FROM workspace WHERE no = ?1")?
        .query_row([workspace], |row| row.get(0))
        .map_err(|error| {
            Damage::of("workspace")
                .row(workspace)
                .name(StoreError::from(error))
        })?;
    crate::options::read(json).map_err(|_| Refusal::UnreadableOptions.into())
}

/// Creates the workspace with this key, or finds it.
fn workspace(
    tx: &mut Tx<'_>,
    key: &str,
    id: WorkspaceId,
) -> Result<(WorkspaceId, i64), StoreError> {
    let known: Option<([u8; 16], i64)> = tx
        .conn
        .prepare_cached("SELECT id, no FROM workspace WHERE key = ?1")?
        .query_row([key], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    if let Some((id, no)) = known {
        return Ok((WorkspaceId::from_bytes(id), no));
    }
    // Numbers are never given again, so that handles to deleted workspaces find nothing.
    tx.conn
        .prepare_cached(
            "INSERT INTO workspace (no, id, key, created_ms)
             SELECT 1 + max(last_workspace, coalesce((SELECT max(no) FROM workspace), 0)),
                    ?1, ?2, ?3 FROM owner",
        )?
        .execute(params![id.as_bytes(), key, tx.now.0 as i64])?;
    Ok((id, tx.conn.last_insert_rowid()))
}

/// A session to begin.
pub(super) struct NewSession {
    pub(super) id: SessionId,
    pub(super) agent: AgentId,
    pub(super) parent: Option<SessionId>,
    pub(super) forked_from: Option<ForkPoint>,
}

/// Begins a session, or finds the one that its key created.
pub(super) fn create_once(
    tx: &mut Tx<'_>,
    create: &CreateSession,
) -> Result<SessionId, StoreError> {
    if let Some(key) = &create.key {
        let workspace = numbers::workspace(tx.conn, create.workspace)?;
        if let Some(known) = created_by(tx, workspace, key)? {
            return Ok(known);
        }
    }

    let new = NewSession {
        id: create.id,
        agent: create.agent.clone(),
        parent: create.parent,
        forked_from: None,
    };
    let begun = self::create(tx, create.workspace, &new)?;

    if let Some(key) = &create.key {
        // A row whose session cannot be found is replaced.
        tx.conn
            .prepare_cached(
                "INSERT OR REPLACE INTO session_key (workspace, key, content, session)
                 VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![
                begun.workspace,
                key.word,
                key.content,
                begun.session
            ])?;
    }
    Ok(create.id)
}

/// The session that a key of a workspace created, if it did.
fn created_by(tx: &Tx<'_>, workspace: i64, key: &Key) -> Result<Option<SessionId>, StoreError> {
    let known: Option<([u8; 16], Vec<u8>)> = tx
        .conn
        .prepare_cached(
            "SELECT session.id, session_key.content
             FROM session_key JOIN session ON session.no = session_key.session
             WHERE session_key.workspace = ?1 AND session_key.key = ?2",
        )?
        .query_row(params![workspace, key.word], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()
        .map_err(|error| {
            let row = format!("with the key {}", key.word);
            Damage::of("session_key").row(row).name(error.into())
        })?;

    match known {
        Some((id, content)) if content == key.content => Ok(Some(SessionId::from_bytes(id))),
        Some((id, _)) => Err(Refusal::KeyConflict(SessionId::from_bytes(id)).into()),
        None => Ok(None),
    }
}

/// Begins a session.
pub(super) fn create(
    tx: &mut Tx<'_>,
    workspace_id: WorkspaceId,
    new: &NewSession,
) -> Result<SessionNo, StoreError> {
    // The workspace is looked up first: if it is deleted, so is any parent in it.
    let workspace = numbers::workspace(tx.conn, workspace_id)?;
    let parent = match new.parent {
        Some(id) => {
            if find(tx.conn, id)?.record.workspace != workspace_id {
                return Err(Refusal::UnknownSession(id).into());
            }
            Some(tx.session(id)?.session)
        }
        None => None,
    };
    let forked_from = new.forked_from.as_ref();
    tx.conn
        .prepare_cached(
            "INSERT INTO session (no, id, workspace, agent, parent, forked_from, created_ms,
                                  updated_ms)
             SELECT 1 + max(last_session, coalesce((SELECT max(no) FROM session), 0)),
                    ?1, ?2, ?3, ?4, ?5, ?6, ?6 FROM owner",
        )?
        .execute(params![
            new.id.as_bytes(),
            workspace,
            new.agent.as_str(),
            parent,
            forked_from.map(serde_json::to_string).transpose()?,
            tx.now.0 as i64
        ])?;
    let no = SessionNo {
        session: tx.conn.last_insert_rowid(),
        workspace,
        id: new.id,
        workspace_id,
    };
    tx.numbers.keep_session(no);
    let body = EventBody::SessionCreated {
        agent: new.agent.clone(),
        parent: new.parent,
        forked_from: new.forked_from,
    };
    tx.log(no)?.push(None, &body)?;
    Ok(no)
}

const COLUMNS: &str = "session.id, workspace.id, session.agent, session.title,
    (SELECT count(*) FROM message WHERE message.session = session.no AND ordinal IS NOT NULL),
    session.input_tokens, session.output_tokens, session.created_ms, session.updated_ms,
    session.no, workspace.no, workspace.key, session.cost_micros, parent.id,
    session.forked_from, summary.id, session.todo";
pub(super) const JOINS: &str = "LEFT JOIN workspace ON workspace.no = session.workspace
    LEFT JOIN session parent ON parent.no = session.parent
    LEFT JOIN message summary ON summary.no = session.summary_message";

/// These columns for the doctor, with the further columns of a session that other queries read.
pub(super) const CHECKED: &str = "session.id, workspace.id, session.agent, session.title,
    (SELECT count(*) FROM message WHERE message.session = session.no AND ordinal IS NOT NULL),
    session.input_tokens, session.output_tokens, session.created_ms, session.updated_ms,
    session.no, workspace.no, workspace.key, session.cost_micros, parent.id,
    session.forked_from, summary.id, session.todo, session.going, session.log_from,
    session.parent, session.summary_through,
    session.summary_message IS NULL
      OR summary.no IS NOT NULL AND session.summary_through IS NOT NULL,
    workspace.no IS NOT NULL";

pub(super) fn read(row: &Row<'_>) -> Result<SessionRow, StoreError> {
    let agent: String = row.get(2)?;
    let json = |text: Option<String>| text.unwrap_or_else(|| "null".to_owned());
    let todo: Option<_> = serde_json::from_str(&json(row.get(16)?))?;
    Ok(SessionRow {
        record: SessionRecord {
            id: SessionId::from_bytes(row.get(0)?),
            workspace: WorkspaceId::from_bytes(lenient(row, 1).unwrap_or_default()),
            agent: AgentId::new(agent).map_err(|error| StoreError::Content(error.to_string()))?,
            title: row.get(3)?,
            messages: row.get::<_, i64>(4)? as u64,
            usage: Usage {
                input_tokens: row.get::<_, i64>(5)? as u64,
                output_tokens: row.get::<_, i64>(6)? as u64,
                cost_micros: row.get::<_, i64>(12)? as u64,
                ..Usage::default()
            },
            parent: row
                .get::<_, Option<[u8; 16]>>(13)?
                .map(SessionId::from_bytes),
            forked_from: serde_json::from_str(&json(row.get(14)?))?,
            summary: row
                .get::<_, Option<[u8; 16]>>(15)?
                .map(MessageId::from_bytes),
            todo: todo.unwrap_or_default(),
            created_ms: UnixMillis(row.get::<_, i64>(7)? as u64),
            updated_ms: UnixMillis(row.get::<_, i64>(8)? as u64),
        },
        place: row.get(9)?,
        // An unreadable key costs the workspace its name, but not its sessions.
        workspace_key: lenient(row, 11).unwrap_or_default(),
    })
}

/// Finds a session, unless it is being deleted.
pub(super) fn locate(conn: &Connection, id: SessionId) -> Result<SessionAt, StoreError> {
    let row: Option<([u8; 16], String)> = conn
        .prepare_cached(
            "SELECT workspace.id, session.agent FROM session
             LEFT JOIN workspace ON workspace.no = session.workspace
             WHERE session.id = ?1 AND session.going = 0",
        )?
        .query_row([id.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
        .map_err(|error| damaged(id, error.into()))?;
    let (workspace, agent) = row.ok_or(Refusal::UnknownSession(id))?;
    let agent = AgentId::new(agent).map_err(|error| StoreError::Content(error.to_string()));
    Ok(SessionAt {
        id,
        workspace: WorkspaceId::from_bytes(workspace),
        agent: agent.map_err(|error| damaged(id, error))?,
    })
}

fn damaged(id: SessionId, error: StoreError) -> StoreError {
    Damage::of("session").session(id).name(error)
}

/// Returns one session, unless it is being deleted.
pub(super) fn find(conn: &Connection, id: SessionId) -> Result<SessionRow, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM session {JOINS} WHERE session.id = ?1 AND session.going = 0"
    );
    let found = || {
        let mut query = conn.prepare_cached(&sql)?;
        let mut rows = query.query([id.as_bytes()])?;
        rows.next()?.map(read).transpose()
    };
    let found = found().map_err(|error| damaged(id, error))?;
    found.ok_or_else(|| Refusal::UnknownSession(id).into())
}

/// Returns a page of sessions, the newest first. A session never moves in this order: a caller that
/// reads all pages gets each session that exists throughout exactly once.
pub(super) fn list(
    conn: &Connection,
    page: &SessionsPage,
) -> Result<Vec<Result<SessionRow, Damage>>, StoreError> {
    let before = page.after.as_deref().map_or(Ok(i64::MAX), parse_cursor)?;
    let which = "going = 0
        AND (?1 IS NULL OR workspace = (SELECT no FROM workspace WHERE id = ?1))
        AND (?2 IS NULL OR parent = (SELECT no FROM session WHERE id = ?2))
        AND no < ?3 ORDER BY no DESC LIMIT ?4";
    let workspace = page.workspace.map(|id| id.as_bytes().to_vec());
    let parent = page.parent.map(|id| id.as_bytes().to_vec());
    let limit = page.limit.min(PAGE_ROWS + 1);
    let params = params![workspace, parent, before, limit];
    rows(conn, which, "session.no DESC", params)
}

/// Returns the sessions that changed last, newest first.
pub(super) fn latest(
    conn: &Connection,
    workspace: Option<WorkspaceId>,
    limit: u32,
) -> Result<Vec<Result<SessionRow, Damage>>, StoreError> {
    let which = "going = 0
        AND (?1 IS NULL OR workspace = (SELECT no FROM workspace WHERE id = ?1))
        ORDER BY updated_ms DESC, no DESC LIMIT ?2";
    let workspace = workspace.map(|id| id.as_bytes().to_vec());
    let params = params![workspace, limit];
    rows(
        conn,
        which,
        "session.updated_ms DESC, session.no DESC",
        params,
    )
}

fn rows(
    conn: &Connection,
    which: &str,
    order: &str,
    params: &[&dyn ToSql],
) -> Result<Vec<Result<SessionRow, Damage>>, StoreError> {
    // The numbers are selected first, so that messages are counted only for the listed sessions.
    let which = format!("session.no IN (SELECT no FROM session WHERE {which}) ORDER BY {order}");
    let listing = Listing {
        table: "session",
        key: "no",
        columns: COLUMNS,
        joins: JOINS,
        which: &which,
    };
    listing.read(conn, params, read)
}

const WORKSPACE: &str = "no, id, key, created_ms,
    (SELECT count(*) FROM session WHERE session.workspace = workspace.no AND going = 0)";

pub(super) fn workspace_row(row: &Row<'_>) -> Result<WorkspaceRow, StoreError> {
    Ok(WorkspaceRow {
        place: row.get(0)?,
        id: WorkspaceId::from_bytes(row.get(1)?),
        key: row.get(2)?,
        created_ms: UnixMillis(row.get::<_, i64>(3)? as u64),
        sessions: row.get::<_, i64>(4)? as u64,
    })
}

/// Returns one known workspace.
pub(super) fn known(conn: &Connection, id: WorkspaceId) -> Result<WorkspaceRow, StoreError> {
    let sql = format!("SELECT {WORKSPACE} FROM workspace WHERE id = ?1");
    let found = || {
        let mut query = conn.prepare_cached(&sql)?;
        let mut rows = query.query([id.as_bytes()])?;
        rows.next()?.map(workspace_row).transpose()
    };
    let found = found().map_err(|error| Damage::of("workspace").row(id).name(error))?;
    found.ok_or_else(|| Refusal::UnknownWorkspace(id).into())
}

/// Returns the known workspaces, in the order in which they were first opened.
pub(super) fn workspaces(
    conn: &Connection,
    limit: u32,
    after: Option<&str>,
) -> Result<Vec<Result<WorkspaceRow, Damage>>, StoreError> {
    let no = after.map_or(Ok(0), parse_cursor)?;
    let listing = Listing {
        table: "workspace",
        key: "no",
        columns: WORKSPACE,
        joins: "",
        which: "no > ?1 ORDER BY no LIMIT ?2",
    };
    listing.read(conn, params![no, limit.min(PAGE_ROWS + 1)], workspace_row)
}

/// Returns the key of a workspace as it is stored.
pub(super) fn workspace_key(conn: &Connection, id: WorkspaceId) -> Result<String, StoreError> {
    let key: Option<String> = conn
        .prepare_cached("SELECT key FROM workspace WHERE id = ?1")?
        .query_row([id.as_bytes()], |row| row.get(0))
        .optional()
        .map_err(|error| {
            Damage::of("workspace")
                .row(id)
                .name(StoreError::from(error))
        })?;
    key.ok_or_else(|| Refusal::UnknownWorkspace(id).into())
}
