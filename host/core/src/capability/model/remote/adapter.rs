//! One service as a [`ModelProvider`]: where its server is, which wire format it speaks, and
//! the one request that an answer comes from. Retries, timeouts and wholeness are the guard's.

use super::answer::Answer;
use super::failure::Failures;
use super::names::Names;
use super::{media, request, tls};
use crate::capability::model::config::{Endpoint, Service};
use crate::capability::model::provider::{
    CallContext, ModelError, ModelErrorKind, ModelInfo, ModelProvider, ModelRequest, ModelStream,
};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use genai::adapter::AdapterKind;
use genai::resolver::AuthData;
use genai::{Client, ModelIden, ServiceTarget};
use std::sync::{Arc, OnceLock};
use tracing::Dispatch;
use tracing::instrument::WithSubscriber as _;

/// What is sent where the wire format wants a key and the server does not.
const KEY_NOT_REQUIRED: &str = "no-key-required";

/// A model service behind HTTP.
#[derive(Clone)]
pub(in crate::capability::model) struct Remote {
    endpoint: Arc<Endpoint>,
    /// Made with the first request, since that reads the machine's certificates.
    client: Arc<OnceLock<Result<Client, ModelError>>>,
}

impl Remote {
    pub(in crate::capability::model) fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint: Arc::new(endpoint),
            client: Arc::default(),
        }
    }

    /// Whether a request has any prospect: the key is there, if one is needed.
    pub(in crate::capability::model) fn check(&self) -> Result<(), ModelError> {
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
        let target = self.target(&name)?;
        let kind = target.model.adapter_kind;
        let failures = Failures::new(self.endpoint.clone(), &name);
        let names = Names::of(&request);
        let options = request::options(kind, &name, &names, &request)?;
        let history = request::history(kind, self.endpoint.service, &names, request)?;
        let client = self.client()?;
        // What the crate logs quotes what servers say of keys.
        let answer = client
            .exec_chat_stream(target, history, Some(&options))
            .with_subscriber(Dispatch::none());
        let answer = answer.await.map_err(|error| failures.describe(&error))?;
        Ok(Answer::new(kind, answer.stream, names, failures).events())
    }

    fn client(&self) -> Result<Client, ModelError> {
        let build = || {
            let http = tls::client(&self.endpoint)?;
            let client = Client::builder().with_reqwest(http).build();
            client.map_err(|error| ModelError::new(ModelErrorKind::Unavailable, error.to_string()))
        };
        self.client.get_or_init(build).clone()
    }

    fn target(&self, name: &str) -> Result<ServiceTarget, ModelError> {
        let kind = match self.endpoint.service {
            // Ollama's own format cannot carry a schema or a tool choice, and its end cannot
            // be told from a broken connection; its OpenAI-compatible one does both.
            Service::OpenAi | Service::Ollama => AdapterKind::OpenAI,
            Service::Anthropic => AdapterKind::Anthropic,
            Service::Gemini => AdapterKind::Gemini,
        };
        // The crate takes what stands before the first `::` for a namespace of its own.
        let name = match name.contains("::") {
            true => format!("model::{name}"),
            false => name.to_owned(),
        };
        let key = self.endpoint.key()?.unwrap_or(KEY_NOT_REQUIRED);
        Ok(ServiceTarget {
            endpoint: genai::resolver::Endpoint::from_owned(self.endpoint.base_url.as_str()),
            auth: AuthData::from_single(key),
            model: ModelIden::new(kind, name),
        })
    }
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

    /// None: what a service offers is not asked for, any name may be tried.
    fn models(&self) -> Vec<ModelInfo> {
        Vec::new()
    }
}
