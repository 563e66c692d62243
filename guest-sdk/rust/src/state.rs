//! Small values that an agent keeps between runs.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Result;
use crate::host::state;

pub use crate::bindings::state::Scope;

/// The values of one scope. They are durable as soon as a call returns, and so survive a run
/// that is stopped. Every call fails with `cancelled`, `denied`, `invalid` or `unavailable`;
/// one that stores also with `limit`.
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

    /// The value, or none if it was never set.
    ///
    /// # Errors
    ///
    /// As the host answers.
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        Ok(state::get(self.scope, key)?)
    }

    /// The value, read as JSON.
    ///
    /// # Errors
    ///
    /// As the host answers, or `invalid` if the value is not what the type expects.
    pub fn get_json<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let value = self.get(key)?;
        Ok(value
            .map(|json| serde_json::from_slice(&json))
            .transpose()?)
    }

    /// Sets a value, whatever was there.
    ///
    /// # Errors
    ///
    /// As the host answers.
    pub fn set(&self, key: &str, value: &[u8]) -> Result<()> {
        Ok(state::set(self.scope, key, value)?)
    }

    /// Sets a value, written as JSON.
    ///
    /// # Errors
    ///
    /// As the host answers, or `invalid` if the value cannot be written as JSON.
    pub fn set_json(&self, key: &str, value: &impl Serialize) -> Result<()> {
        self.set(key, &serde_json::to_vec(value)?)
    }

    /// Sets a value only if the present one is `expected` (none: not set); says whether it did.
    ///
    /// # Errors
    ///
    /// As the host answers.
    pub fn compare_and_set(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        value: &[u8],
    ) -> Result<bool> {
        Ok(state::compare_and_set(self.scope, key, expected, value)?)
    }

    /// Removes a value, if there is one.
    ///
    /// # Errors
    ///
    /// As the host answers.
    pub fn delete(&self, key: &str) -> Result<()> {
        Ok(state::delete(self.scope, key)?)
    }

    /// The keys that start with `prefix`.
    ///
    /// # Errors
    ///
    /// As the host answers.
    pub fn keys(&self, prefix: &str) -> Result<Vec<String>> {
        Ok(state::keys(self.scope, prefix)?)
    }
}
