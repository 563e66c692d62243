//! The embedder's registry of models: resolves a spec such as `openai:NAME`, or the default, to a
//! provider. Grants decide beforehand which models an agent may use.

use super::config::ModelConfigError;
#[cfg(feature = "models")]
use super::config::ModelsConfig;
#[cfg(feature = "models")]
use super::endpoint::{Endpoint, Lookup, Service};
use super::guard::{Guard, GuardLimits};
use super::prices::Prices;
use super::provider::{
    CallContext, ModelError, ModelErrorKind, ModelInfo, ModelProvider, ModelRequest, ModelStream,
};
#[cfg(feature = "models")]
use super::remote::Remote;
use super::scripted::Scripted;
use futures_util::future::{self, BoxFuture};
use futures_util::{FutureExt, TryFutureExt};
use lastword_os::clock::SystemClock;
use lastword_types::clock::Clock;
use lastword_types::similar::did_you_mean;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// The provider in a spec that names a script file.
const SCRIPTED: &str = "scripted";

/// All the models that agents may be given, behind one [`ModelProvider`].
///
/// A spec is `PROVIDER:NAME`. `openai`, `anthropic`, `gemini` and `ollama` are built in, with keys
/// and addresses from the environment or a configuration, unless the crate's feature `models` is
/// off; `scripted:FILE` plays a script ([`Scripted`]), but only as the default that the embedder
/// chose, so that no guest makes the host open files; [`Models::provider`] adds others under any
/// name. A name without a provider belongs to the default model's.
///
/// Every provider is wrapped in a [`Guard`]: bounded silence, retries, and a check for
/// completeness.
///
/// ```
/// # extern crate lastword_providers as lastword;
/// use lastword::model::{Models, Reply, Scripted};
///
/// # fn main() -> Result<(), lastword::model::ModelConfigError> {
/// let script = Scripted::new([Reply::text("Hello.")]);
/// let models = Models::none().provider("demo", script.clone()).model("demo:any")?;
/// assert!(models.resolve("demo:other").is_ok());
/// assert!(models.resolve("openai:gpt-5-mini").is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Models {
    services: Services,
    scripts: BTreeMap<String, Scripted>,
    providers: BTreeMap<String, Arc<dyn ModelProvider>>,
    default: Option<String>,
    prices: Prices,
    clock: Arc<dyn Clock>,
}

impl Models {
    /// Creates a registry without models: every request fails with
    /// [`ModelErrorKind::UnknownModel`].
    #[must_use]
    pub fn none() -> Self {
        Self {
            services: Services::default(),
            scripts: BTreeMap::new(),
            providers: BTreeMap::new(),
            default: None,
            prices: Prices::default(),
            clock: SystemClock::shared(),
        }
    }

    /// Creates a registry of the built-in services, with keys and addresses from `OPENAI_API_KEY`,
    /// `OPENAI_BASE_URL`, `ANTHROPIC_API_KEY`, `ANTHROPIC_BASE_URL`, `GEMINI_API_KEY`,
    /// `GEMINI_BASE_URL`, `OLLAMA_BASE_URL` (or `OLLAMA_HOST`) and `OLLAMA_API_KEY`.
    ///
    /// A missing key is an error of the request that needs it, and not of this function.
    ///
    /// # Errors
    ///
    /// [`ModelConfigError`] for an invalid address.
    #[cfg(feature = "models")]
    pub fn from_env() -> Result<Self, ModelConfigError> {
        Self::with_config(&ModelsConfig::default())
    }

    /// Creates a registry of the built-in services as configured; the environment fills the gaps.
    ///
    /// # Errors
    ///
    /// [`ModelConfigError`] for an address, key file, price or default model that cannot be used.
    #[cfg(feature = "models")]
    pub fn with_config(config: &ModelsConfig) -> Result<Self, ModelConfigError> {
        Self::with_lookup(config, &|name| std::env::var(name).ok())
    }

    #[cfg(feature = "models")]
    fn with_lookup(config: &ModelsConfig, lookup: Lookup<'_>) -> Result<Self, ModelConfigError> {
        let mut models = Self {
            prices: Prices::new(&config.prices)?,
            ..Self::none()
        };

        for service in Service::ALL {
            let endpoint = Endpoint::new(service, service.table(config), lookup)?;
            let limits = endpoint.limits;
            let remote = Arc::new(Remote::new(endpoint));
            models.services.0.insert(service.word(), (remote, limits));
        }

        match &config.default {
            Some(spec) => models.model(spec),
            None => Ok(models),
        }
    }

