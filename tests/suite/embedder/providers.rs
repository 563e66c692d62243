//! Providers and policies that panic or never return, each in one call: the call has an error
//! within its bound, and everything else goes on.

use futures_util::future::{BoxFuture, pending, ready};
use lastword::id::WorkspaceId;
use lastword::model::{
    CallContext, ModelError, ModelInfo, ModelProvider, ModelRequest, ModelStream,
};
use lastword::permission::Access;
use lastword::permits::{Decision, PermissionPolicy};
use lastword::tools::{Invocation, Tool, ToolError, ToolOutput, ToolProvider};
use lastword::{Capability, HostBuilder, RunState, WorkspaceKey, WorkspaceOptions};
use lastword_tests::clock::ManualClock;
use lastword_tests::fixture::{Fixture, Plan};
use lastword_tests::tools::TestTools;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

/// How a call goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// Before it returns a future.
    Panics,
    /// In its future.
    PanicsLater,
    Hangs,
}

pub(super) const WRONGS: [Wrong; 3] = [Wrong::Panics, Wrong::PanicsLater, Wrong::Hangs];

impl Wrong {
    pub(super) fn made<T: Send + 'static>(self) -> BoxFuture<'static, T> {
        assert!(self != Self::Panics, "on purpose");
        Box::pin(async move {
            assert!(self == Self::Hangs, "on purpose");
            pending().await
        })
    }
}

/// A host whose time the test moves.
async fn built(change: impl FnOnce(HostBuilder) -> HostBuilder) -> (Fixture, ManualClock) {
    let clock = ManualClock::default();
    let time = Arc::new(clock.clone());
    let plan = Plan::new()
        .host(|host| change(host.clock(time)))
        .options(|options| options.grant(Capability::Tools));
    (plan.build().await, clock)
}

/// A wait of this length that is yet to begin.
pub(super) struct Wait<'c> {
    clock: &'c ManualClock,
    length: Duration,
    before: usize,
}

impl<'c> Wait<'c> {
    pub(super) fn new(clock: &'c ManualClock, seconds: u64) -> Self {
        let length = Duration::from_secs(seconds);
        Self {
            clock,
            length,
            before: clock.begun_for(length),
        }
    }

    /// Lets it begin and pass.
    pub(super) async fn over(self) {
        self.clock.asleep_for(self.length, self.before + 1).await;
        self.clock.advance(self.length);
    }
}

/// What a run said, while time passes for a call that is given so long.
async fn said(fixture: &Fixture, clock: &ManualClock, prompt: &str, waits: Option<u64>) -> String {
    let waits = waits.map(|seconds| Wait::new(clock, seconds));
    let run = fixture.start(prompt).await;
    if let Some(wait) = waits {
        wait.over().await;
    }
    let receipt = run.ended().await.unwrap();
    assert_eq!(receipt.state, RunState::Completed, "{:?}", receipt.detail);
    fixture.outcome(&run, receipt).await.text()
}

/// Lists no tools, and counts how often it was asked.
#[derive(Clone)]
struct NoList(Wrong, Arc<AtomicUsize>);

impl ToolProvider for NoList {
    fn tools(&self, _: &CallContext) -> BoxFuture<'static, Result<Vec<Tool>, ToolError>> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.made()
    }

    fn call(&self, _: Invocation) -> BoxFuture<'static, Result<ToolOutput, ToolError>> {
        Box::pin(ready(Ok(ToolOutput::text("never"))))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_tools_that_does_not_come_takes_no_others_away() {
    for wrong in WRONGS {
        let asked = Arc::new(AtomicUsize::new(0));
        let broken = NoList(wrong, Arc::clone(&asked));
        let (fixture, clock) = built(|host| host.tools(broken).tools(TestTools::default())).await;
        let call = r#"tool test.echo {"text":"served"}"#;
        let waits = (wrong == Wrong::Hangs).then_some(10);
        assert_eq!(
            said(&fixture, &clock, call, waits).await,
            "served",
            "{wrong:?}"
        );
        // One that kept a run waiting is left alone for a while.
        assert_eq!(
            said(&fixture, &clock, call, None).await,
            "served",
            "{wrong:?}"
        );
        let asked = asked.load(Ordering::SeqCst);
        if wrong == Wrong::Hangs {
            assert!(asked <= 1, "{asked}");
        } else {
            assert_eq!(asked, 2, "{wrong:?}");
        }
    }
}

/// Does not close.
struct NoClose(Wrong);

