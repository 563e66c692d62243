//! The `[secrets]` tables of a configuration file: the source of each value, and the hosts that may
//! receive it.

use crate::http::{HostPatterns, InvalidHostPattern};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The `[secrets]` table of a configuration file.
///
/// ```toml
/// [secrets.search]
/// env = "SEARCH_KEY" # or file = "search.key", or command = ["pass", "show", "search"]
/// hosts = ["api.example.com", "*.example.com:8443"]
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct SecretsConfig(pub BTreeMap<String, SecretConfig>);

/// One secret: exactly one source, and the hosts that it may be sent to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SecretConfig {
    /// The environment variable that contains the value.
    pub env: Option<String>,
    /// The file that contains only the value. White space at its end is ignored.
    pub file: Option<PathBuf>,
    /// A program and its arguments. It has to write only the value to its standard output, within
    /// 10 s.
    pub command: Option<Vec<String>>,
    /// The hosts to which agents' requests may send it, over `https`: `host` or `host:port`.
    pub hosts: Vec<String>,
}

/// Why a secret cannot be used. Never contains a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("[secrets.{name}]: {reason}")]
pub struct SecretsError {
    /// The name of the secret.
    pub name: String,
    /// What is wrong with it, and how to correct it.
    pub reason: String,
}

/// The source of one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Env(String),
    File(PathBuf),
    Command(Vec<String>),
}

/// The largest number of bytes of a name.
pub const NAME_BYTES_MAX: usize = 64;

/// Whether a secret may have this name: only characters that need no escaping anywhere.
pub(super) fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(fits)
}

impl SecretConfig {
    pub(super) fn origin(&self) -> Result<Origin, String> {
        let sources = [
            self.env.clone().map(Origin::Env),
            self.file.clone().map(Origin::File),
            self.command.clone().map(Origin::Command),
        ];
        let mut sources = sources.into_iter().flatten();
        match (sources.next(), sources.next()) {
            (Some(Origin::Command(words)), None) if words.is_empty() => {
                Err("`command` is empty; name a program and its arguments".to_owned())
            }
            (Some(origin), None) => Ok(origin),
            _ => Err("it needs exactly one of `env`, `file` and `command`".to_owned()),
        }
    }

    pub(super) fn hosts(&self) -> Result<HostPatterns, InvalidHostPattern> {
        HostPatterns::new(&self.hosts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read() {
        let config: SecretsConfig = toml::from_str(
            "[search]\nenv = \"KEY\"\nhosts = [\"a.example\"]\n[other]\ncommand = [\"pass\", \"x\"]",
        )
        .unwrap();

        assert_eq!(
            config.0["search"].origin(),
            Ok(Origin::Env("KEY".to_owned()))
        );

        assert!(config.0["search"].hosts().unwrap().covers("a.example:443"));
        let words = vec!["pass".to_owned(), "x".to_owned()];
        assert_eq!(config.0["other"].origin(), Ok(Origin::Command(words)));
        assert!(toml::from_str::<SecretsConfig>("[a]\nvalue = \"x\"").is_err());
    }

    #[test]
    fn a_secret_needs_exactly_one_source() {
        for text in ["", "env = \"A\"\nfile = \"b\"", "command = []"] {
            let config: SecretConfig = toml::from_str(text).unwrap();
            assert!(config.origin().is_err(), "{text:?}");
        }
    }

    #[test]
    fn names_need_no_escaping() {
        assert!(is_name("a") && is_name("api_key-2.x"));
        for bad in ["", "a b", "a}", "ä", "a/b", &"x".repeat(NAME_BYTES_MAX + 1)] {
            assert!(!is_name(bad), "{bad:?}");
        }
    }
}
