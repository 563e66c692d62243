//! What an embedder brings to give agents tools: the trait and its plain data. The host's own
//! tools and those of MCP servers come by the same door. Knows no guest and no transcript.

use crate::model::CallContext;
use crate::permits::PermissionChecker;
use crate::secrets::Secrets;
use futures_util::future::BoxFuture;
use lastword_types::clock::Clock;
use lastword_types::id::WorkspaceId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How long a provider may take to list its tools, unless it says otherwise.
pub const LISTING_TIMEOUT: Duration = Duration::from_secs(10);

/// A source of tools.
///
/// Its futures run on the embedder's runtime, never on a guest's stack. Dropping the future of
/// a call must end the call: that is how a cancel reaches it. A panic is an error of that one
/// call. A provider that needs its host keeps a `lastword::WeakHost`: one that keeps a
/// `lastword::Host` keeps it open until it is shut down, which drops all providers.
pub trait ToolProvider: Send + Sync + 'static {
    /// The tools that this run may see, in the order in which a model shall. Within
    /// [`ToolProvider::listing_timeout`]: after that the run goes on without them, and the provider
    /// is not asked again for a minute.
    fn tools(&self, context: &CallContext) -> BoxFuture<'static, Result<Vec<Tool>, ToolError>>;

    /// Carries a call out that is allowed by `tools=NAME`; for whatever else it does, the tool asks
    /// [`Invocation::permits`]. It may take as long as its run.
    ///
    /// The arguments are a JSON object, as the model wrote it: the host does not hold it against
    /// [`Tool::parameters`], which models do not always keep to. [`Invocation::parse`] makes a type
    /// of them.
    ///
    /// # Errors
    ///
    /// [`ToolErrorKind::Invalid`] for arguments that do not do, with a message that names the
    /// argument and says what it has to be: the model reads it, and can mend its call.
    fn call(&self, call: Invocation) -> BoxFuture<'static, Result<ToolOutput, ToolError>>;

    /// Called once when a host is built with this provider, with what is the host's: returns what
    /// the host asks from then on in its place. Default: `None`, which is the provider itself.
    fn attach(&self, host: &HostContext) -> Option<Arc<dyn ToolProvider>> {
        let _ = host;
        None
    }

    /// How long [`ToolProvider::tools`] may take before a run goes on without these tools. Default:
    /// [`LISTING_TIMEOUT`]; `None` for a provider that bounds it by itself.
    fn listing_timeout(&self) -> Option<Duration> {
        Some(LISTING_TIMEOUT)
    }

    /// A workspace has closed: what was open for it alone is closed, within 5 seconds. Default:
    /// nothing is.
    fn close(&self, workspace: WorkspaceId) -> BoxFuture<'static, ()> {
        let _nothing_is_open_for = workspace;
        Box::pin(std::future::ready(()))
    }
}

/// What a host gives the providers that it is built with.
#[derive(Clone)]
#[non_exhaustive]
pub struct HostContext {
    /// The host's clock.
    pub clock: Arc<dyn Clock>,
    /// The host's secrets.
    pub secrets: Secrets,
    /// Where the host keeps what is its own, if it keeps anything on disk.
    pub data_dir: Option<PathBuf>,
    /// Where open workspaces are.
    pub directories: WorkspaceDirectories,
    /// The soft limit of descriptors from before the host raised it: what programs start with.
    pub descriptors: Option<u64>,
}

/// Looks up the directory of a workspace that is open and has one.
pub type WorkspaceDirectories = Arc<dyn Fn(WorkspaceId) -> Option<PathBuf> + Send + Sync>;

impl HostContext {
    /// The context of a host that keeps nothing on disk, has no secrets and opens no directories.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            secrets: Secrets::none(),
            data_dir: None,
            directories: Arc::new(|_| None),
            descriptors: None,
        }
    }
}

/// A tool, as a model is told of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tool {
    /// Its name, unique within a run: letters, digits, `_`, `-` and `.`, at most 128 bytes.
    pub name: String,
    /// What it does and when to use it, for the model.
    pub description: String,
    /// A JSON schema of the arguments, which are an object. It tells models what to write; the tool
    /// itself checks what they wrote.
    pub parameters: Value,
    /// Whether it changes anything. A call that may is on disk before it starts.
    pub effects: Effects,
}

/// Whether a tool changes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effects {
    /// It only looks: calling it again does no harm.
    None,
    /// It may change files, other machines, or the conversation.
    Some,
}

