//! The address and the key of a model service: the operator's tables over the environment. Reads
//! variables and key files, and sends nothing.

use super::config::{ContextTokens, ModelConfigError, ModelsConfig, ServiceConfig};
use super::guard::GuardLimits;
use super::provider::{ModelError, ModelErrorKind};
use crate::http::is_loopback;
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use std::path::Path;
use std::time::Duration;

/// The built-in services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Service {
    OpenAi,
    Anthropic,
    Gemini,
    Ollama,
}

impl Service {
    pub(super) const ALL: [Self; 4] = [Self::OpenAi, Self::Anthropic, Self::Gemini, Self::Ollama];

    /// The part of a model's spec before the colon.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Ollama => "ollama",
        }
    }

    fn key_variable(self) -> &'static str {
        match self {
            Self::OpenAi => "OPENAI_API_KEY",
            Self::Anthropic => "ANTHROPIC_API_KEY",
            Self::Gemini => "GEMINI_API_KEY",
            Self::Ollama => "OLLAMA_API_KEY",
        }
    }

    fn address_variables(self) -> &'static [&'static str] {
        match self {
            Self::OpenAi => &["OPENAI_BASE_URL"],
            Self::Anthropic => &["ANTHROPIC_BASE_URL"],
            Self::Gemini => &["GEMINI_BASE_URL"],
            Self::Ollama => &["OLLAMA_BASE_URL", "OLLAMA_HOST"],
        }
    }

    fn public_address(self) -> &'static str {
        match self {
            Self::OpenAi => "https://api.openai.com/v1/",
            Self::Anthropic => "https://api.anthropic.com/v1/",
            Self::Gemini => "https://generativelanguage.googleapis.com/v1beta/",
            Self::Ollama => "http://127.0.0.1:11434/",
        }
    }

    /// The path segment under which the service's API lives, if there is one.
    fn version(self) -> Option<&'static str> {
        match self {
            Self::Gemini => Some("v1beta"),
            Self::OpenAi | Self::Anthropic => Some("v1"),
            Self::Ollama => None,
        }
    }

    pub(super) fn table(self, config: &ModelsConfig) -> &ServiceConfig {
        match self {
            Self::OpenAi => &config.openai,
            Self::Anthropic => &config.anthropic,
            Self::Gemini => &config.gemini,
            Self::Ollama => &config.ollama,
        }
    }
}

/// Looks up a variable; in the process's environment, except in tests.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Everything needed to reach one service.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    pub(super) service: Service,
    /// The address, which ends in a slash.
    pub(super) base_url: Url,
    /// The name of the variable or the file that the key comes from.
    pub(super) key_origin: String,
    key: Option<SecretString>,
    pub(super) limits: GuardLimits,
    pub(super) context_tokens: Option<ContextTokens>,
}

impl Endpoint {
    /// Combines a table with the environment.
    pub(super) fn new(
        service: Service,
        table: &ServiceConfig,
        lookup: Lookup<'_>,
    ) -> Result<Self, ModelConfigError> {
        let (key, key_origin) = match &table.api_key_file {
            Some(path) => (
                Some(read_key(service, path)?),
                format!("the file {}", path.display()),
            ),
            None => {
                let variable = table.api_key_env.as_deref();
                let variable = variable.unwrap_or(service.key_variable());
                let key = lookup(variable).map(|key| key.trim().to_owned());
                let key = key.filter(|key| !key.is_empty()).map(SecretString::from);
                (key, variable.to_owned())
            }
        };

        let mut limits = GuardLimits::default();

        if let Some(seconds) = table.idle_timeout_s {
            limits.idle = Duration::from_secs(seconds.max(1));
        }

        if let Some(seconds) = table.first_event_timeout_s {
            limits.first_event = Duration::from_secs(seconds.max(1));
        }

        Ok(Self {
            service,
            base_url: base_url(service, table, lookup)?,
            key_origin,
            key,
            limits,
            context_tokens: table.context_tokens.clone(),
        })
    }

