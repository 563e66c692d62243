//! Workspaces with models and tools of their own, and prompts whose labels providers read.

use super::providers::{WRONGS, Wait, Wrong};
use futures_util::StreamExt;
use futures_util::future::{BoxFuture, ready};
use futures_util::stream;
use lastword::event::{EventBody, Seq};
use lastword::id::WorkspaceId;
use lastword::model::{
    CallContext, ModelError, ModelEvent, ModelFinish, ModelInfo, ModelProvider, ModelRequest,
    ModelStream,
};
use lastword::session::Answer;
use lastword::tools::{Effects, Invocation, Tool, ToolError, ToolOutput, ToolProvider};
use lastword::{
    Capability, Host, HostBuilder, HostError, Prompt, RunState, Session, Workspace, WorkspaceKey,
    WorkspaceOptions, WorkspaceProviders,
};
use lastword_tests::also_in_memory;
use lastword_tests::clock::ManualClock;
use lastword_tests::fixture::{Fixture, Plan, builder};
use lastword_tests::guests::guest;
use serde_json::json;
use std::collections::BTreeMap;
use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The contexts of all calls, with the name of the provider that was called.
type Calls = Arc<Mutex<Vec<(String, CallContext)>>>;

/// A model and a tool that answer with the provider's name.
#[derive(Clone)]
struct Named {
    name: String,
    calls: Calls,
    closed: Arc<Mutex<Vec<WorkspaceId>>>,
}

impl Named {
    fn new(name: impl Into<String>, calls: &Calls) -> Self {
        Self {
            name: name.into(),
            calls: Arc::clone(calls),
            closed: Arc::default(),
        }
    }

    fn called(&self, context: CallContext) {
        let mut calls = self.calls.lock().unwrap();
        calls.push((self.name.clone(), context));
    }
}

impl ModelProvider for Named {
    fn complete(
        &self,
        context: CallContext,
        _: ModelRequest,
    ) -> BoxFuture<'static, Result<ModelStream, ModelError>> {
        self.called(context);
        let events = [
            Ok(ModelEvent::Text(self.name.clone())),
            Ok(ModelEvent::Finish(ModelFinish::EndTurn)),
        ];
        Box::pin(ready(Ok(stream::iter(events).boxed())))
    }

    fn models(&self) -> Vec<ModelInfo> {
        vec![ModelInfo {
            name: self.name.clone(),
            provider: "test".to_owned(),
            context_tokens: None,
        }]
    }
}

impl ToolProvider for Named {
    fn tools(&self, _: &CallContext) -> BoxFuture<'static, Result<Vec<Tool>, ToolError>> {
        let tool = |name: &str| Tool {
            name: name.to_owned(),
            description: "Returns the name of its provider.".to_owned(),
            parameters: json!({ "type": "object" }),
            effects: Effects::None,
        };
        let own = tool(&format!("only-{}", self.name));
        Box::pin(ready(Ok(vec![tool("who"), own])))
    }

    fn listing_timeout(&self) -> Option<Duration> {
        None
    }

    fn call(&self, call: Invocation) -> BoxFuture<'static, Result<ToolOutput, ToolError>> {
        self.called(call.context);
        Box::pin(ready(Ok(ToolOutput::text(self.name.clone()))))
    }

    fn close(&self, workspace: WorkspaceId) -> BoxFuture<'static, ()> {
        self.closed.lock().unwrap().push(workspace);
        Box::pin(ready(()))
    }
}

fn options() -> WorkspaceOptions {
    [Capability::Model, Capability::Tools, Capability::RunAgents]
        .into_iter()
        .fold(WorkspaceOptions::new(), WorkspaceOptions::grant)
}

async fn open(host: &Host, name: &str) -> Result<Workspace, HostError> {
    host.open_workspace(WorkspaceKey::name(name), options())
        .await
}

/// A new session with the probe in a named workspace.
async fn session(fixture: &Fixture, name: &str) -> (Workspace, Session) {
    let workspace = open(&fixture.host, name).await.unwrap();
    let session = workspace.new_session(&fixture.agent).await.unwrap();
    (workspace, session)
}

async fn said(session: &Session, prompt: impl Into<Prompt>) -> String {
    let run = session.prompt(prompt).await.unwrap();
    let receipt = run.ended().await.unwrap();
    assert_eq!(receipt.state, RunState::Completed, "{:?}", receipt.detail);
    let messages = session.messages().await.unwrap();
    messages.last().expect("the agent's message").text()
}

