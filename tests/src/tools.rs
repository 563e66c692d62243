//! Tools for tests: what an embedder would bring.

use futures_util::future::BoxFuture;
use lastword::id::WorkspaceId;
use lastword::model::CallContext;
use lastword::tools::{
    Effects, Invocation, Tool, ToolError, ToolErrorKind, ToolOutput, ToolProvider,
};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// A few tools that do what their names say, and count.
#[derive(Clone, Default)]
pub struct TestTools {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    begun: AtomicUsize,
    dropped: watch::Sender<usize>,
    began: Notify,
    closed: watch::Sender<Vec<WorkspaceId>>,
}

impl TestTools {
    /// Calls of `hang` that have begun.
    #[must_use]
    pub fn begun(&self) -> usize {
        self.shared.begun.load(Ordering::SeqCst)
    }

    /// Calls of `hang` whose future was dropped.
    #[must_use]
    pub fn dropped(&self) -> usize {
        *self.shared.dropped.borrow()
    }

    /// Waits until the future of so many calls of `hang` was dropped. An aborted task drops its
    /// future when its runtime comes to it, which may be after the end of the run.
    ///
    /// # Panics
    /// If that takes longer than a minute.
    pub async fn until_dropped(&self, count: usize) {
        let mut dropped = self.shared.dropped.subscribe();
        let reached = dropped.wait_for(|dropped| *dropped >= count);
        let reached = tokio::time::timeout(Duration::from_secs(60), reached).await;
        drop(reached.expect("the call ends with its run"));
    }

    /// Waits until a call of `hang` has begun.
    pub async fn wait_until_begun(&self) {
        while self.begun() == 0 {
            self.shared.began.notified().await;
        }
    }

    /// The workspaces that were closed.
    #[must_use]
    pub fn closed(&self) -> Vec<WorkspaceId> {
        self.shared.closed.borrow().clone()
    }

    /// Waits until a workspace was closed.
    pub async fn until_closed(&self) {
        let mut closed = self.shared.closed.subscribe();
        let closed = closed.wait_for(|closed| !closed.is_empty()).await;
        drop(closed);
    }
}

struct Dropped(Arc<Shared>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.dropped.send_modify(|dropped| *dropped += 1);
    }
}

fn tool(name: &str, effects: Effects) -> Tool {
    Tool {
        name: name.to_owned(),
        description: format!("Does {name}."),
        parameters: json!({
            "type": "object",
            "properties": { "text": { "type": "string" } },
            "required": ["text"],
            "additionalProperties": false
        }),
        effects,
    }
}

/// The arguments of each tool.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    text: String,
}

impl ToolProvider for TestTools {
    fn tools(&self, _: &CallContext) -> BoxFuture<'static, Result<Vec<Tool>, ToolError>> {
        let tools = vec![
            tool("test.echo", Effects::None),
            tool("test.change", Effects::Some),
            tool("test.fail", Effects::None),
            tool("test.panic", Effects::None),
            tool("test.hang", Effects::Some),
            tool("test.flood", Effects::None),
            tool("no name", Effects::None),
        ];
        Box::pin(std::future::ready(Ok(tools)))
    }

    /// Unbounded, since it returns at once: a test that lets the listing of another provider time
    /// out on its own clock does not let this one time out with it.
    fn listing_timeout(&self) -> Option<Duration> {
        None
    }

    fn call(&self, call: Invocation) -> BoxFuture<'static, Result<ToolOutput, ToolError>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let Arguments { text } = call.parse()?;
            match call.tool.as_str() {
                "test.fail" => Err(ToolError::new(
                    ToolErrorKind::Unavailable,
                    "nobody is there",
                )),
                "test.panic" => panic!("a tool panics"),
                "test.flood" => Ok(ToolOutput::text("x".repeat(1 << 20))),
                "test.hang" => {
                    let _counted = Dropped(Arc::clone(&shared));
                    shared.begun.fetch_add(1, Ordering::SeqCst);
                    shared.began.notify_waiters();
                    shared.began.notify_one();
                    std::future::pending().await
                }
                _ => Ok(ToolOutput::text(text)),
            }
        })
    }

    fn close(&self, workspace: WorkspaceId) -> BoxFuture<'static, ()> {
        self.shared
            .closed
            .send_modify(|closed| closed.push(workspace));
        Box::pin(std::future::ready(()))
    }
}
