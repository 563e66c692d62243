//! The host's tools: there are none yet, and a guest that asks is told so by value.

mod fetch;
mod provider;

pub use provider::{
    Effects, Invocation, Tool, ToolContent, ToolError, ToolErrorKind, ToolOutput, ToolProvider,
};

pub(crate) use fetch::FetchUrl;

use super::control::Control;
use super::failure::{denied, unless_asked};
use crate::permission::Capability;
use crate::sandbox::HostResult;
use crate::sandbox::bindings::lastword::agent::tools::{
    Failure, Host, ToolCall, ToolResult, ToolSpec,
};
use std::sync::Arc;

/// One guest's access to tools.
pub(crate) struct Tools {
    pub(crate) control: Arc<Control>,
}

impl Tools {
    fn refuse(&self) -> Failure {
        self.control.called();
        match unless_asked(&self.control) {
            Ok(()) => denied(Capability::Tools),
            Err(cancelled) => cancelled,
        }
    }
}

impl Host for Tools {
    #[tracing::instrument(
        level = "debug",
        target = "lastword::call",
        name = "tools.available",
        skip_all
    )]
    async fn available(&mut self) -> HostResult<Result<Vec<ToolSpec>, Failure>> {
        Ok(Err(self.refuse()))
    }

    #[tracing::instrument(
        level = "debug",
        target = "lastword::call",
        name = "tools.call",
        skip_all
    )]
    async fn call(&mut self, _: ToolCall) -> HostResult<Result<ToolResult, Failure>> {
        Ok(Err(self.refuse()))
    }

    #[tracing::instrument(
        level = "debug",
        target = "lastword::call",
        name = "tools.call-all",
        skip_all
    )]
    async fn call_all(
        &mut self,
        calls: Vec<ToolCall>,
    ) -> HostResult<Vec<Result<ToolResult, Failure>>> {
        Ok(calls.iter().map(|_| Err(self.refuse())).collect())
    }
}
