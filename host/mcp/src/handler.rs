//! What a server may ask of its client, and the answers: the workspace's directory as its
//! root, no sampling, and questions to a person only if somebody takes them. What it reports
//! goes to the log. Knows no connection.

use super::launch::Fill;
use super::patience::Patience;
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

/// Bytes of a server's log line that are kept.
const LOG_MAX: usize = 2 * 1024;

/// Somebody who answers what servers ask of a person. Without one, every question is declined.
pub trait Elicit: Send + Sync + 'static {
    /// The answers by their fields; `None` declines. Fields that are left out get the
    /// defaults of the question. The time that it takes counts for no call of the same
    /// workspace to the same server; it is dropped when the call that it belongs to is.
    fn elicit(&self, question: Elicitation) -> BoxFuture<'static, Option<Map<String, Value>>>;
}

/// What a server asks of a person.
#[derive(Clone, Debug, PartialEq)]
pub struct Elicitation {
    /// Which server asks.
    pub server: String,
    /// In whose workspace.
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
    pub(super) fill: Arc<dyn Fill>,
    pub(super) root: Option<PathBuf>,
    pub(super) elicit: Option<Arc<dyn Elicit>>,
    pub(super) patience: Patience,
    /// Set once the list of tools is not what it was.
    pub(super) stale: Arc<AtomicBool>,
    /// Whether the handshake of older servers is meant.
    pub(super) handshake: bool,
}

impl Handler {
    fn said(&self, text: &str) -> String {
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
            // Nobody opens addresses that a server names.
            return None;
        };

        let schema = serde_json::to_value(requested_schema).ok()?;
        let _asking = self.patience.asking();

        let question = Elicitation {
            server: self.server.to_string(),
            workspace: self.workspace,
            message: self.said(&message),
            schema: schema.clone(),
        };
        let answers = foreign::caught(|| elicit.elicit(question)).await;
        Some(with_defaults(answers.ok()??, &schema))
    }
}

/// The answers, and the schema's defaults for the fields that were left out.
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

/// The address of a directory.
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
        let said = self.said(progress.message.as_deref().unwrap_or_default());
        let (server, done, total) = (&*self.server, progress.progress, progress.total);
        tracing::debug!(target: "lastword::mcp", server, done, total, "progress: {said}");
    }

    async fn on_logging_message(
        &self,
        message: LoggingMessageNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        let said = match message.data {
            Value::String(text) => text,
            other => other.to_string(),
        };
        let (server, said) = (&*self.server, self.said(&said));
        // What a server thinks alarming is not yet alarming for the host.
        tracing::debug!(target: "lastword::mcp", server, level = ?message.level, "{said}");
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.stale.store(true, Ordering::Release);
    }

    /// A kind of its own, or one of the protocol's with members that it has not.
    async fn on_custom_notification(
        &self,
        notification: CustomNotification,
        _: NotificationContext<RoleClient>,
    ) {
        if notification.method == ToolListChangedNotificationMethod::VALUE {
            self.stale.store(true, Ordering::Release);
        }
        let (server, method) = (&*self.server, self.said(&notification.method));
        tracing::debug!(target: "lastword::mcp", server, "left aside: notification {method}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn directories_become_addresses() {
        let uri = file_uri(std::path::Path::new("/a b/ü#1"));
        assert_eq!(uri, "file:///a%20b/%C3%BC%231");
    }

    #[test]
    fn what_is_left_out_gets_its_default() {
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
