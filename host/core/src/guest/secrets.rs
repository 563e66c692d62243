//! Tells a guest whether a secret exists, and never its value. No person is asked for permission,
//! since they could take the question for one about sending the secret.

use crate::guest::control::Control;
use crate::guest::failure::{ensure_not_stopping, failure, refusal};
use lastword_providers::secrets::{NAME_BYTES_MAX, Secrets};
use lastword_sandbox::HostResult;
use lastword_sandbox::bindings::lastword::agent::secrets::{Failure, Host};
use lastword_types::hint;
use lastword_types::permission::{self, Authority, Capability, Rule, Verdict};
use std::sync::Arc;

/// One guest's access to secrets, or the refusal if it has none.
pub(crate) struct SecretsHost {
    pub(crate) control: Arc<Control>,
    pub(crate) granted: Result<Access, Failure>,
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
        let granted = self.granted.as_ref().map_err(Failure::clone)?;
        if name.len() > NAME_BYTES_MAX {
            let message = format!("the name of a secret has at most {NAME_BYTES_MAX} bytes");
            return Err(failure("invalid", message));
        }

        let access = permission::Access::new(Capability::Secrets, name, "");
        match granted.authority.evaluate(&access, &[]) {
            Verdict::Allowed => Ok(granted.secrets.exists(name)),
            Verdict::Denied(why) => Err(failure(
                "denied",
                refusal(Capability::Secrets, Some(name), &why),
            )),
            Verdict::Undecided => Err(failure("denied", not_granted(&access))),
        }
    }
}

fn not_granted(access: &permission::Access) -> String {
    let rule = Rule::exactly(access).unwrap_or_else(|| Capability::Secrets.into());
    format!(
        "the secret `{}` is not granted to this agent; {}",
        access.target,
        hint::with_rule(&rule)
    )
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
    use crate::guest::failure::nothing_granted;
    use lastword_os::clock::SystemClock;
    use lastword_types::permission::Grants;

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
            granted: rule.map(access).ok_or_else(nothing_granted),
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
