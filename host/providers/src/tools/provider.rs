//! The interface through which an embedder gives agents tools: the trait and its plain data. The
//! built-in tools and those of MCP servers use the same types. Independent of guests and
//! transcripts.

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

/// The longest time in which a provider may list its tools, unless it sets another.
pub const LISTING_TIMEOUT: Duration = Duration::from_secs(10);

/// A source of tools.
///
/// Its futures run on the embedder's runtime, never on a guest's stack. Dropping the future of a
/// call must end the call: this is how a cancellation reaches it. A panic is an error of that one
/// call. A provider that needs its host should keep a `lastword::WeakHost`. One that keeps a
/// `lastword::Host` keeps the host open until it is shut down, which drops all providers.
pub trait ToolProvider: Send + Sync + 'static {
    /// Returns the tools that this run may see, in the order for a model. If this takes longer than
    /// [`ToolProvider::listing_timeout`], the run continues without these tools, and the provider
    /// is not asked again for a minute.
    fn tools(&self, context: &CallContext) -> BoxFuture<'static, Result<Vec<Tool>, ToolError>>;

    /// Carries out a call that is allowed by `tools=NAME`. Before it uses any other capability, the
    /// tool asks [`Invocation::permits`]. A call may take as long as its run.
    ///
    /// The arguments are a JSON object, as the model wrote it. The host does not check it against
    /// [`Tool::parameters`], which models do not always follow. [`Invocation::parse`] parses and
    /// checks it.
    ///
    /// # Errors
    ///
    /// [`ToolErrorKind::Invalid`] for invalid arguments, with a message that names the argument and
    /// says what it has to be: the model reads it, and can correct its call.
    fn call(&self, call: Invocation) -> BoxFuture<'static, Result<ToolOutput, ToolError>>;

    /// Called once when a host is built with this provider, with parts of the host. Returns a
    /// provider that the host uses instead of this one. Default: `None`, which keeps this provider.
    fn attach(&self, host: &HostContext) -> Option<Arc<dyn ToolProvider>> {
        let _ = host;
        None
    }

    /// Returns the longest time that [`ToolProvider::tools`] may take before a run continues
    /// without these tools. Default: [`LISTING_TIMEOUT`]; `None` for a provider that bounds the
    /// time itself.
    fn listing_timeout(&self) -> Option<Duration> {
        Some(LISTING_TIMEOUT)
    }

    /// Called when a workspace has closed. Closes everything that was open for it alone, within 5
    /// seconds. Default: does nothing.
    fn close(&self, workspace: WorkspaceId) -> BoxFuture<'static, ()> {
        let _nothing_is_open_for = workspace;
        Box::pin(std::future::ready(()))
    }
}

/// The parts of a host that its providers may use.
#[derive(Clone)]
#[non_exhaustive]
pub struct HostContext {
    /// The host's clock.
    pub clock: Arc<dyn Clock>,
    /// The host's secrets.
    pub secrets: Secrets,
    /// The directory in which the host keeps its own data, if it keeps any on disk.
    pub data_dir: Option<PathBuf>,
    /// Returns the directories of open workspaces.
    pub directories: WorkspaceDirectories,
    /// The soft limit of descriptors from before the host raised it, with which programs should
    /// start; `None` if the host did not raise it.
    pub descriptors: Option<u64>,
}

/// Returns the directory of a workspace that is open and has one.
pub type WorkspaceDirectories = Arc<dyn Fn(WorkspaceId) -> Option<PathBuf> + Send + Sync>;

impl HostContext {
    /// Creates the context of a host without data on disk, secrets and directories.
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

/// A tool, as it is described to a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tool {
    /// Its name, unique within a run: letters, digits, `_`, `-` and `.`, at most 128 bytes.
    pub name: String,
    /// A description for the model: what the tool does and when to use it.
    pub description: String,
    /// A JSON Schema of the arguments, which are an object. Models use it to write the arguments;
    /// the tool itself checks them.
    pub parameters: Value,
    /// Whether it may change anything. A call that may is recorded on disk before it starts.
    pub effects: Effects,
}

/// Whether a tool may change anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effects {
    /// It changes nothing, so that a repeated call is harmless.
    None,
    /// It may change files, other machines or the conversation.
    Some,
}

/// One call of a tool.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// The run that makes the call.
    pub context: CallContext,
    /// The id of the call, unique within the session.
    pub call_id: String,
    /// The tool's name.
    pub tool: String,
    /// The arguments: an object, as the model wrote it. See [`Invocation::parse`].
    pub arguments: Value,
    /// The checker that the tool asks before it uses a capability.
    pub permits: PermissionChecker,
}

impl Invocation {
    /// Parses the arguments into a type of the tool's own.
    ///
    /// ```
    /// # use lastword_providers::tools::{Invocation, ToolError, ToolOutput};
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
    /// that does not fit and the reason, for the model.
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

/// The result of a call. A tool that was carried out and failed reports that here, for the model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToolOutput {
    /// The content for the model.
    pub content: Vec<ToolContent>,
    /// The result for programs, if there is one.
    pub structured: Option<Value>,
    /// Further data for clients only, such as diffs or durations.
    pub metadata: Option<Value>,
    /// Whether the tool was carried out and failed.
    pub is_error: bool,
}

/// One piece of a tool's result.
#[derive(Clone, Debug, PartialEq)]
pub enum ToolContent {
    /// A text.
    Text(String),
    /// Bytes, which the host stores.
    Data {
        /// The media type, such as `image/png`.
        media_type: String,
        /// The file name, if there is one.
        name: Option<String>,
        /// The bytes, at most 8 MiB.
        bytes: Vec<u8>,
    },
}

impl ToolOutput {
    /// Creates the result of one text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            content: vec![ToolContent::Text(text.into())],
            ..Self::default()
        }
    }

    /// Creates the result of a failed call: what went wrong and what to do instead, for the model.
    #[must_use]
    pub fn error(text: impl Into<String>) -> Self {
        Self {
            is_error: true,
            ..Self::text(text)
        }
    }

    /// Adds a value for programs.
    #[must_use]
    pub fn structured(mut self, value: Value) -> Self {
        self.structured = Some(value);
        self
    }

    /// Adds data for clients.
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
    /// The kind of failure.
    pub kind: ToolErrorKind,
    /// What happened and what to do, for people and models. Never contains a secret.
    pub message: String,
}

/// The kinds of failures. Each has one code that a guest sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolErrorKind {
    /// The tool does not exist: `not-found`.
    UnknownTool,
    /// The arguments are invalid: `invalid`.
    Invalid,
    /// The call is not allowed: `denied`.
    Denied,
    /// A bound was reached: `limit`.
    Limit,
    /// The call took too long: `timeout`.
    Timeout,
    /// The tool's server cannot be reached now: `unavailable`, retryable.
    Unavailable,
    /// The host failed: `internal`.
    Internal,
}

impl ToolError {
    /// Creates a failure of this kind.
    #[must_use]
    pub fn new(kind: ToolErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    /// Creates a failure for invalid arguments. The message names the argument and says what it has
    /// to be.
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
