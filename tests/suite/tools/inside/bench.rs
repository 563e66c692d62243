//! What the cases work with: a host with everything that a tool may touch, and a policy that
//! holds accesses to files until they are dropped.

use crate::mcp_fake::{fake, one};
use crate::network::{Hostile, Names};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lastword::Capability;
use lastword::http::{HostPatterns, HttpOptions};
use lastword::mcp::McpServers;
use lastword::model::CallContext;
use lastword::permission::Access;
use lastword::permits::{Decision, PermissionPolicy};
use lastword::tools::{Commands, Effects, Invocation, Tool, ToolError, ToolOutput, ToolProvider};
use lastword_tests::check;
use lastword_tests::fixture::{Fixture, Plan};
use lastword_tests::tools::TestTools;
use rusqlite::Connection;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// A host and what surrounds it.
pub(super) struct Bench {
    pub(super) fixture: Fixture,
    pub(super) tools: TestTools,
    pub(super) gate: Gate,
    pub(super) server: Hostile,
    pub(super) servers: McpServers,
    pub(super) lock: Lock,
}

impl Bench {
    /// For one tool: an MCP server is there only for its own.
    pub(super) async fn new(tool: &str) -> Self {
        let tools = TestTools::default();
        let gate = Gate::default();
        let server = Hostile::serve().await;
        let servers = one(fake(&[]));
        let lock = Lock::default();
        let http = HttpOptions::new()
            .resolver(Arc::new(Names::default()))
            .private(HostPatterns::new([server.target()]).expect("a host"));
        let brought = (tools.clone(), lock.clone(), gate.clone(), servers.clone());
        let plan = Plan::new().host(|host| {
            let (tools, lock, gate, servers) = brought;
            let host = host.tools(tools).tools(lock).permission_policy(gate);
            let host = host.http(http).commands(Commands::none().allow("sh -c"));
            match tool.starts_with("it.") {
                true => host.tools(servers),
                false => host,
            }
        });
        // Files are left to the gate.
        let grants = [
            Capability::Tools,
            Capability::RunAgents,
            Capability::RunCommands,
            Capability::Network,
        ];
        let plan = plan.grants(grants).options(|options| options.ask(true));
        let fixture = plan.build().await;
        lock.0.lock().expect("no test panicked").data = fixture.data();
        Self {
            fixture,
            tools,
            gate,
            server,
            servers,
            lock,
        }
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.fixture.files().join(name), text).expect("a file");
    }
}

/// A policy that allows everything but what it holds. The host's tools for files ask it from
/// inside: with the path that they have resolved, and the change that they would make.
#[derive(Clone)]
pub(super) struct Gate {
    holds: Arc<Mutex<Option<Capability>>>,
    asked: Arc<watch::Sender<Vec<Access>>>,
    dropped: Arc<AtomicUsize>,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            holds: Arc::default(),
            asked: Arc::new(watch::Sender::new(Vec::new())),
            dropped: Arc::default(),
        }
    }
}

impl Gate {
    pub(super) fn hold(&self, capability: Capability) {
        *self.holds.lock().expect("no test panicked") = Some(capability);
    }

    /// Waits for an access that is held.
    pub(super) async fn held(&self) -> Access {
        let mut asked = self.asked.subscribe();
        let asked = asked.wait_for(|asked| !asked.is_empty()).await;
        asked.expect("the gate is there")[0].clone()
    }

    /// Whether the one that was held was let go of, and nothing more was asked.
    pub(super) fn is_left(&self) -> bool {
        self.dropped.load(Ordering::SeqCst) == 1 && self.asked.borrow().len() == 1
    }
}

impl PermissionPolicy for Gate {
    fn decide(&self, _: CallContext, access: Access) -> BoxFuture<'static, Decision> {
        let held = *self.holds.lock().expect("no test panicked") == Some(access.capability);
        if !held {
            return std::future::ready(Decision::Allow).boxed();
        }
        self.asked.send_modify(|asked| asked.push(access));
        let counted = Counted(Arc::clone(&self.dropped));
        Box::pin(async move {
            let _counted = counted;
            std::future::pending().await
        })
    }
}

struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A tool that locks the host's database, so that whatever is to be written next waits.
#[derive(Clone, Default)]
pub(super) struct Lock(Arc<Mutex<Locked>>);

#[derive(Default)]
struct Locked {
    data: PathBuf,
    held: Option<Connection>,
}

impl Lock {
    pub(super) async fn until_held(&self) {
        while self.0.lock().expect("no test panicked").held.is_none() {
            tokio::task::yield_now().await;
        }
    }

    pub(super) fn let_go(&self) {
        self.0.lock().expect("no test panicked").held = None;
    }
}

impl ToolProvider for Lock {
    fn tools(&self, _: &CallContext) -> BoxFuture<'static, Result<Vec<Tool>, ToolError>> {
        let tool = Tool {
            name: "test.lock".to_owned(),
            description: "Locks the database.".to_owned(),
            parameters: serde_json::json!({ "type": "object" }),
            effects: Effects::None,
        };
        std::future::ready(Ok(vec![tool])).boxed()
    }

    fn call(&self, _: Invocation) -> BoxFuture<'static, Result<ToolOutput, ToolError>> {
        let mut locked = self.0.lock().expect("no test panicked");
        let conn = check::open(&locked.data);
        // Waits for a transaction that goes on.
        conn.execute_batch("BEGIN IMMEDIATE").expect("it is locked");
        locked.held = Some(conn);
        std::future::ready(Ok(ToolOutput::text("locked"))).boxed()
    }
}