    /// Adds a provider, whose models are then `name:MODEL`; it replaces a built-in one of the same
    /// name.
    #[must_use]
    pub fn provider(mut self, name: impl Into<String>, provider: impl ModelProvider) -> Self {
        self.providers.insert(name.into(), Arc::new(provider));
        self
    }

    /// Sets the model of requests that name none.
    ///
    /// # Errors
    ///
    /// [`ModelConfigError`] for a spec with an unknown provider, or a script that cannot be loaded.
    /// Whether the service has such a model is known only when it is asked.
    pub fn model(mut self, spec: &str) -> Result<Self, ModelConfigError> {
        let invalid = |reason: String| ModelConfigError::Spec {
            spec: spec.to_owned(),
            reason,
        };

        let split = spec.split_once(':').filter(|(_, name)| !name.is_empty());
        let Some((provider, name)) = split else {
            return Err(invalid(format!(
                "expected PROVIDER:NAME with one of {}",
                self.provider_names()
            )));
        };

        let known = self.providers.contains_key(provider) || self.services.has(provider);
        if provider == SCRIPTED && !known {
            let script = Scripted::load(Path::new(name))?.clock(self.clock.clone());
            self.scripts.insert(name.to_owned(), script);
        } else if !known {
            return Err(invalid(self.no_such_provider(provider)));
        }

        self.default = Some(spec.to_owned());
        Ok(self)
    }

    /// Uses `clock` instead of the machine's clock.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        for script in self.scripts.values_mut() {
            *script = script.clone().clock(clock.clone());
        }
        self.clock = clock;
        self
    }

    /// Returns the script of the default `scripted:FILE`, to inspect its requests.
    #[must_use]
    pub fn script(&self) -> Option<&Scripted> {
        let (provider, name) = self.default.as_deref()?.split_once(':')?;
        self.scripts.get(name).filter(|_| provider == SCRIPTED)
    }

    /// Returns the guarded provider of `spec` and the model's name at that provider. An empty spec
    /// is the default model.
    ///
    /// # Errors
    ///
    /// [`ModelErrorKind::UnknownModel`] if no provider has it, and [`ModelErrorKind::Unauthorized`]
    /// if the service's key is missing.
    pub fn resolve(&self, spec: &str) -> Result<(Arc<dyn ModelProvider>, String), ModelError> {
        let unknown = |message| ModelError::new(ModelErrorKind::UnknownModel, message);
        let whole = self.qualified(spec);
        if whole.is_empty() {
            return Err(unknown(format!(
                "no model is chosen: name one, such as openai:NAME; known are {}",
                self.provider_names()
            )));
        }

        let Some((provider, name)) = whole.split_once(':') else {
            return Err(unknown(format!(
                "`{whole}` does not say whose model it is: write PROVIDER:{whole} with one of {}",
                self.provider_names()
            )));
        };

        let (found, limits): (Arc<dyn ModelProvider>, _) =
            if let Some(provider) = self.providers.get(provider) {
                (provider.clone(), GuardLimits::default())
            } else if let Some(service) = self.services.find(provider) {
                service?
            } else if provider == SCRIPTED {
                let script = self.scripts.get(name).ok_or_else(|| {
                    unknown("a script must be the default model to be used".to_owned())
                })?;
                (Arc::new(script.clone()), GuardLimits::default())
            } else {
                return Err(unknown(self.no_such_provider(provider)));
            };

        let guard = Guard::new(found, self.clock.clone(), limits);
        Ok((Arc::new(guard), name.to_owned()))
    }

    /// Adds the default's provider to a spec without one; empty if there is no default.
    fn qualified(&self, spec: &str) -> String {
        match (spec, &self.default) {
            ("", default) => default.clone().unwrap_or_default(),
            (name, Some(default)) if !name.contains(':') => {
                let provider = default.split(':').next().unwrap_or_default();
                format!("{provider}:{name}")
            }
            (spec, _) => spec.to_owned(),
        }
    }

    fn no_such_provider(&self, provider: &str) -> String {
        let names = self.providers.keys().map(String::as_str);
        let meant = did_you_mean(provider, names.chain(self.services.names()));
        format!(
            "no provider `{provider}`{meant}; known are {}",
            self.provider_names()
        )
    }

    fn provider_names(&self) -> String {
        let names = self.providers.keys().map(String::as_str);
        let names = names.chain(self.services.names());
        let names: Vec<String> = names.map(|name| format!("{name}:NAME")).collect();
        if names.is_empty() {
            "scripted:FILE".to_owned()
        } else {
            format!("{}, scripted:FILE", names.join(", "))
        }
    }
}

