//! A guest's question whether a secret exists, as it asks it. Knows no value.

use super::Secrets;
use super::config::NAME_BYTES_MAX;
use crate::capability::control::Control;
use crate::capability::failure::{cancelled, denied, failure, unless_asked};
use crate::capability::permits::Permits;
use crate::permission::{self, Capability};
use crate::sandbox::HostResult;
use crate::sandbox::bindings::lastword::agent::secrets::{Failure, Host};
use std::sync::Arc;

/// One guest's questions; none are answered if that is not granted.
pub(crate) struct Asked {
    pub(crate) control: Arc<Control>,
    pub(crate) granted: Option<Access>,
}

/// Which secrets there are, and who decides which of them the guest may ask for.
pub(crate) struct Access {
    pub(crate) secrets: Secrets,
    pub(crate) permits: Permits,
}

impl Asked {
    async fn answer(&self, name: &str) -> Result<bool, Failure> {
        self.control.called();
        unless_asked(&self.control)?;
        let granted = self.granted.as_ref();
        let granted = granted.ok_or_else(|| denied(Capability::Secrets))?;
        if name.len() > NAME_BYTES_MAX {
            let message = format!("the name of a secret has at most {NAME_BYTES_MAX} bytes");
            return Err(failure("invalid", message));
        }
        let title = format!("learn whether there is a secret {name:?}");
        let access = permission::Access::new(Capability::Secrets, name, title);
        let allowed = tokio::select! {
            biased;
            () = self.control.asked() => return Err(cancelled()),
            allowed = granted.permits.require(access) => allowed,
        };
        allowed.map_err(|denied| failure("denied", denied.to_string()))?;
        Ok(granted.secrets.exists(name))
    }
}

impl Host for Asked {
    #[tracing::instrument(
        level = "debug",
        target = "lastword::call",
        name = "secrets.exists",
        skip_all
    )]
    async fn exists(&mut self, name: String) -> HostResult<Result<bool, Failure>> {
        Ok(self.answer(&name).await)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::secrets;
    use super::*;
    use crate::capability::permits::testing::Scripted;
    use crate::clock::SystemClock;

    fn asked(allows: Option<bool>) -> Asked {
        let access = |allows| Access {
            secrets: secrets(&[("a", "value-a", "*")]),
            permits: Scripted::new(allows).permits(),
        };
        Asked {
            control: Control::new(SystemClock::shared()),
            granted: allows.map(access),
        }
    }

    #[tokio::test]
    async fn only_who_may_ask_is_told() {
        let allowed = asked(Some(true));
        assert!(allowed.answer("a").await.unwrap());
        assert!(!allowed.answer("b").await.unwrap());
        let long = allowed.answer(&"x".repeat(1000)).await.unwrap_err();
        assert_eq!(long.code, "invalid");
        for refused in [asked(None), asked(Some(false))] {
            assert_eq!(refused.answer("a").await.unwrap_err().code, "denied");
        }
        allowed.control.ask("user".to_owned());
        assert_eq!(allowed.answer("a").await.unwrap_err().code, "cancelled");
    }
}
