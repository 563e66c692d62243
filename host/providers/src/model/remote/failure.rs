//! Describes failures for people: which server, which variable to check, what the server said.

use super::decode::Fault;
use super::overflow::overflow;
use super::retry_after::retry_after;
use crate::model::endpoint::{Endpoint, Service};
use crate::model::provider::{ModelError, ModelErrorKind};
use crate::secrets::redact_value;
use reqwest::header::HeaderMap;
use serde_json::Value;
use std::error::Error as StdError;
use std::sync::Arc;
use std::time::SystemTime;

/// Characters of the longest quotation of a server's own words.
const QUOTE_CHARS_MAX: usize = 300;

/// Describes the failures of one request.
pub(super) struct Failures {
    endpoint: Arc<Endpoint>,
    model: String,
}

impl Failures {
    pub(super) fn new(endpoint: Arc<Endpoint>, model: &str) -> Self {
        Self {
            endpoint,
            model: model.to_owned(),
        }
    }

    /// The error of a response whose status is not one of success.
    pub(super) fn status(&self, status: u16, headers: &HeaderMap, body: &[u8]) -> ModelError {
        let text = String::from_utf8_lossy(body);
        let document: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        let error = self.explain_status(status, &text, &document);
        ModelError {
            retry_after: retry_after(headers, &document, SystemTime::now()),
            ..error
        }
    }

    fn explain_status(&self, status: u16, text: &str, document: &Value) -> ModelError {
        let server = self.server();
        let quotation = self.quote(text, document);

        if matches!(status, 400 | 413 | 422 | 500)
            && let Some(size) = overflow(first(document), &error_text(text, document))
        {
            return self.too_long(size, &quotation);
        }

        let (kind, text) = match status {
            401 | 403 => (
                ModelErrorKind::Unauthorized,
                format!(
                    "{server} refused the key ({status}){quotation}; check {}",
                    self.endpoint.key_origin
                ),
            ),
            404 => (
                ModelErrorKind::UnknownModel,
                format!(
                    "{server} does not know the model `{}` (404){quotation}; {}",
                    self.model,
                    match self.endpoint.service {
                        Service::Ollama => format!("`ollama pull {}` may fetch it", self.model),
                        _ => "check its name and the base URL".to_owned(),
                    }
                ),
            ),
            429 if is_out_of_credit(document) => (
                ModelErrorKind::Rejected,
                format!("{server} refused the request (429){quotation}"),
            ),
            429 => (
                ModelErrorKind::RateLimited,
                format!(
                    "{server} takes no more requests for now (429){quotation}; try again later"
                ),
            ),
            300..=399 => (
                ModelErrorKind::Rejected,
                format!(
                    "{server} redirects elsewhere ({status}), which is not followed; set the \
                     base URL to the final address"
                ),
            ),
            408 | 425 | 500.. => (
                ModelErrorKind::Unavailable,
                format!("{server} cannot answer now ({status}){quotation}"),
            ),
            _ => (
                ModelErrorKind::Rejected,
                format!("{server} refused the request ({status}){quotation}"),
            ),
        };

        ModelError::new(kind, text)
    }

    /// The error of a response that cannot be decoded. `head` is the beginning of a response in
    /// which the decoder found nothing.
    pub(super) fn fault(&self, fault: Fault, head: Option<String>) -> ModelError {
        match (fault, head) {
            (Fault::Reported(document), _) => self.reported(&document),
            (Fault::Unreadable(why), _) => self.garbled(&self.redact(&why)),
            (Fault::TooMuch(bound), _) => ModelError::new(
                ModelErrorKind::Garbled,
                format!("the answer of {} is too large: {bound}", self.server()),
            ),
            (Fault::BrokenOff, None) => self.broken_off(),
            (Fault::BrokenOff, Some(head)) => {
                let quotation = match self.quote(&head, &Value::Null) {
                    quotation if quotation.is_empty() => String::new(),
                    quotation => format!(" (it begins{quotation})"),
                };
                let why = format!("not a single event came{quotation}; is the base URL right?");
                self.garbled(&why)
            }
        }
    }

    /// The error of a request that could not be sent, or of a response that broke off.
    pub(super) fn transport(&self, error: &reqwest::Error) -> ModelError {
        let base = &self.endpoint.base_url;
        let cause = self.redact(&root_cause(error));

        if error.is_body() || error.is_decode() {
            let text = format!("the connection to {} broke: {cause}", self.server());
            return ModelError::new(ModelErrorKind::Truncated, text);
        }

        let hint = if cause.contains("certificate") {
            "SSL_CERT_FILE may name more certificates to trust"
        } else if self.endpoint.is_loopback() {
            "is the model server running?"
        } else {
            "is the address right, and the network up?"
        };

        let text = format!("cannot reach {base}: {cause}; {hint}");
        ModelError::new(ModelErrorKind::Unavailable, text)
    }

    fn broken_off(&self) -> ModelError {
        let text = format!(
            "the answer of {} broke off before its end; what came of it is not whole",
            self.server()
        );
        ModelError::new(ModelErrorKind::Truncated, text)
    }

