//! An operator's settings for each model service, as the tables of a configuration file.
//! [`endpoint`](super::endpoint) turns them into addresses and keys.

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
    /// The service of `openai:NAME`: `OpenAI`, or any server with its chat completions.
    pub openai: ServiceConfig,
    /// The service of `anthropic:NAME`.
    pub anthropic: ServiceConfig,
    /// The service of `gemini:NAME`.
    pub gemini: ServiceConfig,
    /// The service of `ollama:NAME`.
    pub ollama: ServiceConfig,
    /// Prices of models whose services do not report a cost, by the models' names in requests, with
    /// or without the service.
    pub prices: BTreeMap<String, ModelPrice>,
}

/// The table of one service. Settings win over the environment, which fills the gaps.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceConfig {
    /// The address of the service; by default `<SERVICE>_BASE_URL` (for Ollama also `OLLAMA_HOST`),
    /// or the service's public address. Ollama is used in its own format, or in `OpenAI`'s if the
    /// address ends in `/v1`.
    pub base_url: Option<String>,
    /// The variable that holds the key; by default `<SERVICE>_API_KEY`.
    pub api_key_env: Option<String>,
    /// A file that holds only the key; instead of `api_key_env`.
    pub api_key_file: Option<PathBuf>,
    /// Seconds without an event after which a response counts as hung; 60 by default.
    pub idle_timeout_s: Option<u64>,
    /// Seconds until the first event, when a model may still be loading; 120 by default.
    pub first_event_timeout_s: Option<u64>,
    /// The context windows of the service's models in tokens, for services that do not report them,
    /// or to make them smaller. Ollama receives the size, too.
    pub context_tokens: Option<ContextTokens>,
}

/// The context windows of a service's models, in tokens.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a number of tokens above 0, or a table of models with one each"
)]
pub enum ContextTokens {
    /// The same size for all models.
    All(NonZeroU32),
    /// The sizes by the models' names at the service.
    Each(BTreeMap<String, NonZeroU32>),
}

impl ContextTokens {
    /// Returns the window of a model, if it is listed.
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
    /// The spec is not `PROVIDER:NAME`, or its provider is unknown.
    #[error("`{spec}` names no model: {reason}")]
    Spec {
        /// The spec as it was given.
        spec: String,
        /// What is wrong with it, and how to correct it.
        reason: String,
    },
    /// The address is not an HTTP URL.
    #[error(
        "`{text}` ({origin}) is no address of a model server: {reason}; \
         expected something like http://127.0.0.1:8080/v1"
    )]
    BaseUrl {
        /// The address as it was given.
        text: String,
        /// The variable or setting that it came from.
        origin: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The key file cannot be used.
    #[error("failed to read the key file {} of [models.{service}]: {reason}", path.display())]
    KeyFile {
        /// The service of the key.
        service: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it cannot be used.
        reason: String,
    },
    /// The price is invalid.
    #[error(
        "[models.prices.\"{model}\"] says {what} = {text}; expected US dollars per million \
         tokens, from 0 to 1000000"
    )]
    Price {
        /// The model.
        model: String,
        /// `input` or `output`.
        what: &'static str,
        /// The price as it was given.
        text: String,
    },
    /// The script cannot be used.
    #[error("failed to load the script {}: {reason}", path.display())]
    Script {
        /// The file.
        path: PathBuf,
        /// The place in the file, and the reason.
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
