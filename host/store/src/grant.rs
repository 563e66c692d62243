//! What answers granted for longer than once: kept with the answer, listed, revoked. Rules are
//! words here; what they allow is not known.

use super::damage::{Damage, Listing};
use super::handle::WorkspaceNo;
use super::run::{RunNo, SessionNo};
use super::{Store, StoreError};
use lastword_types::clock::UnixMillis;
use lastword_types::id::{AgentId, GrantId, SessionId, WorkspaceId};
use lastword_types::session::Granted;
use rusqlite::{Connection, Row, ToSql, params};

/// The most grants that are listed, and that count, for one agent in one workspace.
const GRANTS_MAX: i64 = 10_000;

pub(super) const COLUMNS: &str = "granted.id, session.id, granted.agent, rule, granted_ms";
/// The same, and what is read of a grant elsewhere.
pub(super) const CHECKED: &str = "granted.id, session.id, granted.agent, rule, granted_ms,
    granted.workspace, granted.session IS NULL OR session.no IS NOT NULL";
pub(super) const PLACES: &str = "LEFT JOIN session ON session.no = granted.session";

/// Keeps a grant, with the answer that made it.
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

impl Store {
    /// The rules that answers granted to an agent for a session: there, and in its workspace.
    pub async fn granted(
        &self,
        session: SessionNo,
        agent: AgentId,
    ) -> Result<Vec<String>, StoreError> {
        let read = move |conn: &Connection| {
            let listing = Listing {
                table: "granted",
                key: "id",
                columns: "rule",
                joins: "",
                which: "workspace = ?1 AND agent = ?2 AND coalesce(session, ?3) = ?3 LIMIT ?4",
            };
            let bound = params![
                session.workspace,
                agent.as_str(),
                session.session,
                GRANTS_MAX
            ];
            listing.read(conn, bound, |row| Ok(row.get(0)?))
        };
        let rules = self.shared.readers.read(read).await?;
        Ok(self.readable(rules))
    }

    /// Every grant of a workspace, the oldest first.
    pub async fn grants(&self, workspace: WorkspaceNo) -> Result<Vec<Granted>, StoreError> {
        let read = move |conn: &Connection| all(conn, "granted.workspace = ?1", &[&workspace.0]);
        let grants = self.shared.readers.read(read).await?;
        Ok(self.readable(grants))
    }

    /// A grant and the workspace in which it stands.
    pub async fn grant(&self, id: GrantId) -> Result<Option<(WorkspaceId, Granted)>, StoreError> {
        let read = move |conn: &Connection| {
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
        };
        self.shared.readers.read(read).await
    }

    /// Takes a grant back; answers whether there was one.
    pub async fn revoke(&self, id: GrantId) -> Result<bool, StoreError> {
        let delete = move |tx: &mut super::tx::Tx<'_>| {
            let deleted = tx
                .conn
                .prepare_cached("DELETE FROM granted WHERE id = ?1")?
                .execute([id.as_bytes()])?;
            Ok(deleted == 1)
        };
        self.write(delete).await
    }
}
