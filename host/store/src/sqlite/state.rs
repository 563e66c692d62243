//! The values that agents store under keys, per session or per workspace. Their sizes are bounded.

use super::tx::Tx;
use crate::command::{PutState, StateScope};
use crate::damage::Describe as _;
use crate::{Damage, Refusal, StoreError};
use lastword_types::id::SessionId;
use rusqlite::{Connection, OptionalExtension, params};

/// Returns the two columns that identify the owner of a value, from the numbers of a session and
/// its workspace.
fn place(scope: StateScope, session: i64, workspace: i64) -> (i64, i64) {
    match scope {
        StateScope::Session => (1, session),
        StateScope::Workspace => (2, workspace),
    }
}

/// Returns these columns for a reader.
pub(super) fn find(
    conn: &Connection,
    session: SessionId,
    scope: StateScope,
) -> Result<(i64, i64), StoreError> {
    let found = conn
        .prepare_cached("SELECT no, workspace FROM session WHERE id = ?1")?
        .query_row([session.as_bytes()], |row| {
            Ok(place(scope, row.get(0)?, row.get(1)?))
        })
        .optional()
        .map_err(|error| Damage::of("session").session(session).name(error.into()))?;
    found.ok_or_else(|| Refusal::UnknownSession(session).into())
}

/// Reads a value.
pub(super) fn get(
    conn: &Connection,
    (scope, no): (i64, i64),
    agent: &str,
    key: &str,
) -> Result<Option<Vec<u8>>, StoreError> {
    let value = conn
        .prepare_cached(
            "SELECT value FROM state WHERE scope = ?1 AND owner = ?2 AND agent = ?3 AND key = ?4",
        )?
        .query_row(params![scope, no, agent, key], |row| row.get(0))
        .optional();
    let place = || Damage::of("state").row(format!("{scope}/{no}/{agent}/{key}"));
    value.map_err(|error| place().name(error.into()))
}

/// Writes or deletes a value, if the present one is as expected. Returns whether it was.
pub(super) fn put(tx: &mut Tx<'_>, put: &PutState) -> Result<bool, StoreError> {
    let session = tx.session(put.owner.session)?;
    let (scope_no, no) = place(put.scope, session.session, session.workspace);
    let (agent, key) = (put.owner.agent.as_str(), put.key.as_str());
    if let Some(expected) = &put.expected
        && get(tx.conn, (scope_no, no), agent, key)? != *expected
    {
        return Ok(false);
    }
    let Some(value) = &put.value else {
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
    if bytes as u64 > put.quota.bytes || keys as u64 > put.quota.keys {
        return Err(Refusal::Quota.into());
    }
    Ok(true)
}

/// Returns the keys that begin with a prefix, in order.
pub(super) fn keys(
    conn: &Connection,
    (scope, no): (i64, i64),
    agent: &str,
    prefix: &str,
) -> Result<Vec<String>, StoreError> {
    let mut query = conn.prepare_cached(
        "SELECT key FROM state WHERE scope = ?1 AND owner = ?2 AND agent = ?3
         AND substr(key, 1, length(?4)) = ?4 ORDER BY key",
    )?;
    let rows = query.query_map(params![scope, no, agent, prefix], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
