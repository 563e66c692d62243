//! Small durable values of an agent. They are written at once, so they survive a cancelled run.

use super::control::Control;
use super::failure::{OrFailure, ensure_not_stopping, failure};
use lastword_sandbox::HostResult;
use lastword_sandbox::bindings::lastword::agent::state::{Failure, Host, Scope};
use lastword_store::{PutState, StateOwner, StateQuota, StateScope, Store};
use std::sync::Arc;

/// The largest number of bytes of a key.
const KEY_BYTES_MAX: usize = 512;
/// The largest number of keys of one agent per session, and also per workspace.
const KEYS_MAX: u64 = 1000;

/// One guest's access to its values, or the refusal if it has none.
pub(crate) struct State {
    pub(crate) control: Arc<Control>,
    pub(crate) values: Result<Values, Failure>,
}

/// The owner of the values, and the largest number of their bytes.
pub(crate) struct Values {
    pub(crate) store: Store,
    pub(crate) owner: StateOwner,
    pub(crate) bytes_max: u64,
}

impl Values {
    async fn put(
        &self,
        scope: Scope,
        key: String,
        expected: Option<Option<Vec<u8>>>,
        value: Option<Vec<u8>>,
    ) -> Result<bool, Failure> {
        let quota = StateQuota {
            bytes: self.bytes_max,
            keys: KEYS_MAX,
        };

        let put = PutState {
            owner: self.owner.clone(),
            scope: scope_in(scope),
            key,
            expected,
            value,
            quota,
        };

        self.store.execute(put).await.or_failure()
    }
}

fn scope_in(scope: Scope) -> StateScope {
    match scope {
        Scope::Session => StateScope::Session,
        Scope::Workspace => StateScope::Workspace,
    }
}

impl State {
    fn values(&self, key: &str) -> Result<&Values, Failure> {
        self.control.called();
        ensure_not_stopping(&self.control)?;
        if key.len() > KEY_BYTES_MAX {
            let message = format!("a key has at most {KEY_BYTES_MAX} bytes");
            return Err(failure("invalid", message));
        }

        self.values.as_ref().map_err(Failure::clone)
    }

    async fn read(&self, scope: Scope, key: String) -> Result<Option<Vec<u8>>, Failure> {
        let values = self.values(&key)?;
        values
            .store
            .state(values.owner.clone(), scope_in(scope), key)
            .await
            .or_failure()
    }

    async fn list(&self, scope: Scope, prefix: String) -> Result<Vec<String>, Failure> {
        let values = self.values(&prefix)?;
        let keys = values
            .store
            .state_keys(values.owner.clone(), scope_in(scope), prefix);
        keys.await.or_failure()
    }

    async fn write(
        &self,
        scope: Scope,
        key: String,
        expected: Option<Option<Vec<u8>>>,
        value: Option<Vec<u8>>,
    ) -> Result<bool, Failure> {
        let values = self.values(&key)?;
        values.put(scope, key, expected, value).await
    }
}

type Answer<T> = HostResult<Result<T, Failure>>;

impl Host for State {
    #[tracing::instrument(
        level = "debug",
        target = "lastword::call",
        name = "state.get",
        skip_all
    )]
    async fn get(&mut self, scope: Scope, key: String) -> Answer<Option<Vec<u8>>> {
        Ok(self.read(scope, key).await)
    }

    #[tracing::instrument(
        level = "debug",
        target = "lastword::call",
        name = "state.set",
        skip_all
    )]
    async fn set(&mut self, scope: Scope, key: String, value: Vec<u8>) -> Answer<()> {
        Ok(self.write(scope, key, None, Some(value)).await.map(|_| ()))
    }

    #[tracing::instrument(
        level = "debug",
        target = "lastword::call",
        name = "state.compare-and-set",
        skip_all
    )]
    async fn compare_and_set(
        &mut self,
        scope: Scope,
        key: String,
        expected: Option<Vec<u8>>,
        value: Vec<u8>,
    ) -> Answer<bool> {
        Ok(self.write(scope, key, Some(expected), Some(value)).await)
    }

    #[tracing::instrument(
        level = "debug",
        target = "lastword::call",
        name = "state.delete",
        skip_all
    )]
    async fn delete(&mut self, scope: Scope, key: String) -> Answer<()> {
        Ok(self.write(scope, key, None, None).await.map(|_| ()))
    }

    #[tracing::instrument(
        level = "debug",
        target = "lastword::call",
        name = "state.keys",
        skip_all
    )]
    async fn keys(&mut self, scope: Scope, prefix: String) -> Answer<Vec<String>> {
        Ok(self.list(scope, prefix).await)
    }
}
