//! A tool as a run has it: with who serves it, and its schema made ready. Knows no call.

use super::extent::Extent;
use jsonschema::Validator;
use lastword_providers::tools::{Tool, ToolError, ToolProvider};
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
    schema: OnceLock<Option<Schema>>,
}

/// A schema made ready.
struct Schema {
    validator: Validator,
    /// How far it goes, for one that is not the host's own.
    extent: Option<Extent>,
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
        let Some(Schema { validator, extent }) = self.schema.get_or_init(|| self.made_ready())
        else {
            return Ok(());
        };
        if extent
            .as_ref()
            .is_some_and(|extent| !extent.allows(arguments))
        {
            self.unchecked("checking them would take too long");
            return Ok(());
        }
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

    fn made_ready(&self) -> Option<Schema> {
        let extent = self.provider.as_ref().map(|_| {
            let extent = Extent::of(&self.tool.parameters);
            extent.ok_or("how long checking them takes cannot be told")
        });
        let extent = extent.transpose().map_err(|why| self.unchecked(why)).ok()?;
        let made = jsonschema::validator_for(&self.tool.parameters);
        let made = made.map_err(|error| self.unchecked(&error.to_string()));
        made.ok().map(|validator| Schema { validator, extent })
    }

    fn unchecked(&self, error: &str) {
        tracing::warn!(tool = %self.tool.name, error, "its arguments go unchecked");
    }
}

#[cfg(test)]
mod tests {
    use super::super::extent::tests::doubling;
    use super::*;
    use futures_util::future::BoxFuture;
    use lastword_providers::model::CallContext;
    use lastword_providers::tools::{Effects, Invocation, ToolOutput};
    use serde_json::json;

    struct Nobody;

    impl ToolProvider for Nobody {
        fn tools(&self, _: &CallContext) -> BoxFuture<'static, Result<Vec<Tool>, ToolError>> {
            Box::pin(std::future::ready(Ok(Vec::new())))
        }

        fn call(&self, _: Invocation) -> BoxFuture<'static, Result<ToolOutput, ToolError>> {
            Box::pin(std::future::ready(Ok(ToolOutput::text(""))))
        }
    }

    fn of_others(parameters: Value) -> Listed {
        let tool = Tool {
            name: "it".to_owned(),
            description: String::new(),
            parameters,
            effects: Effects::None,
        };
        Listed::of(tool, Arc::new(Nobody), true)
    }

    #[test]
    fn arguments_are_held_against_a_schema_that_is_soon_done() {
        let schema = doubling(4, &json!({"required": ["a"]}));
        let listed = of_others(schema);
        assert!(listed.check(&json!({})).is_err());
        assert!(listed.check(&json!({"a": 1})).is_ok());
    }

    #[test]
    fn a_schema_that_would_take_for_ever_is_not_begun() {
        let listed = of_others(doubling(24, &json!({"required": ["a"]})));
        assert!(listed.check(&json!({})).is_ok(), "it goes unchecked");
        assert!(listed.check(&json!({"a": 1})).is_ok(), "at once");
    }
}