    /// Returns the key to send; `None` where none is needed.
    ///
    /// # Errors
    ///
    /// [`ModelErrorKind::Unauthorized`] if one is needed and missing.
    pub(super) fn key(&self) -> Result<Option<&str>, ModelError> {
        match &self.key {
            Some(key) => Ok(Some(key.expose_secret())),
            None if self.service == Service::Ollama || self.base_url.scheme() == "http" => Ok(None),
            None => Err(ModelError::new(
                ModelErrorKind::Unauthorized,
                format!(
                    "no key for {word}: set {origin}, or name another variable with \
                     `api_key_env`, or a file with `api_key_file`, under [models.{word}]",
                    word = self.service.word(),
                    origin = self.key_origin,
                ),
            )),
        }
    }

    /// Whether Ollama is used in `OpenAI`'s format, which an address with `/v1` says.
    pub(super) fn is_openai_compatible(&self) -> bool {
        let versioned = self.base_url.path().trim_end_matches('/').ends_with("/v1");
        self.service == Service::OpenAi || self.service == Service::Ollama && versioned
    }

    /// Whether the server is on this machine, so that no proxy is used.
    pub(super) fn is_loopback(&self) -> bool {
        is_loopback(&self.base_url)
    }
}

fn read_key(service: Service, path: &Path) -> Result<SecretString, ModelConfigError> {
    let unusable = |reason: String| ModelConfigError::KeyFile {
        service: service.word(),
        path: path.to_owned(),
        reason,
    };
    let text = lastword_os::file::read_text(path).map_err(|error| unusable(error.to_string()))?;
    match text.strip_prefix('\u{feff}').unwrap_or(&text).trim() {
        "" => Err(unusable("it is empty".to_owned())),
        key => Ok(SecretString::from(key)),
    }
}

fn base_url(
    service: Service,
    table: &ServiceConfig,
    lookup: Lookup<'_>,
) -> Result<Url, ModelConfigError> {
    if let Some(text) = &table.base_url {
        let origin = format!("base_url of [models.{}]", service.word());
        return parse_base_url(service, text, origin);
    }

    for variable in service.address_variables() {
        let text = lookup(variable).unwrap_or_default();
        match text.trim() {
            "" => {}
            text if *variable == "OLLAMA_HOST" => {
                return parse_base_url(service, &ollama_host(text), (*variable).to_owned());
            }
            text => return parse_base_url(service, text, (*variable).to_owned()),
        }
    }

    parse_base_url(service, service.public_address(), "built in".to_owned())
}

