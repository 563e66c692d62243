//! Tools that an agent serves itself, and their answers.

use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Parameters;
use crate::tools::ToolSpec;
use crate::{Blob, Content, Error, Result, ToolResult};

/// A tool that the agent serves. [`Tool`] creates one from a function.
pub trait ServeTool {
    /// Returns the description of the tool for the model.
    fn spec(&self) -> ToolSpec;

    /// Carries a call out. The arguments can be any JSON value.
    ///
    /// # Errors
    ///
    /// The model receives an error with its code as the result of the call. Only `cancelled` ends
    /// the loop.
    fn call(&mut self, arguments: Value) -> Result<Answer>;
}

/// A tool that a function serves.
///
/// ```
/// use lastword_guest::run_tools::{Kind, Parameters, ServeTool, Tool};
///
/// #[derive(serde::Deserialize)]
/// struct Roll {
///     sides: u32,
/// }
///
/// let parameters = Parameters::new().required("sides", Kind::Integer, "Of the dice");
/// let mut tool = Tool::new("roll", "Rolls a dice", &parameters, |roll: Roll| {
///     Ok(format!("It shows {}", roll.sides.min(4)))
/// });
/// assert!(tool.call(serde_json::json!({ "sides": 6 })).is_ok());
/// assert_eq!(tool.call(serde_json::json!({})).unwrap_err().code(), "invalid");
/// ```
pub struct Tool<'a> {
    spec: ToolSpec,
    serve: Box<dyn FnMut(Value) -> Result<Answer> + 'a>,
}

impl<'a> Tool<'a> {
    /// Creates a tool whose arguments are parsed into the type that `serve` takes. If they do not
    /// fit, the model is told.
    pub fn new<A, R>(
        name: impl Into<String>,
        description: impl Into<String>,
        parameters: &Parameters,
        mut serve: impl FnMut(A) -> Result<R> + 'a,
    ) -> Self
    where
        A: DeserializeOwned,
        R: Into<Answer>,
    {
        let name = name.into();
        let own = name.clone();
        Self {
            spec: ToolSpec {
                name,
                description: description.into(),
                parameters_json: parameters.schema().to_string(),
                extra: Vec::new(),
            },
            serve: Box::new(move |arguments| {
                let arguments = serde_json::from_value(arguments).map_err(|error| {
                    Error::from(error).context(format!("the arguments do not fit `{own}`"))
                })?;
                serve(arguments).map(Into::into)
            }),
        }
    }
}

impl ServeTool for Tool<'_> {
    fn spec(&self) -> ToolSpec {
        self.spec.clone()
    }

    fn call(&mut self, arguments: Value) -> Result<Answer> {
        (self.serve)(arguments)
    }
}

impl fmt::Debug for Tool<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tool")
            .field("spec", &self.spec)
            .finish_non_exhaustive()
    }
}

/// The answer of a tool that the agent serves. Can be converted from text and from JSON.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    content: Vec<Content>,
    structured: Option<Value>,
    is_error: bool,
    ends_loop: bool,
}

impl Answer {
    /// Creates an answer with a text.
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            content: vec![Content::Text(text.into())],
            ..Self::default()
        }
    }

    /// Creates an answer that reports an error. The text should say what to do instead.
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

    /// Adds a file or a picture.
    #[must_use]
    pub fn data(mut self, blob: Blob) -> Self {
        self.content.push(Content::Data(blob));
        self
    }

    /// Ends the loop once the calls of this step have their results.
    #[must_use]
    pub fn ends_loop(mut self) -> Self {
        self.ends_loop = true;
        self
    }

    pub(crate) fn is_last(&self) -> bool {
        self.ends_loop
    }

    pub(crate) fn into_result(self, call_id: &str) -> ToolResult {
        ToolResult {
            call_id: call_id.to_owned(),
            content: self.content,
            structured_json: self.structured.map(|value| value.to_string()),
            is_error: self.is_error,
        }
    }
}

impl From<String> for Answer {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl From<&str> for Answer {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

/// Uses the value for programs, and its JSON text for the model.
impl From<Value> for Answer {
    fn from(value: Value) -> Self {
        Self::text(value.to_string()).structured(value)
    }
}