impl ToolProvider for NoClose {
    fn tools(&self, _: &CallContext) -> BoxFuture<'static, Result<Vec<Tool>, ToolError>> {
        Box::pin(ready(Ok(Vec::new())))
    }

    fn call(&self, _: Invocation) -> BoxFuture<'static, Result<ToolOutput, ToolError>> {
        Box::pin(ready(Ok(ToolOutput::text("never"))))
    }

    fn close(&self, _: WorkspaceId) -> BoxFuture<'static, ()> {
        self.0.made()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_of_tools_that_does_not_close_keeps_no_workspace_closing() {
    for wrong in WRONGS {
        let others = TestTools::default();
        let brought = others.clone();
        let (fixture, clock) = built(|host| host.tools(NoClose(wrong)).tools(brought)).await;
        let wait = Wait::new(&clock, 5);
        let waits = async {
            if wrong == Wrong::Hangs {
                others.until_closed().await;
                wait.over().await;
            }
        };
        let (left, ()) = tokio::join!(fixture.workspace.close(), waits);
        assert_eq!(left, [], "{wrong:?}");
        assert_eq!(fixture.workspace.status(), None, "{wrong:?}");
        assert_eq!(others.closed(), [fixture.workspace.id()], "{wrong:?}");
        let key = WorkspaceKey::directory(fixture.files()).unwrap();
        let again = fixture.host.open_workspace(key, WorkspaceOptions::new());
        assert_eq!(again.await.unwrap().id(), fixture.workspace.id());
    }
}

/// A model provider of which one call goes wrong; told by which thread it was asked.
struct NoModel {
    call: &'static str,
    wrong: Wrong,
    asked: Arc<Mutex<Vec<Option<String>>>>,
    /// Held back until the test ends.
    ends: Mutex<mpsc::Receiver<()>>,
}

impl NoModel {
    fn wrong(&self, call: &str) {
        if call != self.call {
            return;
        }
        assert!(self.wrong == Wrong::Hangs, "on purpose");
        let ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        let _the_test_ends = ends.recv();
    }
}

impl ModelProvider for NoModel {
    fn complete(
        &self,
        _: CallContext,
        _: ModelRequest,
    ) -> BoxFuture<'static, Result<ModelStream, ModelError>> {
        self.wrong.made()
    }

    fn models(&self) -> Vec<ModelInfo> {
        let thread = std::thread::current().name().map(str::to_owned);
        let asked = self.asked.lock();
        asked.unwrap_or_else(PoisonError::into_inner).push(thread);
        self.wrong("models");
        vec![ModelInfo {
            name: "m".to_owned(),
            provider: "p".to_owned(),
            context_tokens: None,
        }]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_provider_that_fails_is_an_error_that_the_agent_reads() {
    for (call, wrong, prompt, waits) in [
        ("models", Wrong::Panics, "model hello", None),
        ("models", Wrong::Hangs, "model hello", Some(5)),
        ("complete", Wrong::Panics, "model hello", None),
        ("complete", Wrong::PanicsLater, "model hello", None),
    ] {
        let asked = Arc::<Mutex<Vec<_>>>::default();
        let (ends, held) = mpsc::channel();
        let model = NoModel {
            call,
            wrong,
            asked: Arc::clone(&asked),
            ends: Mutex::new(held),
        };
        let (fixture, clock) = built(|host| host.model(model)).await;
        let waits = waits.map(|seconds| Wait::new(&clock, seconds));
        let run = fixture.start(prompt).await;
        if let Some(wait) = waits {
            wait.over().await;
        }
        let receipt = run.ended().await.unwrap();
        let detail = receipt.detail.clone().unwrap_or_default();
        assert_eq!(receipt.cause, "agent-error", "{call} {wrong:?}: {detail}");
        assert!(detail.contains("the host's model provider"), "{detail}");
        let threads = asked.lock().unwrap().clone();
        assert_eq!(threads.len(), 1, "{call} {wrong:?}: asked once");
        assert_ne!(threads[0].as_deref(), Some("lastword-guest"));
        drop(ends);
    }
}

/// Decides nothing.
struct NoDecision(Wrong);

impl PermissionPolicy for NoDecision {
    fn decide(&self, _: CallContext, _: Access) -> BoxFuture<'static, Decision> {
        self.0.made()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_decides_nothing_denies() {
    for wrong in WRONGS {
        let clock = ManualClock::default();
        let time = Arc::new(clock.clone());
        let plan = Plan::new().host(|host| {
            let host = host.clock(time).permission_policy(NoDecision(wrong));
            host.tools(TestTools::default())
        });
        let fixture = plan.build().await;
        let call = r#"tool test.echo {"text":"served"}"#;
        let waits = (wrong == Wrong::Hangs).then_some(60);
        let text = said(&fixture, &clock, call, waits).await;
        assert!(text.starts_with("error denied: "), "{wrong:?}: {text}");
        assert!(text.contains("the host's policy decided nothing"), "{text}");
    }
}