/// One call.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// On whose behalf.
    pub context: CallContext,
    /// The call's id, unique within the session.
    pub call_id: String,
    /// The tool's name.
    pub tool: String,
    /// The arguments: an object, as the model wrote it. See [`Invocation::parse`].
    pub arguments: Value,
    /// Where the tool asks before it does what needs a capability.
    pub permits: PermissionChecker,
}

impl Invocation {
    /// Returns the arguments as a type of the tool's own.
    ///
    /// ```
    /// # use lastword::tools::{Invocation, ToolError, ToolOutput};
    /// #[derive(serde::Deserialize)]
    /// #[serde(deny_unknown_fields)]
    /// struct Arguments {
    ///     city: String,
    ///     days: Option<u8>,
    /// }
    ///
    /// async fn forecast(call: Invocation) -> Result<ToolOutput, ToolError> {
    ///     let Arguments { city, days } = call.parse()?;
    ///     Ok(ToolOutput::text(format!("{city}: {} days of sun", days.unwrap_or(1))))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ToolErrorKind::Invalid`] if they do not fit the type, with the place of the first argument
    /// that does not and the reason, for the model to read.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, ToolError> {
        let parsed = serde_path_to_error::deserialize(&self.arguments);
        parsed.map_err(|error| {
            let place = match error.path().to_string() {
                path if path == "." => String::new(),
                path => format!("`{path}`: "),
            };
            let (tool, why) = (&self.tool, error.inner());
            ToolError::invalid(format!("the arguments do not fit `{tool}`: {place}{why}"))
        })
    }
}

/// What a call came to. A tool that tried and failed says so here, for the model to read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToolOutput {
    /// For the model.
    pub content: Vec<ToolContent>,
    /// The same for programs.
    pub structured: Option<Value>,
    /// For clients only: diffs, durations.
    pub metadata: Option<Value>,
    /// The tool tried and failed.
    pub is_error: bool,
}

/// One piece of what a tool answers.
#[derive(Clone, Debug, PartialEq)]
pub enum ToolContent {
    /// UTF-8.
    Text(String),
    /// Bytes, which the host keeps.
    Data {
        /// Such as `image/png`.
        media_type: String,
        /// A file name, if there is one.
        name: Option<String>,
        /// At most 8 MiB.
        bytes: Vec<u8>,
    },
}

impl ToolOutput {
    /// A text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            content: vec![ToolContent::Text(text.into())],
            ..Self::default()
        }
    }

    /// What went wrong and what to do instead, for the model.
    #[must_use]
    pub fn error(text: impl Into<String>) -> Self {
        Self {
            is_error: true,
            ..Self::text(text)
        }
    }

    /// The same with a value for programs.
    #[must_use]
    pub fn structured(mut self, value: Value) -> Self {
        self.structured = Some(value);
        self
    }

    /// The same with a value for clients.
    #[must_use]
    pub fn metadata(mut self, value: Value) -> Self {
        self.metadata = Some(value);
        self
    }
}

/// Why a call was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ToolError {
    /// What kind of failure.
    pub kind: ToolErrorKind,
    /// What happened and what to do, for people and models. Never holds a secret.
    pub message: String,
}

/// The kinds of failures; each is one code that a guest sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolErrorKind {
    /// There is no such tool: `not-found`.
    UnknownTool,
    /// The arguments do not do: `invalid`.
    Invalid,
    /// Nobody allowed it: `denied`.
    Denied,
    /// A bound was reached: `limit`.
    Limit,
    /// It took too long: `timeout`.
    Timeout,
    /// Who serves it cannot be reached now: `unavailable`, retryable.
    Unavailable,
    /// The host failed: `internal`.
    Internal,
}

impl ToolError {
    /// A failure of this kind.
    #[must_use]
    pub fn new(kind: ToolErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    /// Arguments that do not do. The message names the argument and says what it has to be.
    #[must_use]
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ToolErrorKind::Invalid, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_is_read_as_it_was_written() {
        let tool = Tool {
            name: "look".to_owned(),
            description: "Looks.".to_owned(),
            parameters: serde_json::json!({"type": "object"}),
            effects: Effects::None,
        };
        let json = serde_json::to_value(&tool).expect("a tool is JSON");
        assert_eq!(json["effects"], "none");
        assert_eq!(serde_json::from_value(json).ok(), Some(tool));
    }
}
