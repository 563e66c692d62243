//! The size of a model's context window: from the operator's setting, a refusal, the service, or a
//! table, in this order. A service is asked once for each model, and again after a while if it did
//! not say.

use super::adapter::{Remote, read};
use crate::model::config::ContextTokens;
use crate::model::endpoint::Service;
use crate::model::provider::{ModelError, ModelErrorKind};
use reqwest::Url;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a service may take to say it. A request does not wait longer for it.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a service that did not say it is not asked again.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(60);
/// Bytes of a list of models: the longest have a few megabytes.
const LIST_BYTES_MAX: usize = 16 << 20;
/// How many models' windows are remembered.
const MODELS_MAX: usize = 1024;

/// Windows in tokens by the prefix of a model's name, for services that do not report them: the
/// pages of the models at <https://platform.openai.com/docs/models>,
/// <https://docs.anthropic.com/en/docs/about-claude/models>,
/// <https://ai.google.dev/gemini-api/docs/models> and <https://api-docs.deepseek.com>, as of
/// November 2026. The longest prefix counts. A size that is too small causes an early summary; one
/// that is too large is corrected by the service's refusal.
const TABLE: [(&str, u32); 17] = [
    ("gpt-5", 400_000),
    ("gpt-4.1", 1_047_576),
    ("gpt-4o", 128_000),
    ("gpt-4-turbo", 128_000),
    ("gpt-4", 8_192),
    ("gpt-3.5-turbo", 16_385),
    ("gpt-oss", 131_072),
    ("chatgpt-4o", 128_000),
    ("o1-mini", 128_000),
    ("o1", 200_000),
    ("o3", 200_000),
    ("o4-mini", 200_000),
    ("claude-", 200_000),
    ("gemini-1.5-pro", 2_097_152),
    ("gemini-", 1_048_576),
    ("deepseek-chat", 131_072),
    ("deepseek-reasoner", 131_072),
];

/// The known windows of one service's models.
#[derive(Default)]
pub(super) struct Windows {
    configured: Option<ContextTokens>,
    known: Mutex<HashMap<String, WindowSize>>,
}

#[derive(Clone, Copy)]
enum WindowSize {
    /// A service's refusal or response contained it.
    Size(u32),
    /// The service was asked at this time, and did not say.
    Unknown(Instant),
}

impl Windows {
    pub(super) fn new(configured: Option<ContextTokens>) -> Self {
        Self {
            configured,
            known: Mutex::default(),
        }
    }

    /// The operator's setting for a model.
    pub(super) fn configured(&self, model: &str) -> Option<u32> {
        self.configured.as_ref()?.of(model)
    }

    /// Remembers the size in a refusal.
    pub(super) fn remember_refusal(&self, model: &str, error: &ModelError) {
        if let (ModelErrorKind::ContextOverflow, Some(size)) = (error.kind, error.context_tokens) {
            self.remember(model, WindowSize::Size(size));
        }
    }

    fn remember(&self, model: &str, known: WindowSize) {
        let mut all = self.lock();
        if all.len() < MODELS_MAX || all.contains_key(model) {
            all.insert(model.to_owned(), known);
        }
    }

