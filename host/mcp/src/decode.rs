//! Decodes what a server sends. It is lenient: a response that cannot be read becomes an error of
//! the request that it belongs to.

use super::content::redact;
use super::launch::SecretSource;
use super::message_scan::{MessageScan, mend_surrogates};
use super::repair::{self, RequestKind};
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

/// A message from the server.
pub(super) type ServerMessage = RxJsonRpcMessage<RoleClient>;
/// A message to the server.
pub(super) type ClientMessage = TxJsonRpcMessage<RoleClient>;

/// The largest number of bytes of one message from a server. Base64 makes binary data a third
/// longer.
pub(super) const MESSAGE_MAX: usize = 16 * 1024 * 1024;
/// The error code of a response that cannot be read. It lies in the protocol's reserved range, so
/// that no server sends it.
pub(super) const UNREADABLE: ErrorCode = ErrorCode(-32_099);
/// The error code of a probe for the newer protocol that remains unanswered.
const SILENT: ErrorCode = ErrorCode::METHOD_NOT_FOUND;
/// The largest number of bytes of an unreadable message that are shown.
const EXCERPT_MAX: usize = 256;

/// Decodes the messages from one server over one connection.
pub(super) struct Decoder {
    server: Arc<str>,
    fill: Arc<dyn SecretSource>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Requests without a response.
    pending: HashMap<RequestId, RequestKind>,
    /// The probe for the newer protocol that was given up.
    unanswered: Option<RequestId>,
    /// Whether that probe was answered later after all.
    newer: bool,
}