/// The built-in services by their names; none without the feature `models`.
#[derive(Clone, Default)]
struct Services(#[cfg(feature = "models")] BTreeMap<&'static str, (Arc<Remote>, GuardLimits)>);

/// A service as a provider, with its limits, or why it cannot be used.
type Found = Result<(Arc<dyn ModelProvider>, GuardLimits), ModelError>;

#[cfg(feature = "models")]
impl Services {
    fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().copied()
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn find(&self, name: &str) -> Option<Found> {
        let (remote, limits) = self.0.get(name)?;
        let found = || (Arc::clone(remote) as Arc<dyn ModelProvider>, *limits);
        Some(remote.check().map(|()| found()))
    }
}

#[cfg(not(feature = "models"))]
impl Services {
    fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::empty()
    }

    fn has(&self, _: &str) -> bool {
        false
    }

    fn find(&self, _: &str) -> Option<Found> {
        None
    }
}

impl ModelProvider for Models {
    fn complete(
        &self,
        context: CallContext,
        mut request: ModelRequest,
    ) -> BoxFuture<'static, Result<ModelStream, ModelError>> {
        let spec = request.model.take().unwrap_or_default();
        match self.resolve(&spec) {
            Ok((provider, name)) => {
                request.model = Some(name);
                let answer = provider.complete(context, request);
                match self.prices.find(&self.qualified(&spec)) {
                    Some(price) => answer.map_ok(move |stream| price.add_cost(stream)).boxed(),
                    None => answer,
                }
            }
            Err(error) => future::ready(Err(error)).boxed(),
        }
    }

    /// Returns the default, and the models that added providers list. Services are not asked for
    /// their models.
    fn models(&self) -> Vec<ModelInfo> {
        let mut all = Vec::new();

        for (provider, found) in &self.providers {
            for model in found.models() {
                let name = format!("{provider}:{}", model.name);
                all.push(ModelInfo { name, ..model });
            }
        }

        let Some(default) = &self.default else {
            return all;
        };
        let listed = all.iter().position(|model| model.name == *default);

        let first = match listed {
            Some(place) => all.remove(place),
            None => ModelInfo {
                name: default.clone(),
                provider: default.split(':').next().unwrap_or_default().to_owned(),
                context_tokens: None,
            },
        };
        all.insert(0, first);
        all
    }

    fn context_tokens(&self, model: &str) -> BoxFuture<'static, Option<u32>> {
        match self.resolve(model) {
            Ok((provider, name)) => provider.context_tokens(&name),
            Err(_) => future::ready(None).boxed(),
        }
    }

    fn takes(&self, model: &str, media_type: &str) -> bool {
        let found = self.resolve(model);
        found.is_ok_and(|(provider, name)| provider.takes(&name, media_type))
    }
}

impl fmt::Debug for Models {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Models")
            .field("default", &self.default)
            .field("known", &self.provider_names())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, feature = "models"))]
mod tests {
    use super::super::provider::ModelEvent;
    use super::super::scripted::{Reply, Step};
    use super::super::testing::{context, drain, request};
    use super::*;
    use lastword_types::session::Usage;

    fn models(variables: &[(&str, &str)]) -> Models {
        let lookup = |name: &str| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Models::with_lookup(&ModelsConfig::default(), &lookup).unwrap()
    }

    fn refusal(models: &Models, spec: &str) -> ModelError {
        models.resolve(spec).err().unwrap()
    }

    #[test]
    fn specs_find_their_provider() {
        let models = models(&[("OPENAI_API_KEY", "k")])
            .model("openai:gpt")
            .unwrap();

        for (spec, name) in [
            ("", "gpt"),
            ("openai:o", "o"),
            ("o", "o"),
            ("ollama:llama3:8b", "llama3:8b"),
        ] {
            assert_eq!(models.resolve(spec).unwrap().1, name);
        }
    }

    #[test]
    fn unknown_models_are_refused_with_advice() {
        let none = Models::none();
        assert_eq!(refusal(&none, "").kind, ModelErrorKind::UnknownModel);
        assert!(refusal(&none, "gpt").message.contains("scripted:FILE"));

        let models = models(&[]);
        let unknown = refusal(&models, "llama3:8b");
        assert!(
            unknown.message.contains("no provider `llama3`"),
            "{unknown}"
        );

        assert!(unknown.message.contains("ollama:NAME"), "{unknown}");
        let missing = refusal(&models, "anthropic:claude");
        assert_eq!(missing.kind, ModelErrorKind::Unauthorized);
        assert!(missing.message.contains("ANTHROPIC_API_KEY"), "{missing}");
    }

