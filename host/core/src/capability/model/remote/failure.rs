//! What went wrong, in words for people: which server, which variable to look at, what the
//! server said. Knows statuses and error bodies, not what is done about them.

use crate::capability::model::config::{Endpoint, Service};
use crate::capability::model::provider::{ModelError, ModelErrorKind};
use crate::capability::secrets::without;
use genai::Error;
use serde_json::Value;
use std::error::Error as StdError;
use std::string::FromUtf8Error;
use std::sync::Arc;
use std::time::Duration;

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

    /// Describes an error of the crate's. Its own words are not used: they quote requests.
    pub(super) fn describe(&self, error: &Error) -> ModelError {
        if let Some(status) = error.status() {
            return self.status(status.as_u16(), error);
        }
        match error {
            Error::WebStream { error, .. } => match error.downcast_ref::<Error>() {
                Some(inner) => self.describe(inner),
                None => self.transport(error.as_ref()),
            },
            Error::StreamParse { serde_error, .. } if serde_error.is_eof() => self.broken_off(true),
            Error::StreamParse { serde_error, .. } | Error::SerdeJson(serde_error) => {
                self.garbled(&serde_error.to_string())
            }
            Error::JsonValueExt(error) => self.garbled(&error.to_string()),
            Error::ChatResponse { body, .. } => self.reported(body),
            _ => ModelError::new(
                ModelErrorKind::Rejected,
                format!("the request does not fit {}'s format", self.service()),
            ),
        }
    }

    /// A stream that ended before its end.
    pub(super) fn broken_off(&self, begun: bool) -> ModelError {
        if begun {
            let text = format!(
                "the answer of {} broke off before its end; what came of it is not whole",
                self.server()
            );
            return ModelError::new(ModelErrorKind::Truncated, text);
        }
        self.garbled("not a single event came; is the base URL right?")
    }

    fn status(&self, status: u16, error: &Error) -> ModelError {
        let said = self.quote(error_body(error));
        let server = self.server();
        let (kind, text) = match status {
            401 | 403 => (
                ModelErrorKind::Unauthorized,
                format!(
                    "{server} refused the key ({status}){said}; check {}",
                    self.endpoint.key_origin
                ),
            ),
            404 => (
                ModelErrorKind::UnknownModel,
                format!(
                    "{server} does not know the model `{}` (404){said}; {}",
                    self.model,
                    match self.endpoint.service {
                        Service::Ollama => format!("`ollama pull {}` may fetch it", self.model),
                        _ => "check its name and the base URL".to_owned(),
                    }
                ),
            ),
            429 => (
                ModelErrorKind::RateLimited,
                format!("{server} takes no more requests for now (429){said}; try again later"),
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
                format!("{server} cannot answer now ({status}){said}"),
            ),
            _ => (
                ModelErrorKind::Rejected,
                format!("{server} refused the request ({status}){said}"),
            ),
        };
        ModelError {
            kind,
            message: text,
            retry_after: retry_after(error),
        }
    }

    fn transport(&self, error: &(dyn StdError + Send + Sync + 'static)) -> ModelError {
        let base = &self.endpoint.base_url;
        let cause = self.redact(&root_cause(error));
        let Some(http) = error.downcast_ref::<reqwest::Error>() else {
            // A character that the end cut in two.
            let text = error.downcast_ref::<FromUtf8Error>();
            return match text.is_some_and(|e| e.utf8_error().error_len().is_none()) {
                true => self.broken_off(true),
                false => self.garbled(&cause),
            };
        };
        if http.is_body() || http.is_decode() {
            let text = format!("the connection to {} broke: {cause}", self.server());
            return ModelError::new(ModelErrorKind::Truncated, text);
        }
        let hint = match self.endpoint.is_loopback() {
            _ if cause.contains("certificate") => {
                "SSL_CERT_FILE may name more certificates to trust"
            }
            true => "is the model server running?",
            false => "is the address right, and the network up?",
        };
        let text = format!("cannot reach {base}: {cause}; {hint}");
        ModelError::new(ModelErrorKind::Unavailable, text)
    }

    /// An error that the server put into its stream.
    fn reported(&self, body: &Value) -> ModelError {
        let inner = body.get("error").unwrap_or(body);
        let mut marks = String::new();
        for key in ["type", "code", "status"] {
            if let Some(mark) = inner.get(key).filter(|mark| !mark.is_null()) {
                marks.push_str(&mark.to_string().to_lowercase());
            }
        }
        let is = |words: &[&str]| words.iter().any(|word| marks.contains(word));
        let kind = if is(&["rate_limit", "429", "resource_exhausted"]) {
            ModelErrorKind::RateLimited
        } else if is(&["authentication", "permission", "401", "403"]) {
            ModelErrorKind::Unauthorized
        } else if is(&["not_found", "404"]) {
            ModelErrorKind::UnknownModel
        } else if is(&["invalid", "exceed", "context", "400", "413"]) {
            ModelErrorKind::Rejected
        } else if body.get("finishReason").is_some() {
            // Gemini's answer to a prompt that it blocks has no candidates.
            ModelErrorKind::Rejected
        } else {
            ModelErrorKind::Unavailable
        };
        let said = self.quote(&body.to_string());
        ModelError::new(kind, format!("{} gave up{said}", self.server()))
    }

    fn garbled(&self, why: &str) -> ModelError {
        let text = format!("the answer of {} cannot be read: {why}", self.server());
        ModelError::new(ModelErrorKind::Garbled, text)
    }

    fn service(&self) -> &'static str {
        self.endpoint.service.word()
    }

    fn server(&self) -> String {
        format!("{} at {}", self.service(), self.endpoint.base_url)
    }

    /// The server's own words, if it said anything to people.
    fn quote(&self, body: &str) -> String {
        let value: Value = serde_json::from_str(body).unwrap_or(Value::Null);
        // Gemini sends its errors as an array of one.
        let value = value.get(0).unwrap_or(&value);
        let places = ["/error/message", "/message", "/error", "/detail"];
        let mut found = places
            .iter()
            .filter_map(|place| value.pointer(place)?.as_str());
        let Some(words) = found.next().map(str::trim).filter(|w| !w.is_empty()) else {
            return String::new();
        };
        // The cut may go through a key, so that it comes after.
        let words: String = self.redact(words).chars().take(QUOTE_CHARS_MAX).collect();
        format!(": {}", words.trim_end_matches('.'))
    }

    /// Takes the key out, whatever its form, and words that begin as it does: servers quote keys
    /// half masked.
    fn redact(&self, text: &str) -> String {
        let Ok(Some(key)) = self.endpoint.key() else {
            return text.to_owned();
        };
        let text = without(text, key, "(key)");
        let Some(start) = key.get(..6).filter(|_| key.len() >= 12) else {
            return text;
        };
        let words = text.split(' ');
        let words = words.map(|word| if word.contains(start) { "(key)" } else { word });
        words.collect::<Vec<_>>().join(" ")
    }
}

fn error_body(error: &Error) -> &str {
    match error {
        Error::HttpError { body, .. } => body,
        _ => "",
    }
}

/// What `retry-after-ms` or `retry-after` ask for; a date in the latter is not understood.
fn retry_after(error: &Error) -> Option<Duration> {
    let headers = error.headers()?;
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok();
    let millis = number("retry-after-ms").map(|millis| millis / 1000.0);
    let seconds = millis.or_else(|| number("retry-after"))?;
    Duration::try_from_secs_f64(seconds).ok()
}

fn root_cause(error: &(dyn StdError + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