/// A host with providers of its own, and others for each workspace whose name begins with `own`.
fn with_own(builder: HostBuilder, calls: &Calls) -> HostBuilder {
    let host = Named::new("host", calls);
    let calls = Arc::clone(calls);
    let supply = move |key: WorkspaceKey| {
        let mut providers = WorkspaceProviders::new();
        if let WorkspaceKey::Name(name) = key
            && name.starts_with("own")
        {
            let named = Named::new(name, &calls);
            providers = providers.model(named.clone()).tools(named);
        }
        ready(Ok(providers))
    };
    builder
        .model(host.clone())
        .tools(host)
        .workspace_providers(supply)
}

#[tokio::test]
async fn each_workspace_has_its_own_model_and_tools_and_else_the_hosts() {
    let calls = Calls::default();
    let fixture = Plan::new().host(|host| with_own(host, &calls));
    let fixture = fixture.build().await;
    for (name, provider) in [("own-a", "own-a"), ("own-b", "own-b"), ("c", "host")] {
        let (workspace, session) = session(&fixture, name).await;
        assert_eq!(said(&session, "model hello").await, provider);
        assert_eq!(said(&session, "tool who {}").await, provider);
        assert_eq!(
            said(&session, "tool only-host {}").await,
            "host",
            "the host's tools are there as well"
        );

        let calls = std::mem::take(&mut *calls.lock().unwrap());
        assert_eq!(calls.len(), 3);
        for (_, context) in calls {
            assert_eq!(*context.key, WorkspaceKey::name(name));
            assert_eq!(context.workspace, workspace.id());
            assert!(context.labels.is_empty());
        }
    }
}

/// Whether a value was dropped.
struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspaces_providers_last_from_its_opening_to_its_end() {
    let calls = Calls::default();
    let named = Named::new("own", &calls);
    let (supplied, dropped) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
    let (count, brought, gone) = (Arc::clone(&supplied), named.clone(), Arc::clone(&dropped));
    let plan = Plan::new().host(|host| {
        host.workspace_providers(move |key| {
            let providers = WorkspaceProviders::new();
            let own = matches!(key, WorkspaceKey::Name(_)).then(|| {
                count.fetch_add(1, Ordering::SeqCst);
                Held {
                    named: brought.clone(),
                    _dropped: Dropped(Arc::clone(&gone)),
                }
            });
            ready(Ok(match own {
                Some(own) => providers.tools(own),
                None => providers,
            }))
        })
    });
    let fixture = plan.build().await;
    let (workspace, first) = session(&fixture, "w").await;
    let again = open(&fixture.host, "w").await.unwrap();
    assert_eq!(supplied.load(Ordering::SeqCst), 1, "it was open");
    assert_eq!(said(&first, "tool who {}").await, "own");

    drop(again);
    let closed = fixture.host.close_workspace(workspace.id()).await.unwrap();
    assert_eq!(closed.left, []);
    assert_eq!(*named.closed.lock().unwrap(), [workspace.id()]);
    assert!(dropped.load(Ordering::SeqCst), "nothing keeps them");

    let _open = open(&fixture.host, "w").await.unwrap();
    assert_eq!(supplied.load(Ordering::SeqCst), 2);
    assert_eq!(said(&first, "tool who {}").await, "own");
}

/// A provider that tells when it is dropped.
struct Held {
    named: Named,
    _dropped: Dropped,
}

impl ToolProvider for Held {
    fn tools(&self, context: &CallContext) -> BoxFuture<'static, Result<Vec<Tool>, ToolError>> {
        self.named.tools(context)
    }

    fn call(&self, call: Invocation) -> BoxFuture<'static, Result<ToolOutput, ToolError>> {
        self.named.call(call)
    }

    fn close(&self, workspace: WorkspaceId) -> BoxFuture<'static, ()> {
        self.named.close(workspace)
    }
}

type Supplied = Result<WorkspaceProviders, Box<dyn Error + Send + Sync>>;

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_whose_providers_are_not_supplied_does_not_open() {
    for wrong in WRONGS.into_iter().map(Some).chain([None]) {
        let clock = ManualClock::default();
        let time = Arc::new(clock.clone());
        let fails = Arc::new(AtomicBool::new(true));
        let still = Arc::clone(&fails);
        let plan = Plan::new().host(|host| {
            let host = host.clock(time);
            host.workspace_providers(move |key| -> BoxFuture<'static, Supplied> {
                let fails = still.load(Ordering::SeqCst) && matches!(key, WorkspaceKey::Name(_));
                match wrong.filter(|_| fails) {
                    Some(wrong) => wrong.made(),
                    None if fails => Box::pin(ready(Err("no account".into()))),
                    None => Box::pin(ready(Ok(WorkspaceProviders::new()))),
                }
            })
        });
        let fixture = plan.build().await;
        let known = fixture.host.open_workspaces().len();
        let wait = Wait::new(&clock, 10);
        let over = async {
            if wrong == Some(Wrong::Hangs) {
                wait.over().await;
            }
        };

        let (refused, ()) = tokio::join!(open(&fixture.host, "w"), over);
        let refused = refused.unwrap_err();
        assert_eq!(refused.name(), "providers-unavailable", "{wrong:?}");
        assert!(refused.is_retryable());
        if wrong.is_none() {
            assert!(refused.to_string().contains("no account"), "{refused}");
        }
        assert_eq!(fixture.host.open_workspaces().len(), known);

        fails.store(false, Ordering::SeqCst);
        let (_open, session) = session(&fixture, "w").await;
        assert_eq!(said(&session, "echo hello").await, "hello");
    }
}