    #[test]
    fn an_invalid_default_is_refused_at_once() {
        for (spec, expected) in [
            ("gpt", "expected PROVIDER:NAME"),
            ("openai:", "expected PROVIDER:NAME"),
            ("opnai:gpt", "no provider `opnai` (did you mean `openai`?)"),
            ("scripted:/nonexistent.toml", "/nonexistent.toml"),
        ] {
            let error = models(&[]).model(spec).err().unwrap().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn no_request_makes_the_host_open_a_file() {
        let error = refusal(&models(&[]), "scripted:/etc/hostname");
        assert_eq!(error.kind, ModelErrorKind::UnknownModel);
    }

    #[test]
    fn the_default_is_listed_first() {
        let script = Scripted::new([]);
        let models = Models::none()
            .provider("a", script.clone())
            .provider("b", script);

        let names = |models: &Models| -> Vec<String> {
            models
                .models()
                .into_iter()
                .map(|model| model.name)
                .collect()
        };
        assert_eq!(names(&models), ["a:script", "b:script"]);

        let models = models.model("b:script").unwrap();
        assert_eq!(names(&models), ["b:script", "a:script"]);

        let models = models.model("b:other").unwrap();
        assert_eq!(names(&models), ["b:other", "a:script", "b:script"]);
    }

    #[tokio::test]
    async fn a_request_goes_to_its_provider_guarded() {
        let broken = [Step::Text("a".to_owned()), Step::Truncate];
        let script = Scripted::new([Reply::new(broken)]);
        let models = Models::none().provider("demo", script.clone());
        let mut request = request("hi");

        request.model = Some("demo:m2".to_owned());
        let stream = models.complete(context(), request).await.unwrap();
        let error = drain(stream).await.1.unwrap();

        assert_eq!(error.kind, ModelErrorKind::Truncated);
        assert_eq!(script.requests()[0].model.as_deref(), Some("m2"));
    }

    #[tokio::test]
    async fn usage_costs_what_the_operator_says_unless_the_service_says_it() {
        let counted = |cost_micros| {
            Step::Usage(Usage {
                input_tokens: 20,
                output_tokens: 5,
                cost_micros,
                ..Usage::default()
            })
        };
        let replies = [counted(0), counted(4)].map(|step| Reply::new([step]));
        let text = "[prices.'demo:m']\ninput = 0.15\noutput = 1\n";
        let models = Models::with_lookup(&toml::from_str(text).unwrap(), &|_| None).unwrap();
        let models = models.provider("demo", Scripted::new(replies));

        for (model, cost) in [("demo:m", 8), ("demo:m", 4), ("demo:other", 0)] {
            let mut request = request("hi");
            request.model = Some(model.to_owned());
            let stream = models.complete(context(), request).await.unwrap();
            let events = drain(stream).await.0;
            let found = events.iter().find_map(|event| match event {
                ModelEvent::Usage(usage) => Some(usage.cost_micros),
                _ => None,
            });
            assert_eq!(found, Some(cost), "{model}");
        }
    }

    #[test]
    fn an_invalid_price_is_refused() {
        for (price, expected) in [
            ("input = -1\noutput = 1", "input = -1"),
            ("input = 1\noutput = nan", "output = NaN"),
        ] {
            let config = toml::from_str(&format!("[prices.m]\n{price}")).unwrap();
            let error = Models::with_lookup(&config, &|_| None).err().unwrap();
            assert!(error.to_string().contains(expected), "{error}");
        }

        for text in ["input = 1", "input = 1\noutput = 1\nper = 2", "input = 'x'"] {
            let config = toml::from_str::<ModelsConfig>(&format!("[prices.m]\n{text}"));
            assert!(config.is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn a_script_file_is_played() {
        let folder = std::env::temp_dir().join(format!("lastword-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir(&folder).unwrap();

        let file = folder.join("script.toml");
        std::fs::write(&file, "[[reply]]\nsteps = [{ text = 'Hello.' }]\n").unwrap();

        let models = Models::none()
            .model(&format!("scripted:{}", file.display()))
            .unwrap();
        std::fs::remove_dir_all(&folder).unwrap();

        let mut request = request("hi");
        request.model = None;

        let stream = models.complete(context(), request).await.unwrap();
        assert_eq!(drain(stream).await.0.len(), 2);
        assert_eq!(models.script().unwrap().requests().len(), 1);
    }
}
