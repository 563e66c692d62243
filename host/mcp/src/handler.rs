//! What a server may ask of its client: the workspace's directory as its root, and questions to a
//! person if the embedder supplies an [`Elicit`]; sampling is refused. What the server reports goes
//! to the log.

use super::launch::SecretSource;
use super::pausable_timeout::PausableTimeout;
use super::text::cut;
use futures_util::future::BoxFuture;
use lastword_providers::foreign;
use lastword_types::id::WorkspaceId;
use rmcp::ClientHandler;
use rmcp::model::{
    ClientCapabilities, ClientConfig, ConstString as _, CustomNotification, ElicitRequestParams,
    ElicitResult, ElicitationAction, ElicitationCapability, ErrorCode, ErrorData,
    FormElicitationCapability, Implementation, ProgressNotificationParam, ProtocolVersion,
    RootsCapabilities, ToolListChangedNotificationMethod,
};
#[expect(
    deprecated,
    reason = "older servers still ask for these, and report by them"
)]
use rmcp::model::{
    CreateMessageRequestParams, CreateMessageResult, ListRootsResult,
    LoggingMessageNotificationParam, Root,
};
use rmcp::service::{NotificationContext, RequestContext, RoleClient};
use serde_json::{Map, Value};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The largest number of bytes of a server's log line that are kept.
const LOG_MAX: usize = 2 * 1024;

/// Puts a server's questions to a person. Without one, every question is declined.
pub trait Elicit: Send + Sync + 'static {
    /// Returns the answers by field; `None` declines. Omitted fields get the defaults of the
    /// question. The time that it takes is not counted for any call of the same workspace to the
    /// same server. Dropped when the call that it belongs to is dropped.
    fn elicit(&self, question: Elicitation) -> BoxFuture<'static, Option<Map<String, Value>>>;
}

/// A question of a server to a person.
#[derive(Clone, Debug, PartialEq)]
pub struct Elicitation {
    /// The server that asks.
    pub server: String,
    /// The workspace that it serves.
    pub workspace: WorkspaceId,
    /// The question, in the server's words.
    pub message: String,
    /// A JSON schema of the answers: an object of plain fields.
    pub schema: Value,
}

/// The client's side of one connection.
pub(super) struct Handler {
    pub(super) server: Arc<str>,
    pub(super) workspace: WorkspaceId,
    pub(super) fill: Arc<dyn SecretSource>,
    pub(super) root: Option<PathBuf>,
    pub(super) elicit: Option<Arc<dyn Elicit>>,
    pub(super) timeout: PausableTimeout,
    /// Set when the list of tools has changed.
    pub(super) stale: Arc<AtomicBool>,
    /// Whether to use the handshake of older servers.
    pub(super) handshake: bool,
}

impl Handler {
    fn redacted(&self, text: &str) -> String {
        cut(self.fill.redact(text), LOG_MAX)
    }

    async fn ask(&self, request: ElicitRequestParams) -> Option<Map<String, Value>> {
        let elicit = self.elicit.as_ref()?;

        let ElicitRequestParams::FormElicitationParams {
            message,
            requested_schema,
            ..
        } = request
        else {
            // The host opens no addresses that a server names.
            return None;
        };

        let schema = serde_json::to_value(requested_schema).ok()?;
        let _asking = self.timeout.pause();

        let question = Elicitation {
            server: self.server.to_string(),
            workspace: self.workspace,
            message: self.redacted(&message),
            schema: schema.clone(),
        };
        let answers = foreign::caught(|| elicit.elicit(question)).await;
        Some(with_defaults(answers.ok()??, &schema))
    }
}

/// Adds the schema's defaults for omitted fields.
fn with_defaults(mut answers: Map<String, Value>, schema: &Value) -> Map<String, Value> {
    let fields = schema.get("properties").and_then(Value::as_object);
    for (name, field) in fields.into_iter().flatten() {
        if let Some(default) = field.get("default")
            && !answers.contains_key(name)
        {
            answers.insert(name.clone(), default.clone());
        }
    }

    answers
}

