//! Components that were handed over as bytes, kept so that a server has them after its next
//! start. Knows nothing of what is in them.

use super::StoreError;
use super::damage::Listing;
use super::open::Store;
use lastword_types::id::AgentId;
use rusqlite::{Row, params};

/// An agent that is kept: name, digest, bytes.
type Kept = (AgentId, String, Vec<u8>);

/// The agents that are kept, by name.
const AGENTS: Listing<'_> = Listing {
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
    if super::damage::digest(&wasm) != digest {
        let why = "the component's bytes do not have its digest";
        return Err(StoreError::Content(why.to_owned()));
    }
    Ok((name, digest, wasm))
}

impl Store {
    /// Keeps an agent's component, instead of one that was kept under the same name.
    pub async fn keep_agent(
        &self,
        name: AgentId,
        digest: String,
        wasm: Vec<u8>,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.conn
                .prepare_cached(
                    "INSERT INTO agent (name, digest, wasm, loaded_ms) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT (name) DO UPDATE SET digest = excluded.digest,
                       wasm = excluded.wasm, loaded_ms = excluded.loaded_ms",
                )?
                .execute(params![name.as_str(), digest, wasm, tx.now.0 as i64])?;
            Ok(())
        })
        .await
    }

    /// Keeps an agent no longer; answers whether it was kept.
    pub async fn forget_agent(&self, name: AgentId) -> Result<bool, StoreError> {
        self.write(move |tx| {
            let deleted = tx
                .conn
                .prepare_cached("DELETE FROM agent WHERE name = ?1")?
                .execute([name.as_str()])?;
            Ok(deleted > 0)
        })
        .await
    }

    /// The agents that are kept, by name: each with its digest and its bytes.
    pub async fn kept_agents(&self) -> Result<Vec<(AgentId, String, Vec<u8>)>, StoreError> {
        let readers = &self.shared.readers;
        let kept = readers.read(|conn| AGENTS.read(conn, &[], kept)).await?;
        Ok(self.readable(kept))
    }
}
