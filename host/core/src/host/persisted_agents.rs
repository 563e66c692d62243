//! Agents that outlive the process: an embedder passes them as bytes, the store keeps them, and the
//! next host loads them again.

use super::{Agent, AgentSource, Host, HostError, agent};
use lastword_store::{ForgetAgent, KeepAgent};
use lastword_types::id::AgentId;

impl Host {
    /// Loads an agent as [`Host::load_agent`] does, and stores its component in the data directory,
    /// in place of one that was stored under the same name. After a restart,
    /// [`Host::load_kept_agents`] loads it again.
    ///
    /// Dropping the future leaves the agent as it was, or kept but loaded only by the next
    /// [`Host::load_kept_agents`]; call this again to load it.
    ///
    /// # Errors
    /// As for [`Host::load_agent`]; [`HostError::StoreUnavailable`] if it cannot be stored. Then an
    /// agent that was loaded under the name stays as it was.
    pub async fn keep_agent(
        &self,
        name: impl Into<String>,
        wasm: impl Into<Vec<u8>>,
    ) -> Result<Agent, HostError> {
        let (id, wasm) = (AgentId::new(name)?, wasm.into());
        let source = AgentSource::Bytes(wasm.clone());
        let agent = agent::load(&self.inner, id.clone(), source).await?;
        let digest = agent.digest().to_string();
        // Locked while the agent is stored and registered, so that both happen in the same order.
        let turn = self.inner.keeping.lock().await;
        let keep = KeepAgent {
            name: id.clone(),
            digest,
            wasm,
        };

        self.inner.store.execute(keep).await?;
        self.inner.agents().insert(id, agent.clone());
        drop(turn);
        Ok(agent)
    }

    /// Loads the agents that [`Host::keep_agent`] stored, by name. Call it at the start, before
    /// agents from elsewhere are loaded: of two agents with one name, the later one is used.
    ///
    /// For an agent that can no longer be loaded, the result contains the reason; the agent stays
    /// stored, and the others are loaded.
    ///
    /// Dropping the future leaves those loaded that were loaded by then.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn load_kept_agents(
        &self,
    ) -> Result<Vec<(AgentId, Result<Agent, HostError>)>, HostError> {
        let turn = self.inner.keeping.lock().await;
        let kept = self.inner.store.kept_agents().await?;
        let mut loaded = Vec::with_capacity(kept.len());
        for (id, _, wasm) in kept {
            let agent = self.load_agent(id.as_str(), wasm).await;
            loaded.push((id, agent));
        }

        drop(turn);
        Ok(loaded)
    }

    /// Unloads an agent, and deletes it from the store; runs that have begun or wait continue.
    /// Returns whether it was loaded or stored.
    ///
    /// Dropping the future leaves the agent as it was, or no longer kept but still loaded; call
    /// this again to unload it.
    ///
    /// # Errors
    /// If the store cannot be written. Then it stays loaded.
    pub async fn forget_agent(&self, id: &AgentId) -> Result<bool, HostError> {
        let turn = self.inner.keeping.lock().await;
        let kept = self
            .inner
            .store
            .execute(ForgetAgent { name: id.clone() })
            .await?;
        let loaded = self.unload_agent(id);
        drop(turn);
        Ok(kept || loaded)
    }
}
