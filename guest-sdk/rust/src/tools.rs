//! Tools that the host serves.

use std::marker::PhantomData;

use serde::Serialize;

use crate::host::tools;
use crate::{Result, ToolCall, ToolResult};

pub use crate::bindings::model::ToolSpec;

/// The host's tools. The host records each call and its result by itself.
#[derive(Clone, Copy, Debug)]
pub struct Tools<'turn> {
    turn: PhantomData<&'turn ()>,
}

impl Tools<'_> {
    pub(crate) fn new() -> Self {
        Self { turn: PhantomData }
    }

    /// The tools that this run may call.
    ///
    /// # Errors
    ///
    /// `cancelled` or `denied`.
    pub fn available(&self) -> Result<Vec<ToolSpec>> {
        Ok(tools::available()?)
    }

    /// Calls a tool by its name and waits for the result. What the tool itself reports as an
    /// error is a result with `is_error`.
    ///
    /// # Errors
    ///
    /// As the host answers, or `invalid` if the arguments cannot be written as JSON.
    pub fn call(&self, name: &str, arguments: &impl Serialize) -> Result<ToolResult> {
        self.serve(&ToolCall {
            id: String::new(),
            name: name.to_owned(),
            arguments_json: serde_json::to_string(arguments)?,
        })
    }

    /// Serves a call that a model made, and waits for the result.
    ///
    /// # Errors
    ///
    /// As the host answers.
    pub fn serve(&self, call: &ToolCall) -> Result<ToolResult> {
        Ok(tools::call(call)?)
    }

    /// Serves calls in parallel; the results are in the order of the calls.
    pub fn serve_all(&self, calls: &[ToolCall]) -> Vec<Result<ToolResult>> {
        let results = tools::call_all(calls);
        results.into_iter().map(|result| Ok(result?)).collect()
    }
}
