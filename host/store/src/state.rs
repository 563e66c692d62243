//! What agents keep: small values under keys, per session or per workspace, bounded.

use super::run::SessionNo;
use super::tx::Tx;
use super::{Damage, Refusal, StoreError};
use lastword_types::id::AgentId;
use rusqlite::{Connection, OptionalExtension, params};

/// Where a value belongs. Workspace values are shared by the sessions of one agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateScope {
    /// One session.
    Session,
    /// All sessions of the same agent in one workspace.
    Workspace,
}

/// Whose values.
#[derive(Clone, Debug)]
pub struct StateOwner {
    /// The session, and with it the workspace.
    pub session: SessionNo,
    /// The agent.
    pub agent: AgentId,
}

/// What one owner may keep in one scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateQuota {
    /// Bytes of keys and values together.
    pub bytes: u64,
    /// Number of keys.
    pub keys: u64,
}

impl StateOwner {
    fn place(&self, scope: StateScope) -> (i64, i64) {
        match scope {
            StateScope::Session => (1, self.session.session),
            StateScope::Workspace => (2, self.session.workspace),
        }
    }
}

/// Reads a value.
pub(super) fn get(
    conn: &Connection,
    owner: &StateOwner,
    scope: StateScope,
    key: &str,
) -> Result<Option<Vec<u8>>, StoreError> {
    let (scope, no) = owner.place(scope);
    let agent = owner.agent.as_str();
    let value = conn
        .prepare_cached(
            "SELECT value FROM state WHERE scope = ?1 AND owner = ?2 AND agent = ?3 AND key = ?4",
        )?
        .query_row(params![scope, no, agent, key], |row| row.get(0))
        .optional();
    let place = || Damage::of("state").row(format!("{scope}/{no}/{agent}/{key}"));
    value.map_err(|error| place().name(error.into()))
}

/// Writes a value, or deletes it, if the one that is there is as expected. Answers whether
/// it was.
pub(super) fn put(
    tx: &Tx<'_>,
    owner: &StateOwner,
    scope: StateScope,
    key: &str,
    expected: Option<&Option<Vec<u8>>>,
    value: Option<&[u8]>,
    quota: StateQuota,
) -> Result<bool, StoreError> {
    if let Some(expected) = expected
        && get(tx.conn, owner, scope, key)? != *expected
    {
        return Ok(false);
    }
    let (scope_no, no) = owner.place(scope);
    let agent = owner.agent.as_str();
    let Some(value) = value else {
        tx.conn
            .prepare_cached(
                "DELETE FROM state WHERE scope = ?1 AND owner = ?2 AND agent = ?3 AND key = ?4",
            )?
            .execute(params![scope_no, no, agent, key])?;
        return Ok(true);
    };
    tx.conn
        .prepare_cached(
            "INSERT INTO state (scope, owner, agent, key, value) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET value = excluded.value WHERE value <> excluded.value",
        )?
        .execute(params![scope_no, no, agent, key, value])?;
    let (bytes, keys): (i64, i64) = tx
        .conn
        .prepare_cached(
            "SELECT coalesce(sum(length(key) + length(value)), 0), count(*) FROM state
             WHERE scope = ?1 AND owner = ?2 AND agent = ?3",
        )?
        .query_row(params![scope_no, no, agent], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    if bytes as u64 > quota.bytes || keys as u64 > quota.keys {
        return Err(Refusal::Quota.into());
    }
    Ok(true)
}

/// The keys that begin with a prefix, in order.
pub(super) fn keys(
    conn: &Connection,
    owner: &StateOwner,
    scope: StateScope,
    prefix: &str,
) -> Result<Vec<String>, StoreError> {
    let (scope, no) = owner.place(scope);
    let mut query = conn.prepare_cached(
        "SELECT key FROM state WHERE scope = ?1 AND owner = ?2 AND agent = ?3
         AND substr(key, 1, length(?4)) = ?4 ORDER BY key",
    )?;
    let rows = query.query_map(params![scope, no, owner.agent.as_str(), prefix], |row| {
        row.get(0)
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
