//! One service as a [`ModelProvider`]: its address, its wire format, and the single request of a
//! completion. [`Guard`](crate::model::Guard) adds retries and timeouts.

use super::decode::Decoder;
use super::encode::{Encoded, Target, encode};
use super::failure::Failures;
use super::names::Names;
use super::response::ResponseStream;
use super::window::Windows;
use super::{media, tls};
use crate::model::endpoint::{Endpoint, Service};
use crate::model::provider::{
    CallContext, ModelError, ModelErrorKind, ModelInfo, ModelProvider, ModelRequest, ModelStream,
};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use lastword_types::session::PartBody;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Client, RequestBuilder, Response, Url};
use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

/// The version of Anthropic's API: <https://docs.anthropic.com/en/api/versioning>.
const ANTHROPIC_VERSION: &str = "2023-06-01";

/// Bytes of an error response that are read.
const REFUSAL_BYTES_MAX: usize = 64 << 10;

/// A model service behind HTTP.
#[derive(Clone)]
pub(in crate::model) struct Remote {
    endpoint: Arc<Endpoint>,
    /// Created with the first request, since that reads the machine's certificates.
    client: Arc<OnceLock<Result<Client, ModelError>>>,
    windows: Arc<Windows>,
}

impl Remote {
    pub(in crate::model) fn new(endpoint: Endpoint) -> Self {
        Self {
            windows: Arc::new(Windows::new(endpoint.context_tokens.clone())),
            endpoint: Arc::new(endpoint),
            client: Arc::default(),
        }
    }

    /// Whether requests can succeed: the key is present, if one is needed.
    pub(in crate::model) fn check(&self) -> Result<(), ModelError> {
        self.endpoint.key().map(drop)
    }

    async fn begin(self, request: ModelRequest) -> Result<ModelStream, ModelError> {
        let name = request.model.clone().unwrap_or_default();
        if name.is_empty() {
            return Err(ModelError::new(
                ModelErrorKind::UnknownModel,
                format!(
                    "which model of {}? none was named",
                    self.endpoint.service.word()
                ),
            ));
        }

        let names = Names::of(&request);

        let target = Target {
            service: self.endpoint.service,
            model: &name,
            compatible: self.endpoint.is_openai_compatible(),
            window: self.windows.configured(&name),
        };
        let encoded = encode(target, &names, &request)?;
        let failures = Failures::new(self.endpoint.clone(), &name);
        let response = self.send(&encoded, &failures).await;

        if let Err(error) = &response {
            self.windows.remember_refusal(&name, error);
        }

        let decoder = Decoder::new(self.endpoint.service, ids(&request));
        let events = ResponseStream::new(response?, decoder, names, failures).events();
        let windows = self.windows.clone();

        Ok(events
            .inspect(move |event| {
                if let Err(error) = event {
                    windows.remember_refusal(&name, error);
                }
            })
            .boxed())
    }

    async fn send(&self, encoded: &Encoded, failures: &Failures) -> Result<Response, ModelError> {
        let url = self.url(&encoded.path, encoded.query);
        let request = self.authorized(self.client()?.post(url))?;
        let request = request.header(CONTENT_TYPE, "application/json");
        let sent = request.body(encoded.body.to_string()).send().await;
        let response = sent.map_err(|error| failures.transport(&error))?;

        if response.status().is_success() {
            return Ok(response);
        }

        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = read(response, REFUSAL_BYTES_MAX).await;
        Err(failures.status(status, &headers, &body))
    }

    /// The address of a path below the base URL.
    pub(super) fn url(&self, path: &[String], query: Option<&str>) -> Url {
        let mut url = self.endpoint.base_url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url.set_query(query);
        url
    }

    /// Adds the service's key to the request, marked as sensitive for logs.
    pub(super) fn authorized(&self, request: RequestBuilder) -> Result<RequestBuilder, ModelError> {
        let service = self.endpoint.service;
        let request = match service {
            Service::Anthropic => request.header("anthropic-version", ANTHROPIC_VERSION),
            _ => request,
        };

        let Some(key) = self.endpoint.key()? else {
            return Ok(request);
        };

        let (name, text) = match service {
            Service::Anthropic => (HeaderName::from_static("x-api-key"), key.to_owned()),
            Service::Gemini => (HeaderName::from_static("x-goog-api-key"), key.to_owned()),
            Service::OpenAi | Service::Ollama => (AUTHORIZATION, format!("Bearer {key}")),
        };

        let unusable = |_| {
            let origin = &self.endpoint.key_origin;
            let text = format!("the key of {origin} has characters that no header may have");
            ModelError::new(ModelErrorKind::Unauthorized, text)
        };
        let mut value = HeaderValue::from_str(&text).map_err(unusable)?;
        value.set_sensitive(true);

        Ok(request.header(name, value))
    }

    pub(super) fn client(&self) -> Result<Client, ModelError> {
        let build = || tls::client(&self.endpoint);
        self.client.get_or_init(build).clone()
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(super) fn windows(&self) -> &Windows {
        &self.windows
    }
}

/// The ids of the tool calls in a request.
fn ids(request: &ModelRequest) -> HashSet<String> {
    let parts = request.messages.iter().flat_map(|message| &message.parts);
    let calls = parts.filter_map(|part| match &part.body {
        PartBody::ToolCall(call) => Some(call.id.clone()),
        _ => None,
    });
    calls.collect()
}

/// Reads the beginning of a response's body, as far as it arrives.
pub(super) async fn read(response: Response, most: usize) -> Vec<u8> {
    let mut body = Vec::new();
    let mut chunks = response.bytes_stream();
    while let Some(Ok(chunk)) = chunks.next().await {
        let room = most - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if body.len() == most {
            break;
        }
    }

    body
}

impl ModelProvider for Remote {
    fn complete(
        &self,
        _: CallContext,
        request: ModelRequest,
    ) -> BoxFuture<'static, Result<ModelStream, ModelError>> {
        self.clone().begin(request).boxed()
    }

    fn takes(&self, _: &str, media_type: &str) -> bool {
        media::takes(self.endpoint.service, media_type)
    }

    /// Empty, since any name may be tried.
    fn models(&self) -> Vec<ModelInfo> {
        Vec::new()
    }

    fn context_tokens(&self, model: &str) -> BoxFuture<'static, Option<u32>> {
        let (remote, model) = (self.clone(), model.to_owned());
        async move { remote.window(&model).await }.boxed()
    }
}