    fn known(&self, model: &str) -> Option<WindowSize> {
        self.lock().get(model).copied()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, WindowSize>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Remote {
    /// Returns the window of a model. Asks the service if it is not known otherwise.
    pub(super) async fn window(&self, model: &str) -> Option<u32> {
        let windows = self.windows();
        if let Some(size) = windows.configured(model) {
            return Some(size);
        }

        match windows.known(model) {
            Some(WindowSize::Size(size)) => return Some(size),
            Some(WindowSize::Unknown(when)) if when.elapsed() < ASK_AGAIN_AFTER => {
                return table(model);
            }
            _ => {}
        }

        let reported = tokio::time::timeout(ASK_TIMEOUT, self.ask(model)).await;
        let reported = reported.ok().flatten();
        windows.remember(
            model,
            reported.map_or(WindowSize::Unknown(Instant::now()), WindowSize::Size),
        );

        reported.or_else(|| table(model))
    }

    async fn ask(&self, model: &str) -> Option<u32> {
        let own = |path: &str| {
            let path: Vec<String> = path.split('/').map(str::to_owned).collect();
            self.url(&path, None)
        };

        match self.endpoint().service {
            Service::Anthropic => {
                let found = self.get(own(&format!("models/{model}"))).await?;
                number(&found, "/max_input_tokens")
            }
            Service::Gemini => {
                let found = self.get(own(&format!("models/{model}"))).await?;
                number(&found, "/inputTokenLimit")
            }
            Service::Ollama => self.ask_ollama(model).await,
            Service::OpenAi => {
                let list = self.get(own("models")).await?;
                let found = find_entry(&list, model)?;
                if !found.get("meta").is_some_and(Value::is_object) {
                    return size(found);
                }
                // llama.cpp lists the size that the model was trained with; the size that it was
                // started with, which is smaller, is among its properties.
                let props = self.get(self.at_root("props")?).await?;
                number(&props, "/default_generation_settings/n_ctx")
            }
        }
    }

    /// The size that a model is loaded with, or else that of the model itself.
    async fn ask_ollama(&self, model: &str) -> Option<u32> {
        if let Some(running) = self.get(self.at_root("api/ps")?).await {
            let all = running.get("models").and_then(Value::as_array);

            let named = |found: &&Value| {
                let names = ["name", "model"]
                    .iter()
                    .filter_map(|key| found.get(key)?.as_str());
                let with_tag = format!("{model}:latest");
                names
                    .into_iter()
                    .any(|name| name == model || name == with_tag)
            };
            let loaded = all.and_then(|all| all.iter().find(named));
            if let Some(size) = loaded.and_then(|loaded| number(loaded, "/context_length")) {
                return Some(size);
            }
        }

        let show = self.client().ok()?.post(self.at_root("api/show")?);
        let shown = self
            .document(show.body(json!({ "model": model }).to_string()))
            .await?;
        largest_window(&shown)
    }

    async fn get(&self, url: Url) -> Option<Value> {
        self.document(self.client().ok()?.get(url)).await
    }

    async fn document(&self, request: reqwest::RequestBuilder) -> Option<Value> {
        let response = self.authorized(request).ok()?.send().await.ok()?;
        if !response.status().is_success() {
            return None;
        }
        serde_json::from_slice(&read(response, LIST_BYTES_MAX).await).ok()
    }

    /// A path beside the versioned ones.
    fn at_root(&self, path: &str) -> Option<Url> {
        let mut url = self.endpoint().base_url.clone();
        let versioned = url.path().trim_end_matches('/').rsplit('/').next() == Some("v1");
        let mut segments = url.path_segments_mut().ok()?;

        segments.pop_if_empty();

        if versioned {
            segments.pop();
        }

        segments.extend(path.split('/'));
        drop(segments);
        Some(url)
    }
}

/// The entry of a model in a list, in any form.
fn find_entry<'a>(list: &'a Value, model: &str) -> Option<&'a Value> {
    let all = list
        .get("data")
        .or_else(|| list.get("models"))
        .unwrap_or(list);
    let all = all.as_array()?;

    let is = |found: &&Value| {
        let names = ["id", "name", "model"]
            .iter()
            .filter_map(|key| found.get(key)?.as_str());
        names.into_iter().any(|name| name == model)
    };

    // A server of one model accepts any name.
    all.iter()
        .find(is)
        .or_else(|| all.first().filter(|_| all.len() == 1))
}

/// The size in an entry of a list.
fn size(entry: &Value) -> Option<u32> {
    let places = [
        "/top_provider/context_length", // OpenRouter
        "/context_length",              // OpenRouter, Together
        "/max_model_len",               // vLLM
        "/context_window",              // Groq
        "/loaded_context_length",       // LM Studio
        "/max_context_length",          // Mistral, LM Studio
        "/max_input_tokens",            // Anthropic's, behind gateways
        "/inputTokenLimit",             // Gemini's, behind gateways
    ];
    places.iter().find_map(|place| number(entry, place))
}

/// The window in a description of one of Ollama's models: the configured one, or the largest
/// possible.
fn largest_window(shown: &Value) -> Option<u32> {
    let lines = shown.get("parameters").and_then(Value::as_str);
    let mut lines = lines.unwrap_or_default().lines().rev();
    let set = lines.find_map(|line| {
        let (key, value) = line.trim().split_once(char::is_whitespace)?;
        (key == "num_ctx").then(|| value.trim().parse().ok())?
    });

    let info = shown.get("model_info").and_then(Value::as_object);
    let largest = || {
        let mut fields = info?.iter();
        let (_, size) = fields.find(|(key, _)| key.ends_with(".context_length"))?;
        size.as_u64().and_then(|size| u32::try_from(size).ok())
    };
    set.or_else(largest).filter(|size| *size > 0)
}

fn number(document: &Value, place: &str) -> Option<u32> {
    let number = document.pointer(place)?.as_u64()?;
    u32::try_from(number).ok().filter(|number| *number > 0)
}

