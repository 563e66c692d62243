//! Workspaces and sessions in the store.

use super::run::SessionNo;
use super::tx::Tx;
use super::{Refusal, StoreError};
use crate::clock::UnixMillis;
use crate::event::EventBody;
use crate::id::{AgentId, SessionId, WorkspaceId};
use crate::session::{SessionRecord, Usage};
use rusqlite::{Connection, OptionalExtension, Row, params};

/// Makes the workspace with this key, or finds it.
pub(super) fn workspace(tx: &mut Tx<'_>, key: &str) -> Result<(WorkspaceId, i64), StoreError> {
    let known: Option<([u8; 16], i64)> = tx
        .conn
        .prepare_cached("SELECT id, no FROM workspace WHERE key = ?1")?
        .query_row([key], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    if let Some((id, no)) = known {
        return Ok((WorkspaceId::from_bytes(id), no));
    }
    let id = WorkspaceId::generate();
    tx.conn
        .prepare_cached("INSERT INTO workspace (id, key, created_ms) VALUES (?1, ?2, ?3)")?
        .execute(params![id.as_bytes(), key, tx.now.0 as i64])?;
    Ok((id, tx.conn.last_insert_rowid()))
}

/// Begins a session.
pub(super) fn create(
    tx: &mut Tx<'_>,
    id: SessionId,
    workspace: i64,
    agent: &AgentId,
) -> Result<SessionNo, StoreError> {
    tx.conn
        .prepare_cached(
            "INSERT INTO session (id, workspace, agent, created_ms, updated_ms)
             VALUES (?1, ?2, ?3, ?4, ?4)",
        )?
        .execute(params![
            id.as_bytes(),
            workspace,
            agent.as_str(),
            tx.now.0 as i64
        ])?;
    let session = tx.conn.last_insert_rowid();
    let body = EventBody::SessionCreated {
        agent: agent.clone(),
    };
    let no = SessionNo { session, workspace };
    tx.log(no)?.push(None, &body)?;
    Ok(no)
}

const COLUMNS: &str = "session.id, workspace.id, session.agent, session.title,
    (SELECT count(*) FROM message WHERE message.session = session.no AND ordinal IS NOT NULL),
    session.input_tokens, session.output_tokens, session.created_ms, session.updated_ms,
    session.no, workspace.no, workspace.key";

/// A session, its numbers, and its workspace's key.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionRow {
    /// The session.
    pub record: SessionRecord,
    /// The key of its workspace.
    pub workspace_key: String,
    pub(super) no: SessionNo,
}

impl SessionRow {
    /// The numbers that writes need.
    #[must_use]
    pub fn no(&self) -> SessionNo {
        self.no
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<SessionRow> {
    let agent: String = row.get(2)?;
    let unprintable =
        |e| rusqlite::Error::FromSqlConversionFailure(2, rusqlite::types::Type::Text, Box::new(e));
    Ok(SessionRow {
        record: SessionRecord {
            id: SessionId::from_bytes(row.get(0)?),
            workspace: WorkspaceId::from_bytes(row.get(1)?),
            agent: AgentId::new(agent).map_err(unprintable)?,
            title: row.get(3)?,
            messages: row.get::<_, i64>(4)? as u64,
            usage: Usage {
                input_tokens: row.get::<_, i64>(5)? as u64,
                output_tokens: row.get::<_, i64>(6)? as u64,
            },
            created_ms: UnixMillis(row.get::<_, i64>(7)? as u64),
            updated_ms: UnixMillis(row.get::<_, i64>(8)? as u64),
        },
        no: SessionNo {
            session: row.get(9)?,
            workspace: row.get(10)?,
        },
        workspace_key: row.get(11)?,
    })
}

/// One session.
pub(super) fn find(conn: &Connection, id: SessionId) -> Result<SessionRow, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM session JOIN workspace ON workspace.no = session.workspace
         WHERE session.id = ?1"
    );
    conn.prepare_cached(&sql)?
        .query_row([id.as_bytes()], read)
        .optional()?
        .ok_or_else(|| Refusal::UnknownSession.into())
}

/// The sessions that changed last, of one workspace or of all, newest first.
pub(super) fn list(
    conn: &Connection,
    workspace: Option<WorkspaceId>,
    limit: u32,
) -> Result<Vec<SessionRow>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM session JOIN workspace ON workspace.no = session.workspace
         WHERE ?1 IS NULL OR workspace.id = ?1
         ORDER BY session.updated_ms DESC, session.no DESC LIMIT ?2"
    );
    let id = workspace.map(|id| id.as_bytes().to_vec());
    let mut query = conn.prepare_cached(&sql)?;
    let rows = query.query_map(params![id, limit], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}
