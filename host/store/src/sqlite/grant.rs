//! Grants of answers for longer than once: stored with the answer, listed, revoked. Rules are plain
//! text here, which the host interprets.

use super::listing::Listing;
use super::numbers::{self, RunNo};
use super::tx::Tx;
use crate::StoreError;
use crate::damage::Damage;
use crate::rows::GRANTS_MAX;
use lastword_types::clock::UnixMillis;
use lastword_types::id::{AgentId, GrantId, SessionId, WorkspaceId};
use lastword_types::session::Granted;
use rusqlite::{Connection, Row, ToSql, params};

pub(super) const COLUMNS: &str = "granted.id, session.id, granted.agent, rule, granted_ms";
/// These columns for the doctor, with the further columns of a grant that other queries read.
pub(super) const CHECKED: &str = "granted.id, session.id, granted.agent, rule, granted_ms,
    granted.workspace, granted.session IS NULL OR session.no IS NOT NULL";
pub(super) const PLACES: &str = "LEFT JOIN session ON session.no = granted.session";

/// Stores a grant, with the answer that made it.
pub(super) fn keep(conn: &Connection, run: RunNo, granted: &Granted) -> Result<(), StoreError> {
    conn.prepare_cached(
        "INSERT OR IGNORE INTO granted (id, workspace, session, agent, rule, granted_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        granted.id.as_bytes(),
        run.session.workspace,
        granted.session.map(|_| run.session.session),
        granted.agent.as_str(),
        granted.rule,
        granted.granted_ms.0 as i64,
    ])?;
    Ok(())
}

pub(super) fn granted(row: &Row<'_>) -> Result<Granted, StoreError> {
    let agent: String = row.get(2)?;
    let session: Option<[u8; 16]> = row.get(1)?;
    Ok(Granted {
        id: GrantId::from_bytes(row.get(0)?),
        session: session.map(SessionId::from_bytes),
        agent: AgentId::new(agent).map_err(|error| StoreError::Content(error.to_string()))?,
        rule: row.get(3)?,
        granted_ms: UnixMillis(row.get::<_, i64>(4)? as u64),
    })
}

fn all(
    conn: &Connection,
    which: &str,
    bound: &[&dyn ToSql],
) -> Result<Vec<Result<Granted, Damage>>, StoreError> {
    let which = format!("{which} ORDER BY granted_ms, granted.id LIMIT {GRANTS_MAX}");
    let listing = Listing {
        table: "granted",
        key: "id",
        columns: COLUMNS,
        joins: PLACES,
        which: &which,
    };
    listing.read(conn, bound, granted)
}

/// Returns the rules that answers granted to an agent for a session or for its workspace.
pub(super) fn rules(
    conn: &Connection,
    session: SessionId,
    agent: &AgentId,
) -> Result<Vec<Result<String, Damage>>, StoreError> {
    let session = numbers::session(conn, session)?;
    let listing = Listing {
        table: "granted",
        key: "id",
        columns: "rule",
        joins: "",
        which: "workspace = (SELECT workspace FROM session WHERE no = ?2) AND agent = ?1
            AND coalesce(session, ?2) = ?2 LIMIT ?3",
    };
    let bound = params![agent.as_str(), session, GRANTS_MAX as i64];
    listing.read(conn, bound, |row| Ok(row.get(0)?))
}

/// Returns every grant of a workspace, the oldest first.
pub(super) fn of_workspace(
    conn: &Connection,
    workspace: WorkspaceId,
) -> Result<Vec<Result<Granted, Damage>>, StoreError> {
    let no = numbers::workspace(conn, workspace)?;
    all(conn, "granted.workspace = ?1", &[&no])
}

/// Returns a grant, and the workspace in which it applies.
pub(super) fn find(
    conn: &Connection,
    id: GrantId,
) -> Result<Option<(WorkspaceId, Granted)>, StoreError> {
    let found = all(conn, "granted.id = ?1", &[id.as_bytes()])?;
    let Some(granted) = found.into_iter().next() else {
        return Ok(None);
    };
    let granted = granted.map_err(StoreError::from)?;
    let workspace: [u8; 16] = conn
        .prepare_cached(
            "SELECT workspace.id FROM granted
             JOIN workspace ON workspace.no = granted.workspace WHERE granted.id = ?1",
        )?
        .query_row([id.as_bytes()], |row| row.get(0))?;
    Ok(Some((WorkspaceId::from_bytes(workspace), granted)))
}

/// Revokes a grant. Returns whether it existed.
pub(super) fn revoke(tx: &Tx<'_>, id: GrantId) -> Result<bool, StoreError> {
    let deleted = tx
        .conn
        .prepare_cached("DELETE FROM granted WHERE id = ?1")?
        .execute([id.as_bytes()])?;
    Ok(deleted == 1)
}
