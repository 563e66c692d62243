//! What tools answer is bounded like everything that a run says: as long as the disk does not
//! take it, nothing more is called.

use futures_util::future::BoxFuture;
use lastword::Capability;
use lastword::model::CallContext;
use lastword::tools::{Effects, Invocation, Tool, ToolError, ToolOutput, ToolProvider};
use lastword_tests::fixture::Plan;
use lastword_tests::locked::Locked;
use serde_json::json;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tokio::sync::watch;

/// Bytes that a run may have said and not yet on disk.
const BACKLOG_BYTES: usize = 64 << 10;

/// Counts its calls; while the first one goes on, the disk stops taking anything.
#[derive(Clone)]
struct Stalling {
    data: Arc<OnceLock<PathBuf>>,
    calls: watch::Sender<usize>,
    locked: Arc<Mutex<Option<Locked>>>,
}

impl ToolProvider for Stalling {
    fn tools(&self, _: &CallContext) -> BoxFuture<'static, Result<Vec<Tool>, ToolError>> {
        let tool = Tool {
            name: "test.much".to_owned(),
            description: "Answers as much as a run may have under way.".to_owned(),
            parameters: json!({ "type": "object" }),
            effects: Effects::None,
        };
        Box::pin(std::future::ready(Ok(vec![tool])))
    }

    fn call(&self, _: Invocation) -> BoxFuture<'static, Result<ToolOutput, ToolError>> {
        let this = self.clone();
        Box::pin(async move {
            if *this.calls.borrow() == 0 {
                let data = this.data.get().expect("told before a run begins");
                *this.locked.lock().unwrap() = Some(Locked::hold(data));
            }
            this.calls.send_modify(|calls| *calls += 1);
            Ok(ToolOutput::text("x".repeat(BACKLOG_BYTES)))
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_disk_takes_nothing_no_further_tool_is_called() {
    let tools = Stalling {
        data: Arc::default(),
        calls: watch::Sender::new(0),
        locked: Arc::default(),
    };
    let (brought, mut calls) = (tools.clone(), tools.calls.subscribe());
    let plan = Plan::new()
        .host(|host| host.tools(brought))
        .options(|options| options.grant(Capability::Tools));
    let fixture = plan.build().await;
    tools.data.set(fixture.data()).unwrap();
    let run = fixture.start("tool-times 3 test.much {}").await;
    calls.wait_for(|calls| *calls == 1).await.unwrap();
    // Whoever does not wait makes the other calls within a millisecond or so.
    let more = calls.wait_for(|calls| *calls > 1);
    let more = tokio::time::timeout(Duration::from_millis(300), more).await;
    let waited = more.is_err();
    tools.locked.lock().unwrap().take().unwrap().release();
    assert!(waited, "called on with {BACKLOG_BYTES} bytes in memory");
    let receipt = run.ended().await.unwrap();
    assert_eq!(receipt.cause, "returned", "{receipt:?}");
    assert_eq!(*tools.calls.borrow(), 3);
}
