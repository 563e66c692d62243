//! Tells a guest whether a secret exists, and never its value. No person is asked for permission,
//! since they could take the question for one about sending the secret.

use crate::guest::control::Control;
use crate::guest::failure::{denied, ensure_not_stopping, failure};
use lastword_providers::secrets::{NAME_BYTES_MAX, Secrets};
use lastword_sandbox::HostResult;
use lastword_sandbox::bindings::lastword::agent::secrets::{Failure, Host};
use lastword_types::permission::{self, Authority, Capability, Verdict};
use std::sync::Arc;

/// One guest's access to secrets. It is absent if the capability is not granted.
pub(crate) struct SecretsHost {
    pub(crate) control: Arc<Control>,
    pub(crate) granted: Option<Access>,
}

/// The secrets, and the rules by which the guest may ask whether one exists.
pub(crate) struct Access {
    pub(crate) secrets: Secrets,
    pub(crate) authority: Authority,
}

impl SecretsHost {
    fn answer(&self, name: &str) -> Result<bool, Failure> {
        self.control.called();
        ensure_not_stopping(&self.control)?;
        let granted = self.granted.as_ref();
        let granted = granted.ok_or_else(|| denied(Capability::Secrets))?;
        if name.len() > NAME_BYTES_MAX {
            let message = format!("the name of a secret has at most {NAME_BYTES_MAX} bytes");
            return Err(failure("invalid", message));
        }

        let access = permission::Access::new(Capability::Secrets, name, "");
        match granted.authority.evaluate(&access, &[]) {
            Verdict::Allowed => Ok(granted.secrets.exists(name)),
            Verdict::Denied(_) | Verdict::Undecided => Err(failure(
                "denied",
                format!("no rule grants `secrets` of {name:?}, and nobody is asked about it"),
            )),
        }
    }
}

impl Host for SecretsHost {
    #[tracing::instrument(
        level = "debug",
        target = "lastword::call",
        name = "secrets.exists",
        skip_all
    )]
    async fn exists(&mut self, name: String) -> HostResult<Result<bool, Failure>> {
        Ok(self.answer(&name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lastword_os::clock::SystemClock;
    use lastword_types::permission::{Grants, Rule};

    fn secrets() -> Secrets {
        let config = r#"{"a": {"command": ["printf", "value-of-a"], "hosts": ["*"]}}"#;
        let config = serde_json::from_str(config).expect("a table of secrets");
        Secrets::load(&config).expect("a value")
    }

    fn asked(rule: Option<&str>) -> SecretsHost {
        let access = |rule: &str| Access {
            secrets: secrets(),
            authority: Authority::new(
                [Rule::any(Capability::Secrets)].into(),
                Grants::none().with(rule.parse::<Rule>().expect("a rule")),
            ),
        };

        SecretsHost {
            control: Control::new(SystemClock::shared()),
            granted: rule.map(access),
        }
    }

    #[test]
    fn only_who_may_ask_is_told() {
        let allowed = asked(Some("secrets"));
        assert!(allowed.answer("a").unwrap());
        assert!(!allowed.answer("b").unwrap());
        let long = allowed.answer(&"x".repeat(1000)).unwrap_err();
        assert_eq!(long.code, "invalid");
        assert!(asked(Some("secrets=a")).answer("a").unwrap());
        for refused in [asked(None), asked(Some("secrets=b"))] {
            assert_eq!(refused.answer("a").unwrap_err().code, "denied");
        }
        allowed.control.ask("user".to_owned());
        assert_eq!(allowed.answer("a").unwrap_err().code, "cancelled");
    }
}
