//! A tool as a run has it: with who serves it, and its schema made ready. Knows no call.

use super::{Tool, ToolError, ToolProvider};
use jsonschema::Validator;
use serde_json::Value;
use std::sync::{Arc, OnceLock};

/// Errors of arguments that are told at a time.
const ERRORS_TOLD: usize = 3;

/// A tool, and who serves it.
pub(crate) struct Listed {
    pub(crate) tool: Tool,
    /// `None` for the host's own.
    pub(crate) provider: Option<Arc<dyn ToolProvider>>,
    /// Whether the run is told of it. One that it is not told of, it may still name: and is
    /// then told what would allow it.
    pub(crate) shown: bool,
    /// Made when it is first needed; none for a schema that is none.
    schema: OnceLock<Option<Validator>>,
}

impl Listed {
    /// A tool of the host's own.
    pub(crate) fn own(tool: Tool) -> Self {
        Self {
            tool,
            provider: None,
            shown: true,
            schema: OnceLock::new(),
        }
    }

    /// A tool of somebody else's.
    pub(crate) fn of(tool: Tool, provider: Arc<dyn ToolProvider>, shown: bool) -> Self {
        Self {
            provider: Some(provider),
            shown,
            ..Self::own(tool)
        }
    }

    /// Whether arguments are an object that fits.
    pub(crate) fn check(&self, arguments: &Value) -> Result<(), ToolError> {
        if !arguments.is_object() {
            return Err(ToolError::invalid(format!(
                "the arguments of `{}` are an object, such as {{}}",
                self.tool.name
            )));
        }
        let validator = self.schema.get_or_init(|| {
            let made = jsonschema::validator_for(&self.tool.parameters);
            made.inspect_err(|error| {
                tracing::warn!(tool = %self.tool.name, %error, "its arguments go unchecked");
            })
            .ok()
        });
        let Some(validator) = validator else {
            return Ok(());
        };
        if validator.is_valid(arguments) {
            return Ok(());
        }
        let errors: Vec<String> = validator
            .iter_errors(arguments)
            .take(ERRORS_TOLD)
            .map(|error| match error.instance_path().as_str() {
                "" => error.to_string(),
                path => format!("{path}: {error}"),
            })
            .collect();
        Err(ToolError::invalid(format!(
            "the arguments do not fit `{}`: {}",
            self.tool.name,
            errors.join("; ")
        )))
    }
}
