//! Named secrets: loaded once, filled into the host's own requests, and redacted from everything
//! that a guest, a log or a table receives. A guest can ask whether a secret exists, but never for
//! its value.

mod config;
mod encode;
mod fill;
mod load;
mod redact;

pub use config::{NAME_BYTES_MAX, SecretConfig, SecretsConfig, SecretsError};
pub use fill::placeholders;
pub use redact::RedactedStream;

use super::http::HostPatterns;
use redact::Needles;
use secrecy::SecretString;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The largest number of secrets.
const SECRETS_MAX: usize = 256;

/// The secrets of a host. Cheap to clone; never prints a value.
#[derive(Clone)]
pub struct Secrets {
    inner: Arc<Inner>,
}

struct Inner {
    secrets: BTreeMap<String, Secret>,
    needles: Arc<Needles>,
}

struct Secret {
    value: SecretString,
    hosts: HostPatterns,
}

impl Secrets {
    /// Returns a set without secrets.
    #[must_use]
    pub fn none() -> Self {
        Self::of(BTreeMap::new())
    }

    /// Reads every value now, so that a missing secret is found at the start. Blocks while commands
    /// run, up to 10 s each.
    ///
    /// # Errors
    ///
    /// [`SecretsError`] for the first secret that cannot be used.
    pub fn load(config: &SecretsConfig) -> Result<Self, SecretsError> {
        let mut secrets = BTreeMap::new();

        for (name, secret) in &config.0 {
            let failed = |reason: String| SecretsError {
                name: name.clone(),
                reason,
            };

            if !config::is_name(name) {
                let most = NAME_BYTES_MAX;
                return Err(failed(format!(
                    "a name has letters, digits, `_`, `-` and `.`, {most} of them at the most"
                )));
            }

            if secrets.len() == SECRETS_MAX {
                return Err(failed(format!("there are more than {SECRETS_MAX} secrets")));
            }

            let hosts = secret.hosts().map_err(|error| failed(error.to_string()))?;
            let origin = secret.origin().map_err(failed)?;
            let value = load::value(&origin).map_err(failed)?;

            secrets.insert(name.clone(), Secret { value, hosts });
        }

        Ok(Self::of(secrets))
    }

    fn of(secrets: BTreeMap<String, Secret>) -> Self {
        let values = secrets.iter();
        let values = values.map(|(name, secret)| (name.as_str(), &secret.value));
        let needles = Arc::new(Needles::new(values));
        Self {
            inner: Arc::new(Inner { secrets, needles }),
        }
    }

    /// Creates secrets from values that were obtained while the host runs. They are only redacted,
    /// and never filled in. Values that are too short to be distinguished from other text are left
    /// out.
    pub fn for_redaction(values: impl IntoIterator<Item = (String, String)>) -> Self {
        let fits = |value: &str| value.len() >= load::VALUE_BYTES_MIN;
        let values = values.into_iter().filter(|(_, value)| fits(value));

        let secrets = values.map(|(name, value)| {
            let secret = Secret {
                value: SecretString::from(value),
                hosts: HostPatterns::default(),
            };
            (name, secret)
        });
        Self::of(secrets.collect())
    }

    /// Returns the names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.inner.secrets.keys().map(String::as_str)
    }

    /// Whether there are no secrets.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inner.secrets.is_empty()
    }

    /// Whether a secret of this name exists.
    #[must_use]
    pub fn exists(&self, name: &str) -> bool {
        self.inner.secrets.contains_key(name)
    }

    /// Whether a request to `host:port` may carry this secret.
    pub(crate) fn is_allowed_for(&self, name: &str, target: &str) -> bool {
        let secret = self.inner.secrets.get(name);
        secret.is_some_and(|secret| secret.hosts.covers(target))
    }

    /// Replaces every value in a text by `[secret NAME]`.
    #[must_use]
    pub fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.inner.needles.redact(text)
    }

    /// As [`Secrets::redact`], for bytes.
    pub fn redact_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        self.inner.needles.redact_bytes(bytes)
    }

    /// As [`Secrets::redact`], for a stream of bytes.
    pub(crate) fn redacted_stream(&self) -> RedactedStream {
        RedactedStream::new(Arc::clone(&self.inner.needles))
    }
}

/// Redacts a JSON value, in names and in strings, by `clean`. A string that is quoted in another
/// one counts as part of that string.
pub fn redact_json(value: Value, clean: &dyn Fn(&str) -> String) -> Value {
    match value {
        Value::String(text) => Value::String(clean(&text)),
        Value::Array(items) => {
            let items = items.into_iter();
            items.map(|item| redact_json(item, clean)).collect()
        }
        Value::Object(fields) => {
            let fields = fields.into_iter();
            let fields = fields.map(|(name, value)| (clean(&name), redact_json(value, clean)));
            Value::Object(fields.collect())
        }
        Value::Number(number) => {
            let text = number.to_string();
            let clean = clean(&text);
            if clean == text {
                Value::Number(number)
            } else {
                Value::String(clean)
            }
        }
        other => other,
    }
}

