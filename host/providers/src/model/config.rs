//! What an operator may set for each model service, as the tables of a configuration file.
//! `super::endpoint` makes addresses and keys of them.

use super::prices::ModelPrice;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;

/// The `[models]` table of a configuration file.
///
/// ```toml
/// [models]
/// default = "ollama:llama3.2"
///
/// [models.openai]
/// base_url = "http://127.0.0.1:8080/v1"
/// api_key_env = "GATEWAY_KEY"
/// idle_timeout_s = 30
/// context_tokens = 32768                # or { "model-a" = 32768, "model-b" = 131072 }
///
/// [models.prices."openai:gpt-5-mini"] # or without `openai:`
/// input = 0.15
/// output = 0.60
/// ```
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelsConfig {
    /// The model of requests that name none, such as `openai:gpt-5-mini`.
    pub default: Option<String>,
    /// For `openai:NAME`: `OpenAI`, or any server that speaks its chat completions.
    pub openai: ServiceConfig,
    /// For `anthropic:NAME`.
    pub anthropic: ServiceConfig,
    /// For `gemini:NAME`.
    pub gemini: ServiceConfig,
    /// For `ollama:NAME`.
    pub ollama: ServiceConfig,
    /// What models cost whose services do not say it, by their names in requests, with or
    /// without the service.
    pub prices: BTreeMap<String, ModelPrice>,
}

/// One service's table. What is absent comes from the environment; what is there wins over it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceConfig {
    /// Where the service is; otherwise `<SERVICE>_BASE_URL` (for Ollama also `OLLAMA_HOST`),
    /// or the service's public address. Ollama is spoken to in its own format, or in `OpenAI`'s
    /// if the address ends in `/v1`.
    pub base_url: Option<String>,
    /// The variable that holds the key; otherwise `<SERVICE>_API_KEY`.
    pub api_key_env: Option<String>,
    /// A file that holds the key and nothing else; instead of `api_key_env`.
    pub api_key_file: Option<PathBuf>,
    /// Seconds without an event after which an answer counts as hung; otherwise 60.
    pub idle_timeout_s: Option<u64>,
    /// The same before the first event, when a model may still be loading; otherwise 120.
    pub first_event_timeout_s: Option<u64>,
    /// The windows of the service's models in tokens, where the service does not tell them or
    /// shall have them smaller. Ollama is told the size, too.
    pub context_tokens: Option<ContextTokens>,
}

/// The windows of a service's models, in tokens.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a number of tokens above 0, or a table of models with one each"
)]
pub enum ContextTokens {
    /// The same for all of them.
    All(NonZeroU32),
    /// By their names at the service.
    Each(BTreeMap<String, NonZeroU32>),
}

impl ContextTokens {
    /// The window of a model, if it is among them.
    #[must_use]
    pub fn of(&self, model: &str) -> Option<u32> {
        let size = match self {
            Self::All(size) => Some(size),
            Self::Each(sizes) => sizes.get(model),
        };
        size.map(|size| size.get())
    }
}

/// A configuration of models that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelConfigError {
    /// A spec that is not `PROVIDER:NAME`, or names nobody.
    #[error("`{spec}` names no model: {reason}")]
    Spec {
        /// As it was given.
        spec: String,
        /// What is wrong with it and what would be right.
        reason: String,
    },
    /// An address that is not an HTTP URL.
    #[error(
        "`{text}` ({origin}) is no address of a model server: {reason}; \
         expected something like http://127.0.0.1:8080/v1"
    )]
    BaseUrl {
        /// As it was given.
        text: String,
        /// The variable or setting that it came from.
        origin: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A key file that cannot be used.
    #[error("failed to read the key file {} of [models.{service}]: {reason}", path.display())]
    KeyFile {
        /// Whose key.
        service: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A price that is none.
    #[error(
        "[models.prices.\"{model}\"] says {what} = {text}; expected US dollars per million \
         tokens, from 0 to 1000000"
    )]
    Price {
        /// Of which model.
        model: String,
        /// `input` or `output`.
        what: &'static str,
        /// As it was given.
        text: String,
    },
    /// A script that cannot be used.
    #[error("failed to load the script {}: {reason}", path.display())]
    Script {
        /// Which file.
        path: PathBuf,
        /// Where in it and why.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_set_for_all_models_or_for_each() {
        let of = |text: &str, model: &str| {
            let config = toml::from_str::<ModelsConfig>(text).map_err(|error| error.to_string());
            config.map(|config| config.openai.context_tokens.and_then(|size| size.of(model)))
        };
        assert_eq!(of("[openai]\ncontext_tokens = 512", "m"), Ok(Some(512)));

        let each = "[openai.context_tokens]\nm = 512";
        assert_eq!((of(each, "m"), of(each, "n")), (Ok(Some(512)), Ok(None)));

        for wrong in ["0", "-1", "'512'", "{ m = 0 }", "4294967296"] {
            let error = of(&format!("[openai]\ncontext_tokens = {wrong}"), "m").unwrap_err();
            assert!(error.contains("a number of tokens above 0"), "{error}");
        }
    }

    #[test]
    fn an_unknown_setting_is_refused() {
        let error = toml::from_str::<ModelsConfig>("[openai]\nbase_ulr = 'x'").unwrap_err();
        assert!(error.to_string().contains("base_ulr"), "{error}");
    }
}
