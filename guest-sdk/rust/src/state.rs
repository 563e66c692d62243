//! Small values that an agent stores between runs.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Result;
use crate::host::state;

pub use crate::bindings::state::Scope;

/// The values of one scope. They are durable as soon as a call returns, and therefore survive a run
/// that is stopped. Every call fails with `cancelled`, `denied`, `invalid` or `unavailable`; calls
/// that store a value also fail with `limit`.
#[derive(Clone, Copy, Debug)]
pub struct State<'turn> {
    scope: Scope,
    turn: PhantomData<&'turn ()>,
}

impl State<'_> {
    pub(crate) fn new(scope: Scope) -> Self {
        Self {
            scope,
            turn: PhantomData,
        }
    }

    /// Returns the value, or none if it was never set.
    ///
    /// # Errors
    ///
    /// The host's failure.
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        Ok(state::get(self.scope, key)?)
    }

    /// Returns the value, parsed as JSON.
    ///
    /// # Errors
    ///
    /// The host's failure, or `invalid` if the value does not fit the type.
    pub fn get_json<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let value = self.get(key)?;
        Ok(value
            .map(|json| serde_json::from_slice(&json))
            .transpose()?)
    }

    /// Sets a value, and replaces the present one.
    ///
    /// # Errors
    ///
    /// The host's failure.
    pub fn set(&self, key: &str, value: &[u8]) -> Result<()> {
        Ok(state::set(self.scope, key, value)?)
    }

    /// Sets a value, written as JSON.
    ///
    /// # Errors
    ///
    /// The host's failure, or `invalid` if the value cannot be written as JSON.
    pub fn set_json(&self, key: &str, value: &impl Serialize) -> Result<()> {
        self.set(key, &serde_json::to_vec(value)?)
    }

    /// Sets a value only if the present one is `expected` (none: not set). Returns whether it did.
    ///
    /// # Errors
    ///
    /// The host's failure.
    pub fn compare_and_set(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        value: &[u8],
    ) -> Result<bool> {
        Ok(state::compare_and_set(self.scope, key, expected, value)?)
    }

    /// Removes a value. A key without a value is not an error.
    ///
    /// # Errors
    ///
    /// The host's failure.
    pub fn delete(&self, key: &str) -> Result<()> {
        Ok(state::delete(self.scope, key)?)
    }

    /// Returns the keys that start with `prefix`, sorted by their bytes.
    ///
    /// # Errors
    ///
    /// The host's failure.
    pub fn keys(&self, prefix: &str) -> Result<Vec<String>> {
        Ok(state::keys(self.scope, prefix)?)
    }
}
