//! Tests of the file tools against a real directory, and against attacks on them. Each test decides
//! how permission questions are answered, and what happens meanwhile.

mod attacks;
mod cached_read;
mod changing;
mod parallel;
mod reading;

use super::{FileLocks, FileTools, Readable, Turn};
use crate::model::CallContext;
use crate::permits::{Allowed, Authorize, Denied, PermissionChecker};
use crate::tools::arguments::assert_is_read_whole;
use crate::tools::{Invocation, ToolContent, ToolError, ToolErrorKind, ToolOutput};
use futures_util::future::BoxFuture;
use lastword_types::id::{AgentId, RunId, SessionId, WorkspaceId};
use lastword_types::permission::Access;
use lastword_types::workspace::WorkspaceKey;
use serde_json::Value;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use tokio::runtime::Handle;

/// Returns whether a permission question is answered with yes.
type OnAsk = dyn Fn(&Access) -> bool + Send + Sync;

/// A workspace, a directory beside it, and a run's tools.
pub(super) struct Bench {
    place: PathBuf,
    tools: FileTools,
    locks: Arc<FileLocks>,
    asked: Arc<Mutex<Vec<Access>>>,
    on_ask: Arc<OnAsk>,
}

struct Decider {
    asked: Arc<Mutex<Vec<Access>>>,
    on_ask: Arc<OnAsk>,
}

impl Authorize for Decider {
    fn authorize(&self, access: Access) -> BoxFuture<'static, Result<Allowed, Denied>> {
        let allowed = (self.on_ask)(&access);
        let denied = Denied(format!("{} is not allowed", access.title));
        self.asked.lock().expect("no test panicked").push(access);

        let answer = if allowed {
            Ok(Allowed::Once)
        } else {
            Err(denied)
        };
        Box::pin(std::future::ready(answer))
    }
}

impl Bench {
    fn new() -> Self {
        Self::with(u64::MAX, Arc::new(|_, _| true))
    }

    fn with(budget: u64, readable: Readable) -> Self {
        Self::below(&std::env::temp_dir(), budget, readable)
    }

    /// In memory if the system has such a directory, for tests with very many synced changes.
    fn in_memory() -> Self {
        let memory = Path::new("/dev/shm");
        let temporary = std::env::temp_dir();
        let place = if memory.is_dir() { memory } else { &temporary };
        Self::below(place, u64::MAX, Arc::new(|_, _| true))
    }

    fn below(place: &Path, budget: u64, readable: Readable) -> Self {
        let place = place.join(format!("lastword-files-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir_all(place.join("workspace")).expect("a place for tests");
        std::fs::create_dir(place.join("outside")).expect("a place for tests");
        std::fs::write(place.join("outside/secret"), "canary").expect("a file outside");

        let file = Arc::new(File::open(place.join("workspace")).expect("it was made"));
        let budget = Arc::new(AtomicU64::new(budget));
        let locks = Arc::<FileLocks>::default();

        Self {
            tools: FileTools::new(file, budget, readable, Arc::clone(&locks)),
            locks,
            place,
            asked: Arc::default(),
            on_ask: Arc::new(|_| true),
        }
    }

    fn on_ask(mut self, on_ask: impl Fn(&Access) -> bool + Send + Sync + 'static) -> Self {
        self.on_ask = Arc::new(on_ask);
        self
    }

    fn at(&self, path: &str) -> PathBuf {
        self.place.join("workspace").join(path)
    }

    fn outside(&self, path: &str) -> PathBuf {
        self.place.join("outside").join(path)
    }

    fn put(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.at(path);
        let parent = path.parent().expect("it is in the workspace");
        std::fs::create_dir_all(parent).expect("a directory");
        std::fs::write(path, content).expect("a file");
    }

    fn get(&self, path: &str) -> String {
        std::fs::read_to_string(self.at(path)).expect("a file")
    }

    fn link(&self, to: impl AsRef<Path>, path: &str) {
        std::os::unix::fs::symlink(to, self.at(path)).expect("a link");
    }

    fn invocation(&self, tool: &str, arguments: Value) -> Invocation {
        let decider = Decider {
            asked: Arc::clone(&self.asked),
            on_ask: Arc::clone(&self.on_ask),
        };

        Invocation {
            context: CallContext::new(
                WorkspaceId::generate(),
                WorkspaceKey::name("w"),
                SessionId::generate(),
                RunId::generate(),
                AgentId::new("tester").expect("a name"),
            ),
            call_id: "1".to_owned(),
            tool: tool.to_owned(),
            arguments,
            permits: PermissionChecker::new(Arc::new(decider)),
        }
    }

    async fn call(&self, tool: &str, arguments: Value) -> Result<ToolOutput, ToolError> {
        self.call_of(&self.tools, None, tool, arguments).await
    }

    /// A call of another run, or of one that makes several.
    fn call_of(
        &self,
        tools: &FileTools,
        turn: Option<Turn>,
        tool: &str,
        arguments: Value,
    ) -> impl Future<Output = Result<ToolOutput, ToolError>> + use<> {
        let call = self.invocation(tool, arguments);
        tools.clone().call(call, turn, Handle::current())
    }

    /// The tools of another run, over a directory of the workspace.
    fn run(&self, directory: &str, locks: &Arc<FileLocks>) -> FileTools {
        let file = Arc::new(File::open(self.at(directory)).expect("a directory"));
        let budget = Arc::new(AtomicU64::new(u64::MAX));
        FileTools::new(file, budget, Arc::new(|_, _| true), Arc::clone(locks))
    }

    /// A call that succeeds.
    #[track_caller]
    fn succeed(&self, tool: &str, arguments: Value) -> impl Future<Output = ToolOutput> {
        let caller = std::panic::Location::caller();
        async move {
            let output = self.call(tool, arguments).await;
            match output {
                Ok(output) if !output.is_error => output,
                other => panic!("{caller}: {other:?}"),
            }
        }
    }

    /// A call that is carried out and fails; returns its message.
    async fn fail(&self, tool: &str, arguments: Value) -> String {
        let output = self.call(tool, arguments).await.expect("it is tried");
        assert!(output.is_error, "{output:?}");
        text(&output).to_owned()
    }

    /// A call that is not carried out.
    async fn refused(&self, tool: &str, arguments: Value) -> ToolErrorKind {
        let refused = self.call(tool, arguments).await;
        refused.expect_err("it is refused").kind
    }

    /// The permission questions so far, as `capability target`.
    fn asked(&self) -> Vec<String> {
        let asked = self.asked.lock().expect("no test panicked");
        let line = |access: &Access| format!("{} {}", access.capability, access.target);
        asked.iter().map(line).collect()
    }

    fn names(&self, path: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.at(path)).expect("a directory");

        let name = |entry: std::io::Result<std::fs::DirEntry>| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        };
        let mut names: Vec<_> = entries.map(name).collect();
        names.sort();

        names
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.place).expect("the place for tests goes");
    }
}

