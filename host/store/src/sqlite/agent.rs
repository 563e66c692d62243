//! Components that were handed over as bytes. They are stored, so that a server has them after its
//! next start.

use super::listing::Listing;
use super::tx::Tx;
use crate::StoreError;
use crate::command::{ForgetAgent, KeepAgent};
use lastword_types::id::AgentId;
use rusqlite::{Row, params};

/// A stored agent: name, digest, bytes.
type Kept = (AgentId, String, Vec<u8>);

/// The stored agents, by name.
pub(super) const AGENTS: Listing<'_> = Listing {
    table: "agent",
    key: "name",
    columns: "name, digest, wasm",
    joins: "",
    which: "true ORDER BY name",
};

pub(super) fn kept(row: &Row<'_>) -> Result<Kept, StoreError> {
    let name = AgentId::new(row.get::<_, String>(0)?)
        .map_err(|error| StoreError::Content(error.to_string()))?;
    let (digest, wasm): (String, Vec<u8>) = (row.get(1)?, row.get(2)?);
    if super::listing::digest(&wasm) != digest {
        let why = "the component's bytes do not have its digest";
        return Err(StoreError::Content(why.to_owned()));
    }
    Ok((name, digest, wasm))
}

/// Stores an agent's component, and replaces one that was stored under the same name.
pub(super) fn keep(tx: &Tx<'_>, agent: &KeepAgent) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "INSERT INTO agent (name, digest, wasm, loaded_ms) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (name) DO UPDATE SET digest = excluded.digest,
               wasm = excluded.wasm, loaded_ms = excluded.loaded_ms",
        )?
        .execute(params![
            agent.name.as_str(),
            agent.digest,
            agent.wasm,
            tx.now.0 as i64
        ])?;
    Ok(())
}

/// Deletes a stored agent. Returns whether it existed.
pub(super) fn forget(tx: &Tx<'_>, agent: &ForgetAgent) -> Result<bool, StoreError> {
    let deleted = tx
        .conn
        .prepare_cached("DELETE FROM agent WHERE name = ?1")?
        .execute([agent.name.as_str()])?;
    Ok(deleted > 0)
}
