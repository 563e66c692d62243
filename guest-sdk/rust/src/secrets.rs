//! Secrets: an agent can ask whether one exists and name it in a request, but never sees its value.

use crate::host::secrets;
use crate::{Result, Turn};

impl<C> Turn<C> {
    /// Whether a secret of this name exists. The host replaces `{{secret:NAME}}` in the value of a
    /// header by the secret, in requests to the hosts that may receive it.
    ///
    /// # Errors
    ///
    /// The host's failure: `denied` unless `secrets` is granted for the name.
    pub fn has_secret(&self, name: &str) -> Result<bool> {
        Ok(secrets::exists(name)?)
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Host;
    use crate::{Capability, Result, Turn};

    fn has(host: &Host, name: &str) -> Result<bool> {
        host.turn("", |turn: &Turn<()>| turn.has_secret(name))
    }

    #[test]
    fn an_agent_learns_whether_there_is_one() {
        let host = Host::new().secret("search");
        assert!(has(&host, "search").unwrap());
        assert!(!has(&host, "mail").unwrap());
        let denied = has(&host.deny(Capability::Secrets), "search");
        assert!(denied.unwrap_err().is_denied());
        let stopped = Host::new().secret("search").cancel_after(0);
        assert!(has(&stopped, "search").unwrap_err().is_cancelled());
    }
}