/// Returns the `file:` URI of a directory.
fn file_uri(path: &std::path::Path) -> String {
    use std::os::unix::ffi::OsStrExt;

    let mut uri = "file://".to_owned();

    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' => {
                uri.push(char::from(*byte));
            }
            other => uri.push_str(&format!("%{other:02X}")),
        }
    }

    uri
}

#[expect(
    deprecated,
    reason = "servers of the older protocols still ask for roots and send logs"
)]
impl ClientHandler for Handler {
    fn get_info(&self) -> ClientConfig {
        let mut capabilities = ClientCapabilities::default();
        capabilities.roots = self.root.is_some().then(RootsCapabilities::default);

        let forms = || ElicitationCapability::new().with_form(FormElicitationCapability::new());
        capabilities.elicitation = self.elicit.is_some().then(forms);

        let client = Implementation::new("lastword", env!("CARGO_PKG_VERSION"));
        let mut info = ClientConfig::new(capabilities, client);

        if self.handshake {
            info.protocol_version = ProtocolVersion::LATEST_WITH_INITIALIZE;
        }

        info
    }

    async fn create_message(
        &self,
        _: CreateMessageRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<CreateMessageResult, ErrorData> {
        Err(ErrorData::new(
            ErrorCode::METHOD_NOT_FOUND,
            "this host lets no server use its models",
            None,
        ))
    }

    async fn list_roots(
        &self,
        _: RequestContext<RoleClient>,
    ) -> Result<ListRootsResult, ErrorData> {
        let roots = self.root.iter().map(|path| Root::new(file_uri(path)));
        Ok(ListRootsResult::new(roots.collect()))
    }

    async fn create_elicitation(
        &self,
        request: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        Ok(match self.ask(request).await {
            Some(answers) => {
                ElicitResult::new(ElicitationAction::Accept).with_content(Value::Object(answers))
            }
            None => ElicitResult::new(ElicitationAction::Decline),
        })
    }

    async fn on_progress(
        &self,
        progress: ProgressNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        let line = self.redacted(progress.message.as_deref().unwrap_or_default());
        let (server, done, total) = (&*self.server, progress.progress, progress.total);
        tracing::debug!(target: "lastword::mcp", server, done, total, "progress: {line}");
    }

    async fn on_logging_message(
        &self,
        message: LoggingMessageNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        let line = match message.data {
            Value::String(text) => text,
            other => other.to_string(),
        };
        let (server, line) = (&*self.server, self.redacted(&line));
        // A server's warning need not be one for the host.
        tracing::debug!(target: "lastword::mcp", server, level = ?message.level, "{line}");
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.stale.store(true, Ordering::Release);
    }

    /// A notification of an unknown kind, or a known one with members that do not fit it.
    async fn on_custom_notification(
        &self,
        notification: CustomNotification,
        _: NotificationContext<RoleClient>,
    ) {
        if notification.method == ToolListChangedNotificationMethod::VALUE {
            self.stale.store(true, Ordering::Release);
        }
        let (server, method) = (&*self.server, self.redacted(&notification.method));
        tracing::debug!(target: "lastword::mcp", server, "left aside: notification {method}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn directories_become_file_uris() {
        let uri = file_uri(std::path::Path::new("/a b/ü#1"));
        assert_eq!(uri, "file:///a%20b/%C3%BC%231");
    }

    #[test]
    fn omitted_fields_get_their_default() {
        let schema = json!({"properties": {
            "name": {"type": "string", "default": "Jo"},
            "age": {"type": "integer", "default": 3},
            "mail": {"type": "string"},
        }});
        let answers = json!({"age": 4}).as_object().unwrap().clone();
        let filled = Value::Object(with_defaults(answers, &schema));
        assert_eq!(filled, json!({"age": 4, "name": "Jo"}));
    }
}
