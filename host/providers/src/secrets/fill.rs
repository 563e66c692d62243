//! Fills placeholders: `{{secret:NAME}}` in a text becomes the value, if that is allowed.

use super::Secrets;
use crate::permits::Denied;
use secrecy::{ExposeSecret, SecretString};

const BEGIN: &str = "{{secret:";
const END: &str = "}}";
/// The largest number of placeholders in one text.
const PLACEHOLDERS_MAX: usize = 16;

/// Why a text could not be filled in. Never contains a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    #[error(
        "`{BEGIN}` is not followed by a name and `{END}`; write {BEGIN}NAME{END}, at most \
         {PLACEHOLDERS_MAX} of them"
    )]
    Malformed,
    #[error("there is no secret `{0}`; ask the operator for it")]
    Unknown(String),
    #[error(transparent)]
    Denied(#[from] Denied),
}

/// Returns the names in a text's placeholders, in order.
pub fn placeholders(text: &str) -> Result<Vec<&str>, SecretError> {
    let mut names = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(BEGIN) {
        let (name, after) = after.split_once(END).ok_or(SecretError::Malformed)?;
        if !super::config::is_name(name) || names.len() == PLACEHOLDERS_MAX {
            return Err(SecretError::Malformed);
        }
        names.push(name);
        rest = after;
    }

    Ok(names)
}

impl Secrets {
    /// Fills in every placeholder, for texts that the operator wrote.
    pub fn fill_all(&self, text: &str) -> Result<String, SecretError> {
        let filled = self.fill(text, &|_| Ok(()))?;
        Ok(filled.expose_secret().to_owned())
    }

    /// Fills in every placeholder, if all of them are allowed. Placeholders within a value are not
    /// filled in.
    pub fn fill(
        &self,
        text: &str,
        allowed: &dyn Fn(&str) -> Result<(), Denied>,
    ) -> Result<SecretString, SecretError> {
        let mut filled = String::new();
        let mut rest = text;

        for name in placeholders(text)? {
            allowed(name)?;
            let secret = self.inner.secrets.get(name);
            let secret = secret.ok_or_else(|| SecretError::Unknown(name.to_owned()))?;
            if let Some((before, after)) = rest.split_once(BEGIN) {
                filled.push_str(before);
                filled.push_str(secret.value.expose_secret());
                rest = after.split_once(END).map_or("", |(_, after)| after);
            }
        }

        filled.push_str(rest);
        Ok(filled.into())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::secrets;
    use super::*;

    #[test]
    fn placeholders_become_values() {
        let secrets = secrets(&[("a", "value-a{{secret:b}}", "*"), ("b", "value-b", "*")]);
        let fill = |text: &str| secrets.fill(text, &|_| Ok(()));

        for (text, filled) in [
            ("", ""),
            ("plain }} {{ secret:a", "plain }} {{ secret:a"),
            ("Bearer {{secret:b}}!", "Bearer value-b!"),
            ("{{secret:b}}{{secret:b}}", "value-bvalue-b"),
            ("{{secret:a}}", "value-a{{secret:b}}"),
            ("{{{secret:b}}}", "{value-b}"),
        ] {
            assert_eq!(fill(text).unwrap().expose_secret(), filled, "{text}");
        }
    }

    #[test]
    fn placeholders_that_are_denied_are_not_filled() {
        let secrets = secrets(&[("a", "value-a", "*"), ("b", "value-b", "*")]);
        let only_a = |name: &str| match name {
            "b" => Err(Denied("no".to_owned())),
            _ => Ok(()),
        };
        let fill = |text: &str| secrets.fill(text, &only_a).unwrap_err();
        let denied = SecretError::Denied(Denied("no".to_owned()));

        assert_eq!(fill("{{secret:a}}{{secret:b}}"), denied);
        assert_eq!(fill("{{secret:c}}"), SecretError::Unknown("c".to_owned()));

        for malformed in [
            "{{secret:a",
            "{{secret:}}",
            "{{secret:a b}}",
            "{{secret:{{secret:a}}",
        ] {
            assert_eq!(fill(malformed), SecretError::Malformed, "{malformed}");
        }

        let many = "{{secret:a}}".repeat(PLACEHOLDERS_MAX + 1);
        assert_eq!(fill(&many), SecretError::Malformed);
    }
}