impl Decoder {
    pub(super) fn new(server: &str, fill: &Arc<dyn SecretSource>) -> Self {
        Self {
            server: server.into(),
            fill: Arc::clone(fill),
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the text without secrets.
    pub(super) fn redact(&self, text: &str) -> String {
        self.fill.redact(text)
    }

    /// Registers a message that is about to be sent.
    pub(super) fn register(&self, message: &ClientMessage) {
        match message {
            JsonRpcMessage::Request(request) => {
                let asked = match &request.request {
                    ClientRequest::InitializeRequest(_) | ClientRequest::DiscoverRequest(_) => {
                        RequestKind::Start
                    }
                    ClientRequest::ListToolsRequest(_) => RequestKind::Tools,
                    ClientRequest::CallToolRequest(_) => RequestKind::Call,
                    _ => RequestKind::Other,
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

    /// Removes a request that expects no response any more.
    pub(super) fn forget(&self, id: &RequestId) {
        self.state().pending.remove(id);
    }

    /// Whether this request has no response yet.
    pub(super) fn is_pending(&self, id: &RequestId) -> bool {
        self.state().pending.contains_key(id)
    }

    /// Gives up the probe for the newer protocol, and returns the response that replaces the
    /// missing one.
    pub(super) fn give_up_probe(&self, id: RequestId) -> ServerMessage {
        let mut state = self.state();
        state.pending.remove(&id);
        state.unanswered = Some(id.clone());
        let silent = ErrorData::new(SILENT, "`server/discover` was not answered at once", None);
        JsonRpcMessage::error(silent, Some(id))
    }

    /// Whether a probe for the newer protocol was given up.
    pub(super) fn gave_up_probe(&self) -> bool {
        self.state().unanswered.is_some()
    }

    /// Whether the server answered such a probe after it was given up.
    pub(super) fn is_newer(&self) -> bool {
        self.state().newer
    }

    /// Decodes the messages of one line or one body. A response with no known id belongs to the
    /// request `of`, if that is given.
    pub(super) fn decode(&self, bytes: &[u8], of: Option<&RequestId>) -> Vec<ServerMessage> {
        let text = String::from_utf8_lossy(bytes);
        let text = text.trim_start_matches('\u{feff}').trim();

        let read = match serde_json::from_str(text) {
            // A lone half of a surrogate pair is legal in JSON, and not in a Rust string.
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
            // Other output that a program prints may begin with a bracket, too.
            Err(error) if text.trim_start_matches('[').trim_start().starts_with('{') => {
                let mut scan = MessageScan::default();
                scan.feed(text.as_bytes());
                let why = format!("it is no JSON ({error}): {}", prefix(text, EXCERPT_MAX));
                self.unreadable(&scan, of, &why).into_iter().collect()
            }
            Err(_) => {
                self.log_ignored("a line that is no message", text);
                vec![]
            }
        }
    }

    /// Returns the message that replaces an unreadable one: an error of the request that it
    /// responds to, if that is known.
    pub(super) fn unreadable(
        &self,
        scan: &MessageScan,
        of: Option<&RequestId>,
        why: &str,
    ) -> Option<ServerMessage> {
        let id = scan.id().or_else(|| of.cloned());
        match id.or_else(|| self.only_pending().filter(|_| !scan.has_method())) {
            Some(id) if scan.has_method() && !self.is_pending(&id) => {
                self.log_ignored("a message that cannot be read", why);
                None
            }
            Some(id) => {
                let (id, _) = self.take_pending(&id)?;
                Some(self.error_response(id, why))
            }
            None => {
                self.log_ignored("a message that cannot be read", why);
                None
            }
        }
    }

    /// Builds an error response.
    fn error_response(&self, id: RequestId, why: &str) -> ServerMessage {
        let why = self.fill.redact(why);
        JsonRpcMessage::error(ErrorData::new(UNREADABLE, why, None), Some(id))
    }

    fn message(&self, value: Value, of: Option<&RequestId>) -> Option<ServerMessage> {
        // Redacted first, since `rmcp` logs every message.
        let Value::Object(mut members) = redact(value, &*self.fill) else {
            self.log_ignored("a message that is no object", "");
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

    /// Decodes a request or a notification of the server.
    fn request(&self, mut members: Map<String, Value>) -> Option<ServerMessage> {
        for optional in ["id", "params"] {
            if members.get(optional).is_some_and(Value::is_null) {
                members.remove(optional);
            }
        }

        let read = ServerMessage::deserialize(&Value::Object(members.clone()));
        if let Err(error) = &read {
            let method = members.get("method").and_then(Value::as_str);
            let why = format!("{}: {error}", method.unwrap_or_default());
            self.log_ignored("a request or notification that cannot be read", &why);
        }

        read.ok()
    }

    fn answer(
        &self,
        mut members: Map<String, Value>,
        of: Option<&RequestId>,
    ) -> Option<ServerMessage> {
        let named = members.remove("id").filter(|id| !id.is_null());
        let id = match named {
            Some(id) => NumberOrString::deserialize(&id).ok(),
            None => of.cloned().or_else(|| self.only_pending()),
        };

        let error = members.remove("error").filter(|error| !error.is_null());
        let Some((id, asked)) = id.and_then(|id| self.take_pending(&id)) else {
            let why = error.map(|error| repair::error(error).message.to_string());
            self.log_ignored(
                "an answer to nothing that was asked",
                &why.unwrap_or_default(),
            );
            return None;
        };

        if let Some(error) = error {
            return Some(JsonRpcMessage::error(repair::error(error), Some(id)));
        }

        let Some(result) = members.remove("result") else {
            return Some(self.error_response(id, "it holds neither a result nor an error"));
        };
        let shown = prefix(&result.to_string(), EXCERPT_MAX).to_owned();
        let read = repair::result(result, asked)
            .and_then(|result| typed_result(result, asked).map_err(|error| error.to_string()));

        Some(match read {
            Ok(result) => JsonRpcMessage::response(result, id),
            Err(why) => self.error_response(id, &format!("{why}: {shown}")),
        })
    }

    /// Removes and returns the pending request with this id. Some servers return a number as a
    /// string.
    fn take_pending(&self, id: &RequestId) -> Option<(RequestId, RequestKind)> {
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

    /// Returns the pending request, if there is exactly one.
    fn only_pending(&self) -> Option<RequestId> {
        let state = self.state();
        let mut pending = state.pending.keys();
        let only = pending.next()?;
        pending.next().is_none().then(|| only.clone())
    }

    /// Logs what is ignored. Output that a program prints beside its messages is common, and not
    /// worth a warning.
    fn log_ignored(&self, what: &str, why: &str) {
        let why = self.fill.redact(why);
        let (server, why) = (&*self.server, prefix(&why, EXCERPT_MAX));
        tracing::debug!(target: "lastword::mcp", server, "left aside: {what}: {why}");
    }
}

/// Decodes the result by the kind of the request: by its shape alone it could be mistaken for
/// another kind.
fn typed_result(result: Value, asked: RequestKind) -> Result<ServerResult, serde_json::Error> {
    let further = result.get("resultType").and_then(Value::as_str);
    match (asked, further) {
        (RequestKind::Tools, _) => {
            ListToolsResult::deserialize(result).map(ServerResult::ListToolsResult)
        }
        (RequestKind::Call, Some("input_required")) => {
            InputRequiredResult::deserialize(result).map(ServerResult::InputRequiredResult)
        }
        (RequestKind::Call, Some("task")) => Err(serde::de::Error::custom(
            "it began a task instead of answering, and this host follows no tasks",
        )),
        (RequestKind::Call, _) => {
            CallToolResult::deserialize(result).map(ServerResult::CallToolResult)
        }
        (RequestKind::Start | RequestKind::Other, _) => ServerResult::deserialize(result),
    }
}