fn table(model: &str) -> Option<u32> {
    let name = model.rsplit('/').next().unwrap_or(model);
    let fitting = TABLE
        .iter()
        .filter(|(beginning, _)| name.starts_with(beginning));
    let longest = fitting.max_by_key(|(beginning, _)| beginning.len())?;
    Some(longest.1)
}

#[cfg(test)]
mod tests {
    use super::super::loopback::{Loopback, status};
    use super::super::tests::remote;
    use super::*;

    fn json(document: &str) -> String {
        status(200, "", document)
    }

    async fn reported(
        service: Service,
        model: &str,
        answers: &[&str],
    ) -> (Option<u32>, Vec<String>) {
        let server = Loopback::serve(answers.iter().map(|answer| json(answer))).await;
        let remote = remote(service, &server.url);
        let size = remote.window(model).await;

        assert_eq!(remote.window(model).await, size);
        let lines = server.asked().into_iter().map(|asked| {
            let line = asked.head.lines().next().unwrap_or_default().to_owned();
            line.trim_end_matches(" http/1.1").to_owned()
        });
        (size, lines.collect())
    }

    async fn tells(service: Service, model: &str, answers: &[&str], size: u32, asked: &[&str]) {
        let (found, lines) = reported(service, model, answers).await;
        assert_eq!(
            (found, lines.join(", ")),
            (Some(size), asked.join(", ")),
            "{answers:?}"
        );
    }

    #[tokio::test]
    async fn services_report_the_size_and_are_asked_once() {
        let claude = r#"{"id":"claude-x","max_input_tokens":300000}"#;
        let asked = ["get /v1/models/claude-x"];
        tells(Service::Anthropic, "claude-x", &[claude], 300_000, &asked).await;

        let gemini = r#"{"name":"models/g","inputTokenLimit":4096}"#;
        tells(
            Service::Gemini,
            "g",
            &[gemini],
            4096,
            &["get /v1beta/models/g"],
        )
        .await;

        let list = r#"{"data":[{"id":"c","context_length":1},{"id":"a/b","context_length":9000}]}"#;
        tells(Service::OpenAi, "a/b", &[list], 9000, &["get /v1/models"]).await;
    }

    #[tokio::test]
    async fn llama_cpp_reports_the_size_that_it_was_started_with() {
        let answers = [
            r#"{"data":[{"id":"smol","meta":{"n_ctx_train":8192}}]}"#,
            r#"{"default_generation_settings":{"n_ctx":512}}"#,
        ];
        let asked = ["get /v1/models", "get /props"];
        tells(Service::OpenAi, "any", &answers, 512, &asked).await;
    }

    #[tokio::test]
    async fn ollama_reports_the_loaded_the_configured_or_the_largest_size() {
        let loaded = r#"{"models":[{"name":"llama3.2:latest","context_length":4096}]}"#;
        tells(
            Service::Ollama,
            "llama3.2",
            &[loaded],
            4096,
            &["get /api/ps"],
        )
        .await;

        let asked = ["get /api/ps", "post /api/show"];
        let set = r#"{"parameters":"stop \"x\"\nnum_ctx    8192","model_info":{"llama.context_length":131072}}"#;

        tells(
            Service::Ollama,
            "llama3.2",
            &[r#"{"models":[]}"#, set],
            8192,
            &asked,
        )
        .await;

        let largest = r#"{"model_info":{"llama.context_length":131072}}"#;
        tells(
            Service::Ollama,
            "llama3.2",
            &["{}", largest],
            131_072,
            &asked,
        )
        .await;
    }

    #[tokio::test]
    async fn unreported_sizes_come_from_the_table() {
        for (model, size) in [
            ("gpt-4o-mini", Some(128_000)),
            ("openai/gpt-4.1-nano", Some(1_047_576)),
            ("gpt-4-0613", Some(8_192)),
            ("made-up", None),
        ] {
            let (found, asked) = reported(Service::OpenAi, model, &[r#"{"data":[]}"#]).await;
            assert_eq!((found, asked.len()), (size, 1), "{model}");
        }
    }

    #[test]
    fn the_size_in_a_refusal_is_remembered() {
        let windows = Windows::default();
        let mut error = ModelError::new(ModelErrorKind::ContextOverflow, "too long");
        windows.remember_refusal("m", &error);
        assert!(windows.known("m").is_none());
        error.context_tokens = Some(512);
        windows.remember_refusal("m", &error);
        assert!(matches!(windows.known("m"), Some(WindowSize::Size(512))));
    }
}
