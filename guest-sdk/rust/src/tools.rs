//! Tools that the host serves.

use std::marker::PhantomData;

use serde::Serialize;

use crate::host::tools;
use crate::{Result, ToolCall, ToolResult};

pub use crate::bindings::model::ToolSpec;

/// The host's tools. The host records each call and its result.
#[derive(Clone, Copy, Debug)]
pub struct Tools<'turn> {
    turn: PhantomData<&'turn ()>,
}

impl Tools<'_> {
    pub(crate) fn new() -> Self {
        Self { turn: PhantomData }
    }

    /// Returns the tools that this run may call.
    ///
    /// # Errors
    ///
    /// `cancelled` or `denied`.
    pub fn available(&self) -> Result<Vec<ToolSpec>> {
        Ok(tools::available()?)
    }

    /// Calls a tool by its name and waits for the result. An error that the tool itself reports is
    /// a result with `is_error`.
    ///
    /// # Errors
    ///
    /// The host's failure, or `invalid` if the arguments cannot be written as JSON.
    pub fn call(&self, name: &str, arguments: &impl Serialize) -> Result<ToolResult> {
        self.serve(&ToolCall {
            id: String::new(),
            name: name.to_owned(),
            arguments_json: serde_json::to_string(arguments)?,
        })
    }

    /// Carries out a call that a model made, and waits for the result.
    ///
    /// # Errors
    ///
    /// The host's failure.
    pub fn serve(&self, call: &ToolCall) -> Result<ToolResult> {
        Ok(tools::call(call)?)
    }

    /// Carries out calls in parallel. Returns the results in the order of the calls.
    pub fn serve_all(&self, calls: &[ToolCall]) -> Vec<Result<ToolResult>> {
        let results = tools::call_all(calls);
        results.into_iter().map(|result| Ok(result?)).collect()
    }
}