/// Parses an address with or without the version segment, since the services' own clients disagree
/// about it.
fn parse_base_url(service: Service, text: &str, origin: String) -> Result<Url, ModelConfigError> {
    let invalid = |reason: String| ModelConfigError::BaseUrl {
        text: text.to_owned(),
        origin: origin.clone(),
        reason,
    };
    let mut url = Url::parse(text).map_err(|error| invalid(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(invalid(format!("its scheme is `{}`", url.scheme())));
    }

    // A password in an address would be shown wherever the address is.
    if !url.username().is_empty() || url.password().is_some() {
        let (text, reason) = ("(hidden)".to_owned(), "it contains a password".to_owned());
        return Err(ModelConfigError::BaseUrl {
            text,
            origin,
            reason,
        });
    }

    let path = url.path().trim_end_matches('/').to_owned();
    let last = path.rsplit('/').next().unwrap_or_default();
    let versioned = last.starts_with('v') && last[1..].starts_with(|c: char| c.is_ascii_digit());

    // Gateways put OpenAI's API under paths of every shape; only a bare host is completed.
    let complete = versioned || (service == Service::OpenAi && !path.is_empty());
    url.set_path(&match service.version().filter(|_| !complete) {
        None => format!("{path}/"),
        Some(version) => format!("{path}/{version}/"),
    });

    Ok(url)
}

/// Normalises Ollama's own variable, which holds what its server listens on: `0.0.0.0`, `:11434`,
/// `host:port`.
fn ollama_host(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
    let rest = rest.trim_end_matches('/');
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (host, port),
        _ => (rest, "11434"),
    };

    let host = match host {
        "" | "0.0.0.0" | "[::]" => "127.0.0.1",
        host => host,
    };

    format!("{scheme}://{host}:{port}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(service: Service, table: &ServiceConfig, variables: &[(&str, &str)]) -> Endpoint {
        Endpoint::new(service, table, &lookup(variables)).unwrap()
    }

    fn lookup(variables: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        move |name| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        }
    }

    fn address(service: Service, variable: &str, text: &str) -> String {
        let endpoint = endpoint(service, &ServiceConfig::default(), &[(variable, text)]);
        endpoint.base_url.to_string()
    }

    #[test]
    fn addresses_are_completed() {
        use Service::{Anthropic, Gemini, OpenAi};

        for (service, text, expected) in [
            (OpenAi, "http://h:1", "http://h:1/v1/"),
            (OpenAi, "http://h/v1", "http://h/v1/"),
            (OpenAi, "http://h/gate/", "http://h/gate/"),
            (Anthropic, "http://h", "http://h/v1/"),
            (Anthropic, "http://h/a", "http://h/a/v1/"),
            (Gemini, "http://h/v1", "http://h/v1/"),
            (Gemini, "http://h", "http://h/v1beta/"),
        ] {
            let variable = service.address_variables()[0];
            assert_eq!(address(service, variable, text), expected, "{text}");
        }
    }

    #[test]
    fn ollamas_host_is_understood() {
        for (text, expected) in [
            ("", "http://127.0.0.1:11434/"),
            ("0.0.0.0", "http://127.0.0.1:11434/"),
            (":8000", "http://127.0.0.1:8000/"),
            ("box:8000", "http://box:8000/"),
            ("https://box:443/", "https://box/"),
        ] {
            let found = address(Service::Ollama, "OLLAMA_HOST", text);
            assert_eq!(found, expected, "{text}");
        }

        let found = address(Service::Ollama, "OLLAMA_BASE_URL", "http://box:1/v1");
        assert_eq!(found, "http://box:1/v1/");
    }

    #[test]
    fn a_table_wins_over_the_environment() {
        let table = ServiceConfig {
            base_url: Some("https://gate.example/v1".to_owned()),
            api_key_env: Some("GATE_KEY".to_owned()),
            idle_timeout_s: Some(7),
            ..ServiceConfig::default()
        };

        let variables = [
            ("OPENAI_BASE_URL", "http://elsewhere"),
            ("OPENAI_API_KEY", "sk-wrong"),
            ("GATE_KEY", "sk-right\n"),
        ];
        let endpoint = endpoint(Service::OpenAi, &table, &variables);
        assert_eq!(endpoint.base_url.as_str(), "https://gate.example/v1/");
        assert_eq!(endpoint.key().unwrap(), Some("sk-right"));
        assert_eq!(endpoint.limits.idle, Duration::from_secs(7));
        assert!(!format!("{endpoint:?}").contains("sk-right"));
    }

    #[test]
    fn a_missing_key_is_named_and_a_local_server_needs_none() {
        let remote = endpoint(Service::Anthropic, &ServiceConfig::default(), &[]);
        let error = remote.key().unwrap_err();
        assert_eq!(error.kind, ModelErrorKind::Unauthorized);
        assert!(error.message.contains("set ANTHROPIC_API_KEY"), "{error}");

        let local = [("OPENAI_BASE_URL", "http://127.0.0.1:8080")];
        let local = endpoint(Service::OpenAi, &ServiceConfig::default(), &local);
        assert_eq!(local.key().unwrap(), None);
        assert!(local.is_loopback());
    }

    #[test]
    fn unusable_settings_are_refused_with_their_origin() {
        let error = |text: &str| {
            let variables = [("OPENAI_BASE_URL", text)];
            let error = Endpoint::new(
                Service::OpenAi,
                &ServiceConfig::default(),
                &lookup(&variables),
            );
            error.unwrap_err().to_string()
        };
        assert!(error("localhost:8080").contains("(OPENAI_BASE_URL)"));
        assert!(error("nonsense").contains("expected something like"));
        assert!(!error("https://me:hunter2@h/").contains("hunter2"));

        let table = ServiceConfig {
            api_key_file: Some("/nonexistent/key".into()),
            ..ServiceConfig::default()
        };
        let error = Endpoint::new(Service::OpenAi, &table, &lookup(&[])).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/key"), "{error}");
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_a_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "\u{feff}sk-123\r\n").unwrap();
        let key = read_key(Service::OpenAi, &path).unwrap();
        assert_eq!(key.expose_secret(), "sk-123");
        std::fs::write(&path, "\u{feff}\n").unwrap();
        assert!(read_key(Service::OpenAi, &path).is_err());
    }
}
