//! What a server sends, as messages of the protocol: whatever can be read is, and an answer
//! that cannot be is an error of the request that it belongs to. Knows neither pipes nor HTTP.

use super::content::redact;
use super::launch::Fill;
use super::repair::{self, Asked};
use super::skim::{Skim, mend_surrogates};
use super::text::prefix;
use rmcp::model::{
    CallToolResult, ClientNotification, ClientRequest, ErrorCode, ErrorData, InputRequiredResult,
    JsonRpcMessage, ListToolsResult, NumberOrString, RequestId, ServerResult,
};
use rmcp::service::{RoleClient, RxJsonRpcMessage, TxJsonRpcMessage};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a server sent.
pub(super) type Received = RxJsonRpcMessage<RoleClient>;
/// What it is sent.
pub(super) type Sent = TxJsonRpcMessage<RoleClient>;

/// Bytes of one message of a server. Bytes are a third longer on the wire than they are.
pub(super) const MESSAGE_MAX: usize = 16 * 1024 * 1024;
/// What the host makes of an answer that cannot be read. No server's own word: the range is
/// the protocol's.
pub(super) const UNREADABLE: ErrorCode = ErrorCode(-32_099);
/// What the host makes of a question whether the server knows the newer protocol that is not
/// answered for a while.
const SILENT: ErrorCode = ErrorCode::METHOD_NOT_FOUND;
/// Bytes of a message that are shown if it cannot be read.
const EXCERPT_MAX: usize = 256;

/// Reads what one server sends over one connection.
pub(super) struct Decoder {
    server: Arc<str>,
    fill: Arc<dyn Fill>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Requests without an answer.
    pending: HashMap<RequestId, Asked>,
    /// The probe for the newer protocol that was not waited for.
    unanswered: Option<RequestId>,
    /// Whether that was answered after all.
    newer: bool,
}

