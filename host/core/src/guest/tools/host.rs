//! Implements `lastword:agent/tools`, the tools interface that a guest imports.

use super::Tools;
use super::listed::ToolEntry;
use super::toolbox::{ARGUMENTS_BYTES_MAX, NoResult, Toolbox};
use crate::guest::convert::{call_in, result_out};
use crate::guest::failure::{IntoFailure, OrFailure, cancelled, ensure_not_stopping, failure};
use futures_util::StreamExt;
use lastword_providers::tools::{ToolError, ToolErrorKind, Turn};
use lastword_sandbox::HostResult;
use lastword_sandbox::bindings::lastword::agent::tools::{
    Failure, Host, ToolCall, ToolResult, ToolSpec,
};
use std::sync::Arc;

/// The largest number of calls in one `call-all`.
const CALLS_MAX: usize = 256;
/// The largest number of calls of one `call-all` that run at the same time.
const PARALLEL_MAX: usize = 16;

impl Tools {
    fn granted(&self) -> Result<&Arc<Toolbox>, Failure> {
        self.control.called();
        ensure_not_stopping(&self.control)?;
        self.granted.as_ref().map_err(Failure::clone)
    }

    /// Waits for a tool only until the run is asked to end.
    async fn or_cancelled<T>(
        &self,
        wait: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            biased;
            () = self.control.asked() => Err(cancelled()),
            answer = wait => answer,
        }
    }

    async fn list(&self) -> Result<Vec<ToolSpec>, Failure> {
        let toolbox = self.granted()?;
        let listed = async { toolbox.available().await.or_failure() };
        let listed = self.or_cancelled(listed).await?;
        let shown = listed.iter().filter(|listed| listed.shown);
        Ok(shown.map(|listed| spec_out(listed)).collect())
    }

    async fn one(&self, call: ToolCall, turn: Option<Turn>) -> Result<ToolResult, Failure> {
        let toolbox = self.granted()?;
        if call.arguments_json.len() > ARGUMENTS_BYTES_MAX {
            return Err(failure(
                "limit",
                format!("the arguments of a call have at most {ARGUMENTS_BYTES_MAX} bytes"),
            ));
        }

        let made = async {
            match toolbox.call(call_in(call), turn).await {
                Ok(result) => Ok(result_out(&result)),
                Err(NoResult::Failed(error)) => Err(error.into_failure()),
                Err(NoResult::Unrecorded(error)) => Err(error.into_failure()),
                // The run is being stopped at this moment, which interrupts the guest.
                Err(NoResult::Beyond) => std::future::pending().await,
            }
        };

        self.or_cancelled(made).await
    }
}

fn spec_out(listed: &ToolEntry) -> ToolSpec {
    ToolSpec {
        name: listed.tool.name.clone(),
        description: listed.tool.description.clone(),
        parameters_json: listed.tool.parameters.to_string(),
        extra: Vec::new(),
    }
}

impl IntoFailure for ToolError {
    fn into_failure(self) -> Failure {
        let code = match self.kind {
            ToolErrorKind::UnknownTool => "not-found",
            ToolErrorKind::Invalid => "invalid",
            ToolErrorKind::Denied => "denied",
            ToolErrorKind::Limit => "limit",
            ToolErrorKind::Timeout => "timeout",
            ToolErrorKind::Unavailable => "unavailable",
            ToolErrorKind::Internal => "internal",
        };

        Failure {
            retryable: self.kind == ToolErrorKind::Unavailable,
            ..failure(code, self.message)
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
        Ok(self.list().await)
    }

    #[tracing::instrument(
        level = "debug",
        target = "lastword::call",
        name = "tools.call",
        skip_all
    )]
    async fn call(&mut self, call: ToolCall) -> HostResult<Result<ToolResult, Failure>> {
        Ok(self.one(call, None).await)
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
        let this = &*self;
        let one = |(index, call): (usize, ToolCall)| {
            // Turns are taken before any call begins, so that calls on one file stay in order.
            let turn = this
                .granted
                .as_ref()
                .ok()
                .and_then(|all| all.own.turn(&call.name));
            async move {
                if index >= CALLS_MAX {
                    let why = format!("at most {CALLS_MAX} calls are made together");
                    return Err(failure("limit", why));
                }
                this.one(call, turn).await
            }
        };
        let all = futures_util::stream::iter(calls.into_iter().enumerate().map(one));
        Ok(all.buffered(PARALLEL_MAX).collect().await)
    }
}