/// The smallest number of bytes of a form that is unlikely to occur by chance.
const FORM_BYTES_MIN: usize = 6;

/// Replaces this value, in any form, by the mark. For a value that is not a named secret: a model
/// service's key.
pub fn redact_value(text: &str, value: &str, mark: &str) -> String {
    let mut forms = encode::forms(value);
    forms.retain(|form| form == value.as_bytes() || form.len() >= FORM_BYTES_MIN);
    forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
    let forms = forms.iter().filter_map(|form| str::from_utf8(form).ok());
    forms.fold(text.to_owned(), |text, form| text.replace(form, mark))
}

impl Default for Secrets {
    fn default() -> Self {
        Self::none()
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.inner.secrets.keys()).finish()
    }
}

/// Test support: secrets without sources.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// Creates secrets with these names, values and hosts.
    pub(crate) fn secrets(secrets: &[(&str, &str, &str)]) -> Secrets {
        let secrets = secrets.iter().map(|(name, value, host)| {
            let secret = Secret {
                value: SecretString::from(*value),
                hosts: HostPatterns::new([host]).expect("a pattern"),
            };
            ((*name).to_owned(), secret)
        });
        Secrets::of(secrets.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> SecretsConfig {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn secrets_are_loaded_and_never_printed() {
        let folder = tempfile_in_target();
        let file = folder.join("key");
        std::fs::write(&file, "hunter2-long\r\n").unwrap();

        let text = format!(
            "[a]\nfile = {file:?}\nhosts = [\"a.example\"]\n\
             [b]\ncommand = [\"printf\", \"other-value\"]"
        );
        let secrets = Secrets::load(&config(&text)).unwrap();
        std::fs::remove_dir_all(folder).unwrap();
        assert_eq!(secrets.names().collect::<Vec<_>>(), ["a", "b"]);
        assert!(secrets.exists("a") && !secrets.exists("c"));
        assert!(secrets.is_allowed_for("a", "a.example:443"));
        assert!(!secrets.is_allowed_for("a", "b.example:443"));
        assert!(!secrets.is_allowed_for("b", "a.example:443"));
        assert_eq!(secrets.redact("=hunter2-long="), "=[secret a]=");

        let shown = format!("{secrets:?} {:?}", secrets.inner.secrets["a"].value);
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.starts_with("{\"a\", \"b\"}"), "{shown}");
    }

    #[test]
    fn json_is_redacted_at_any_depth() {
        let secrets = testing::secrets(&[("a", "p\"ss/word", "*"), ("b", "12345678", "*")]);
        let clean = |text: &str| secrets.redact(text).into_owned();
        let inner = serde_json::json!({ "key": "p\"ss/word" }).to_string();
        let value = serde_json::json!({ "p\"ss/word": [inner, 12_345_678, 7, null] });
        let redacted = serde_json::json!({
            "[secret a]": ["{\"key\":\"[secret a]\"}", "[secret b]", 7, null]
        });
        assert_eq!(redact_json(value, &clean), redacted);
    }

    #[test]
    fn a_value_without_a_name_is_redacted() {
        for (text, redacted) in [
            ("no key", "no key"),
            ("the key p\"ss/word1!", "the key (key)!"),
            ("{\"k\":\"p\\\"ss/word1\"}", "{\"k\":\"(key)\"}"),
            ("?k=p%22ss%2fword1", "?k=(key)"),
            ("dTpwInNzL3dvcmQxOg==", "dTp(key)Og=="),
        ] {
            assert_eq!(redact_value(text, "p\"ss/word1", "(key)"), redacted);
        }

        assert_eq!(
            redact_value("Kkkkk", "k", "-"),
            "K----",
            "no form by chance"
        );
    }

    /// A folder for this test only.
    fn tempfile_in_target() -> std::path::PathBuf {
        let name = format!("lastword-secrets-{}", lastword_types::id::RunId::generate());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn the_first_unusable_secret_is_named() {
        let error = |text: &str| Secrets::load(&config(text)).unwrap_err().to_string();
        let short = error("[short]\ncommand = [\"printf\", \"xyzab\"]");
        assert!(short.contains("[secrets.short]") && short.contains("fewer than 6"));
        assert!(!short.contains("xyzab"), "{short}");
        assert!(error("[\"a b\"]\nenv = \"A\"").contains("a name has letters"));
        assert!(error("[a]\nenv = \"A\"\nhosts = [\"http://a\"]").contains("has a scheme"));
        assert!(error("[a]").contains("exactly one of"));
        assert!(error("[a]\nfile = \"/no/such/file\"").contains("/no/such/file"));
    }
}