    /// The error of a failure that the server reports within a response.
    fn reported(&self, document: &Value) -> ModelError {
        let inner = document.get("error").unwrap_or(document);
        let quotation = self.quote("", document);

        if let Some(size) = overflow(document, &error_text("", document)) {
            return self.too_long(size, &quotation);
        }

        let mut marks = String::new();

        for key in ["type", "code", "status"] {
            if let Some(mark) = inner.get(key).filter(|mark| !mark.is_null()) {
                marks.push_str(&mark.to_string().to_lowercase());
            }
        }

        let is = |words: &[&str]| words.iter().any(|word| marks.contains(word));
        let kind = if is_out_of_credit(document) {
            ModelErrorKind::Rejected
        } else if is(&["rate_limit", "429", "resource_exhausted"]) {
            ModelErrorKind::RateLimited
        } else if is(&["authentication", "permission", "401", "403"]) {
            ModelErrorKind::Unauthorized
        } else if is(&["not_found", "404"]) {
            ModelErrorKind::UnknownModel
        } else if is(&["invalid", "exceed", "context", "400", "413"]) {
            ModelErrorKind::Rejected
        } else if is(&["malformed", "unexpected", "too_many", "missing", "no_image"]) {
            // Gemini's model generated something invalid.
            ModelErrorKind::Garbled
        } else if document.get("promptFeedback").is_some() {
            // Gemini's response to a blocked prompt has no candidates.
            ModelErrorKind::Rejected
        } else {
            ModelErrorKind::Unavailable
        };

        ModelError {
            retry_after: retry_after(&HeaderMap::new(), document, SystemTime::now()),
            ..ModelError::new(kind, format!("{} gave up{quotation}", self.server()))
        }
    }

    fn too_long(&self, size: Option<u32>, quotation: &str) -> ModelError {
        let window = size.map_or_else(String::new, |size| format!(" of {size} tokens"));

        ModelError {
            context_tokens: size,
            ..ModelError::new(
                ModelErrorKind::ContextOverflow,
                format!(
                    "the conversation does not fit the window{window} of the model `{}` at \
                     {}{quotation}; let the agent summarise it, ask a model with a larger window, or \
                     begin a new session",
                    self.model,
                    self.server()
                ),
            )
        }
    }

    fn garbled(&self, why: &str) -> ModelError {
        let text = format!("the answer of {} cannot be read: {why}", self.server());
        ModelError::new(ModelErrorKind::Garbled, text)
    }

    fn server(&self) -> String {
        let service = self.endpoint.service.word();
        format!("{service} at {}", self.endpoint.base_url)
    }

    /// The server's own words, if there are any.
    fn quote(&self, text: &str, document: &Value) -> String {
        let words = error_text(text, document);
        // Before the cut, which could split a key.
        let words = self.redact(&words);
        let words: Vec<&str> = words.split_whitespace().collect();
        let words: String = words.join(" ").chars().take(QUOTE_CHARS_MAX).collect();

        match words.trim_end_matches('.') {
            "" => String::new(),
            words => format!(": {words}"),
        }
    }

    /// Removes the key in any form, and words that begin like it: servers quote keys half masked.
    fn redact(&self, text: &str) -> String {
        let Ok(Some(key)) = self.endpoint.key() else {
            return text.to_owned();
        };
        let text = redact_value(text, key, "(key)");
        let Some(start) = key.get(..6).filter(|_| key.len() >= 12) else {
            return text;
        };
        let words = text.split(' ');
        let words = words.map(|word| if word.contains(start) { "(key)" } else { word });

        words.collect::<Vec<_>>().join(" ")
    }
}

/// The document, or the first of an array: Gemini sends its errors as an array of one.
fn first(document: &Value) -> &Value {
    document.get(0).unwrap_or(document)
}

/// The words of a response for people: a sentence from one of the members where services put one,
/// the codes of an error without a sentence, or the text itself.
fn error_text(text: &str, document: &Value) -> String {
    let document = first(document);

    let places = [
        "/error/message",
        "/message",
        "/error/error/message",
        "/error",
        "/detail",
        "/detail/0/msg",
    ];

    let sentences = places
        .iter()
        .filter_map(|place| document.pointer(place)?.as_str());
    let sentence = sentences.map(str::trim).find(|words| !words.is_empty());
    let inner = document.get("error").unwrap_or(document);
    let marks = ["status", "code", "type", "reason", "blockReason"];
    let feedback = document.get("promptFeedback");

    let marks = marks.iter().filter_map(|key| {
        let mark = inner.get(key).or_else(|| feedback?.get(key))?;
        match mark {
            Value::String(mark) => Some(mark.clone()),
            Value::Number(mark) => Some(mark.to_string()),
            _ => None,
        }
    });
    let marks: Vec<String> = marks.collect();
    match (sentence, marks.as_slice()) {
        (Some(sentence), _) => sentence.to_owned(),
        (None, [_, ..]) => marks.join(", "),
        (None, []) if document.is_null() => text.trim().to_owned(),
        (None, []) if document.as_object().is_some_and(serde_json::Map::is_empty) => String::new(),
        (None, []) => document.to_string(),
    }
}

/// Whether an account has no money left, which waiting does not change.
fn is_out_of_credit(document: &Value) -> bool {
    let inner = first(document).get("error").unwrap_or(document);
    let marks = ["code", "type"]
        .iter()
        .filter_map(|key| inner.get(key)?.as_str());
    let words = ["insufficient_quota", "billing", "credit"];
    marks
        .into_iter()
        .any(|mark| words.iter().any(|word| mark.contains(word)))
}

fn root_cause(error: &(dyn StdError + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
