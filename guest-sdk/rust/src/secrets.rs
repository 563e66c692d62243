//! Secrets: a guest can ask whether there is one, and name it in a request; it never sees a value.
//!
//! It does not know where they come from, nor who may have them.

use crate::bindings::secrets;
use crate::{Result, Turn};

impl<C> Turn<C> {
    /// Whether there is a secret of this name. The host puts it where `{{secret:NAME}}` stands in
    /// the value of a header, in requests to the hosts that may have it.
    ///
    /// # Errors
    ///
    /// As the host answers: `denied` unless `secrets` is granted for the name.
    pub fn has_secret(&self, name: &str) -> Result<bool> {
        Ok(secrets::exists(name)?)
    }
}