fn labelled(text: &str) -> Prompt {
    Prompt::text(text).label("customer", "7").label("tier", "")
}

/// The labels of all calls since the last look.
fn labels(calls: &Calls) -> Vec<BTreeMap<String, String>> {
    let calls = std::mem::take(&mut *calls.lock().unwrap());
    let labels = calls.into_iter().map(|(_, context)| context.labels);
    labels.map(|labels| labels.as_ref().clone()).collect()
}

fn sent() -> BTreeMap<String, String> {
    let label = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    [("customer", "7"), ("tier", "")].map(label).into()
}

#[tokio::test]
async fn labels_reach_providers_and_are_inherited() {
    let calls = Calls::default();
    let fixture = Plan::new().host(|host| with_own(host, &calls));
    let fixture = fixture.build().await;
    let (_open, session) = session(&fixture, "own").await;
    said(&session, labelled("model hello")).await;
    said(&session, labelled("tool who {}")).await;
    assert_eq!(labels(&calls), [sent(), sent()]);

    // By the runs that it starts.
    let nested = json!({ "agent": "probe", "prompt": "model hello" });
    said(&session, labelled(&format!("tool run_agent {nested}"))).await;
    assert_eq!(labels(&calls), [sent()]);

    // By the run that an answer begins.
    said(&session, labelled("wait-for Which?")).await;
    let question = session.questions().await.unwrap().remove(0).id;
    let answer = Answer::Text {
        text: "model hello".to_owned(),
    };
    let answered = fixture.host.answer(question, answer).await.unwrap();
    answered.run.unwrap().ended().await.unwrap();
    assert_eq!(labels(&calls), [sent()]);

    // Not by the next prompt of the session.
    said(&session, "model hello").await;
    assert_eq!(labels(&calls), [BTreeMap::new()]);
}
also_in_memory!(labels_reach_providers_and_are_inherited);

#[tokio::test(flavor = "multi_thread")]
async fn labels_and_own_providers_are_there_after_a_restart() {
    let calls = Calls::default();
    let fixture = Plan::new().host(|host| with_own(host, &calls));
    let fixture = fixture.build().await;
    let (workspace, session) = session(&fixture, "own").await;
    let woken = workspace.new_session(&fixture.agent).await.unwrap();
    let spin = session.prompt("spin before").await.unwrap();
    let queued = session.prompt(labelled("model hello")).await.unwrap();
    assert_eq!(fixture.host.shutdown().await, []);
    drop((spin, workspace));

    let host = with_own(builder(fixture.folder.path()), &calls);
    let host = host.build().await.unwrap();
    host.load_agent("probe", guest("probe")).await.unwrap();
    let resumed = host.reopen_held().await.unwrap();
    assert_eq!(resumed.len(), 1);
    assert_eq!(resumed[0].id(), queued.id());
    let receipt = resumed[0].ended().await.unwrap();
    assert_eq!(receipt.state, RunState::Completed, "{:?}", receipt.detail);
    let calls_then = calls.lock().unwrap().clone();
    assert_eq!(
        calls_then[0].0, "own",
        "supplied for the reopened workspace"
    );
    assert_eq!(labels(&calls), [sent()]);

    // And where a time continues the session.
    let _open = open(&host, "own").await.unwrap();
    let woken = host.session(woken.id()).await.unwrap();
    let mut events = woken.events(Seq(0));
    let waits = labelled("wait 1").config(r#"{"on_wake":"model hello"}"#);
    woken.prompt(waits).await.unwrap();
    let mut ends = 0;
    while ends < 2 {
        let event = events.next().await.unwrap().unwrap();
        ends += usize::from(matches!(event.body, EventBody::RunEnded { .. }));
    }
    assert_eq!(labels(&calls), [sent()]);
}