impl Decoder {
    pub(super) fn new(server: &str, fill: &Arc<dyn Fill>) -> Self {
        Self {
            server: server.into(),
            fill: Arc::clone(fill),
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The text without secrets.
    pub(super) fn redact(&self, text: &str) -> String {
        self.fill.redact(text)
    }

    /// Takes note of what is sent. To be called before it is.
    pub(super) fn sent(&self, message: &Sent) {
        match message {
            JsonRpcMessage::Request(request) => {
                let asked = match &request.request {
                    ClientRequest::InitializeRequest(_) | ClientRequest::DiscoverRequest(_) => {
                        Asked::Start
                    }
                    ClientRequest::ListToolsRequest(_) => Asked::Tools,
                    ClientRequest::CallToolRequest(_) => Asked::Call,
                    _ => Asked::Other,
                };
                self.state().pending.insert(request.id.clone(), asked);
            }
            JsonRpcMessage::Notification(notification) => {
                if let ClientNotification::CancelledNotification(cancelled) =
                    &notification.notification
                    && let Some(id) = &cancelled.params.request_id
                {
                    self.forget(id);
                }
            }
            _ => {}
        }
    }

    /// No answer to this request is expected any more.
    pub(super) fn forget(&self, id: &RequestId) {
        self.state().pending.remove(id);
    }

    /// Whether this request has no answer yet.
    pub(super) fn is_pending(&self, id: &RequestId) -> bool {
        self.state().pending.contains_key(id)
    }

    /// Waits for the answer to this probe for the newer protocol no longer: what stands for it.
    pub(super) fn give_up_probe(&self, id: RequestId) -> Received {
        let mut state = self.state();
        state.pending.remove(&id);
        state.unanswered = Some(id.clone());
        let silent = ErrorData::new(SILENT, "`server/discover` was not answered at once", None);
        JsonRpcMessage::error(silent, Some(id))
    }

    /// Whether a probe for the newer protocol was given up.
    pub(super) fn was_silent(&self) -> bool {
        self.state().unanswered.is_some()
    }

    /// Whether the server answered such a probe after it was given up.
    pub(super) fn is_newer(&self) -> bool {
        self.state().newer
    }

    /// The messages of one line, or of one body. What belongs to no known request belongs to
    /// `of`, if that is given.
    pub(super) fn decode(&self, bytes: &[u8], of: Option<&RequestId>) -> Vec<Received> {
        let text = String::from_utf8_lossy(bytes);
        let text = text.trim_start_matches('\u{feff}').trim();

        let read = match serde_json::from_str(text) {
            // Half a surrogate pair is legal JSON, and no text in Rust.
            Err(_) if text.contains("\\u") => serde_json::from_str(&mend_surrogates(text)),
            read => read,
        };

        match read {
            Ok(Value::Array(batch)) => {
                let batch = batch.into_iter();
                batch.filter_map(|value| self.message(value, of)).collect()
            }
            Ok(value) => self.message(value, of).into_iter().collect(),
            Err(_) if text.is_empty() => vec![],
            // What a program prints beside its messages may begin with a bracket, too.
            Err(error) if text.trim_start_matches('[').trim_start().starts_with('{') => {
                let mut skim = Skim::default();
                skim.feed(text.as_bytes());
                let why = format!("it is no JSON ({error}): {}", prefix(text, EXCERPT_MAX));
                self.unreadable(&skim, of, &why).into_iter().collect()
            }
            Err(_) => {
                self.aside("a line that is no message", text);
                vec![]
            }
        }
    }

    /// What stands for a message that cannot be read: an error of the request that it answers,
    /// if that is known.
    pub(super) fn unreadable(
        &self,
        skim: &Skim,
        of: Option<&RequestId>,
        why: &str,
    ) -> Option<Received> {
        let id = skim.id().or_else(|| of.cloned());
        match id.or_else(|| self.only().filter(|_| !skim.has_method())) {
            Some(id) if skim.has_method() && !self.is_pending(&id) => {
                self.aside("a message that cannot be read", why);
                None
            }
            Some(id) => {
                let (id, _) = self.take(&id)?;
                Some(self.failed(id, why))
            }
            None => {
                self.aside("a message that cannot be read", why);
                None
            }
        }
    }

    /// The error that stands for an answer.
    fn failed(&self, id: RequestId, why: &str) -> Received {
        let why = self.fill.redact(why);
        JsonRpcMessage::error(ErrorData::new(UNREADABLE, why, None), Some(id))
    }

    fn message(&self, value: Value, of: Option<&RequestId>) -> Option<Received> {
        // Before anything else sees it: the library above logs every message.
        let Value::Object(mut members) = redact(value, &*self.fill) else {
            self.aside("a message that is no object", "");
            return None;
        };
        members.insert("jsonrpc".to_owned(), Value::from("2.0"));

        let asks = members.get("method").is_some_and(Value::is_string)
            && !members.contains_key("result")
            && !members.contains_key("error");
        if asks {
            self.request(members)
        } else {
            self.answer(members, of)
        }
    }

    /// What a server asks or tells by itself.
    fn request(&self, mut members: Map<String, Value>) -> Option<Received> {
        for optional in ["id", "params"] {
            if members.get(optional).is_some_and(Value::is_null) {
                members.remove(optional);
            }
        }

        let read = Received::deserialize(&Value::Object(members.clone()));
        if let Err(error) = &read {
            let method = members.get("method").and_then(Value::as_str);
            let why = format!("{}: {error}", method.unwrap_or_default());
            self.aside("a request or notification that cannot be read", &why);
        }

        read.ok()
    }

    fn answer(&self, mut members: Map<String, Value>, of: Option<&RequestId>) -> Option<Received> {
        let named = members.remove("id").filter(|id| !id.is_null());
        let id = match named {
            Some(id) => NumberOrString::deserialize(&id).ok(),
            None => of.cloned().or_else(|| self.only()),
        };

        let error = members.remove("error").filter(|error| !error.is_null());
        let Some((id, asked)) = id.and_then(|id| self.take(&id)) else {
            let why = error.map(|error| repair::error(error).message.to_string());
            self.aside(
                "an answer to nothing that was asked",
                &why.unwrap_or_default(),
            );
            return None;
        };

        if let Some(error) = error {
            return Some(JsonRpcMessage::error(repair::error(error), Some(id)));
        }

        let Some(result) = members.remove("result") else {
            return Some(self.failed(id, "it holds neither a result nor an error"));
        };
        let shown = prefix(&result.to_string(), EXCERPT_MAX).to_owned();
        let read = repair::result(result, asked)
            .and_then(|result| typed(result, asked).map_err(|error| error.to_string()));

        Some(match read {
            Ok(result) => JsonRpcMessage::response(result, id),
            Err(why) => self.failed(id, &format!("{why}: {shown}")),
        })
    }

    /// The request with this id, which is no longer pending. Some servers make a text of a
    /// number.
    fn take(&self, id: &RequestId) -> Option<(RequestId, Asked)> {
        let mut state = self.state();
        let number = match id {
            NumberOrString::String(text) => text.parse().ok().map(NumberOrString::Number),
            NumberOrString::Number(_) => None,
        };

        for id in [Some(id), number.as_ref()].into_iter().flatten() {
            if state.unanswered.as_ref() == Some(id) {
                state.newer = true;
                return None;
            }
            if let Some(taken) = state.pending.remove_entry(id) {
                return Some(taken);
            }
        }

        None
    }

    /// The one request that is under way, if it is one.
    fn only(&self) -> Option<RequestId> {
        let state = self.state();
        let mut pending = state.pending.keys();
        let only = pending.next()?;
        pending.next().is_none().then(|| only.clone())
    }

    /// Names what is left aside. What a program prints beside its messages is not alarming.
    fn aside(&self, what: &str, why: &str) {
        let why = self.fill.redact(why);
        let (server, why) = (&*self.server, prefix(&why, EXCERPT_MAX));
        tracing::debug!(target: "lastword::mcp", server, "left aside: {what}: {why}");
    }
}

/// The result as what was asked for: by its looks alone it may be taken for something else.
fn typed(result: Value, asked: Asked) -> Result<ServerResult, serde_json::Error> {
    let further = result.get("resultType").and_then(Value::as_str);
    match (asked, further) {
        (Asked::Tools, _) => {
            ListToolsResult::deserialize(result).map(ServerResult::ListToolsResult)
        }
        (Asked::Call, Some("input_required")) => {
            InputRequiredResult::deserialize(result).map(ServerResult::InputRequiredResult)
        }
        (Asked::Call, Some("task")) => Err(serde::de::Error::custom(
            "it began a task instead of answering, and this host follows no tasks",
        )),
        (Asked::Call, _) => CallToolResult::deserialize(result).map(ServerResult::CallToolResult),
        (Asked::Start | Asked::Other, _) => ServerResult::deserialize(result),
    }
}