pub(super) fn text(output: &ToolOutput) -> &str {
    match &output.content[..] {
        [ToolContent::Text(text)] => text,
        other => panic!("not one text: {other:?}"),
    }
}

fn structured(output: &ToolOutput) -> &Value {
    output.structured.as_ref().expect("a value for programs")
}

#[test]
fn every_tool_is_described() {
    for tool in FileTools::tools() {
        assert_eq!(
            tool.parameters["additionalProperties"], false,
            "{}",
            tool.name
        );
        assert_is_read_whole(&tool.parameters);
        assert!(!tool.description.is_empty());
    }
}

#[tokio::test]
async fn odd_arguments_are_refused_and_nothing_panics() {
    let bench = Bench::new();
    bench.put("a", "x\ny\n");

    let most = u64::MAX;

    for (tool, arguments) in [
        ("read_file", serde_json::json!({})),
        ("read_file", serde_json::json!({"path": 1})),
        (
            "read_file",
            serde_json::json!({"path": "a", "start_line": -1}),
        ),
        ("read_file", serde_json::json!({"path": "a", "more": 1})),
        ("search_text", serde_json::json!({"pattern": "("})),
        ("search_text", serde_json::json!({"pattern": ""})),
        (
            "search_text",
            serde_json::json!({"pattern": "(\\pL{1000}){1000}"}),
        ),
        ("list_files", serde_json::json!({"glob": "a["})),
        ("edit_file", serde_json::json!({"path": "a"})),
        ("edit_file", serde_json::json!({"path": "a", "edits": []})),
        ("edit_file", Value::Null),
    ] {
        let kind = bench.refused(tool, arguments.clone()).await;
        assert_eq!(kind, ToolErrorKind::Invalid, "{tool} {arguments}");
    }

    let kind = bench.refused("fly", Value::Null).await;
    assert_eq!(kind, ToolErrorKind::UnknownTool);

    let arguments = serde_json::json!({
        "path": "a", "start_line": 2, "start_byte": most, "line_count": most,
    });
    bench.succeed("read_file", arguments).await;

    bench
        .succeed(
            "list_files",
            serde_json::json!({"depth": most, "max_names": most}),
        )
        .await;

    let arguments = serde_json::json!({"pattern": "x", "context_lines": most, "max_matches": most});
    bench.succeed("search_text", arguments).await;

    let arguments = serde_json::json!({"path": "a", "start_line": most});
    assert!(
        bench
            .fail("read_file", arguments)
            .await
            .contains("a has 2 lines")
    );
}
