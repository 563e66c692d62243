//! Tests commands against the kernel: what they see, what they cannot do, and that no process is
//! left. A test of what this kernel cannot enforce is skipped with a message.

use super::{CommandTools, Commands};
use crate::model::CallContext;
use crate::permits::testing::Scripted;
use crate::tools::arguments::assert_is_read_whole;
use crate::tools::{Invocation, ToolContent, ToolError, ToolErrorKind, ToolOutput};
use landlock::{
    ABI, Access as _, AccessFs, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _,
};
use lastword_types::id::{AgentId, RunId, SessionId, WorkspaceId};
use lastword_types::workspace::WorkspaceKey;
use serde_json::{Value, json};
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// How long the tests wait for something that has to happen.
const SOON: Duration = Duration::from_secs(20);

struct Bench {
    place: PathBuf,
    tools: CommandTools,
    permits: Arc<Scripted>,
}

impl Bench {
    fn new(commands: Commands) -> Self {
        let place = std::env::temp_dir().join(format!("lastword-command-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir_all(place.join("workspace/sub")).expect("a place for tests");
        std::fs::write(place.join("secret"), "canary").expect("a file outside");
        Self {
            tools: CommandTools::new(commands, place.join("temporary")),
            place,
            permits: Scripted::new(true),
        }
    }

    /// A shell, which only tests allow.
    fn shell() -> Self {
        Self::new(Commands::none().allow("sh -c"))
    }

    fn invocation(&self, arguments: Value) -> Invocation {
        Invocation {
            context: CallContext::new(
                WorkspaceId::generate(),
                WorkspaceKey::name("w"),
                SessionId::generate(),
                RunId::generate(),
                AgentId::new("tester").expect("a name"),
            ),
            call_id: "1".to_owned(),
            tool: "run_command".to_owned(),
            arguments,
            permits: self.permits.permits(),
        }
    }

    fn call(
        &self,
        arguments: Value,
    ) -> impl Future<Output = Result<ToolOutput, ToolError>> + Send + 'static {
        let workspace = File::open(self.place.join("workspace")).expect("it is there");
        let call = self.invocation(arguments);
        let tools = self.tools.clone();
        tools.call(Arc::new(workspace), call, Handle::current())
    }

    async fn script(&self, script: &str) -> ToolOutput {
        let done = self.call(json!({"command": ["sh", "-c", script]}));
        done.await.expect("it is tried")
    }

    fn outside(&self) -> String {
        self.place.join("secret").display().to_string()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // Temporary directories are removed at the same time.
        let _removed = std::fs::remove_dir_all(&self.place);
    }
}

fn text(output: &ToolOutput) -> &str {
    match &output.content[..] {
        [ToolContent::Text(text)] => text,
        other => panic!("not one text: {other:?}"),
    }
}

fn enforces(output: &ToolOutput, what: &str) -> bool {
    let metadata = output.metadata.as_ref().expect("what is enforced");
    let enforced = metadata["enforced"].as_array().expect("a list");
    enforced.iter().any(|name| name == what)
}

/// Whether to test what only the kernel can enforce: if it can, the command has to be confined by
/// it.
fn must_enforce(output: &ToolOutput, what: &str) -> bool {
    let can = match what {
        "landlock" => {
            let required = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
            let some = required.handle_access(AccessFs::from_all(ABI::V1));
            some.and_then(Ruleset::create).is_ok()
        }
        _ => std::fs::read_to_string("/proc/self/status")
            .is_ok_and(|status| status.contains("\nSeccomp:")),
    };
    assert_eq!(enforces(output, what), can, "what the kernel can of {what}");

    if !can {
        eprintln!("SKIPPED: this kernel has no {what}");
    }

    can
}

/// Whether a process exists and is no zombie.
fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| {
        !stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .starts_with(" Z")
    })
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < SOON, "{what}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_command_returns_its_output() {
    let bench = Bench::new(Commands::none().allow("cat").allow("pwd").allow("sh -c"));
    let printed = bench
        .call(json!({"command": ["cat"], "stdin": "words"}))
        .await;
    let printed = printed.expect("it runs");

    assert_eq!(text(&printed), "[exit code 0]\n[stdout]\nwords\n");
    assert!(!printed.is_error);

    let nothing = bench
        .call(json!({"command": ["cat"]}))
        .await
        .expect("it runs");
    assert_eq!(text(&nothing), "[exit code 0]\n");

    for directory in ["sub", "/workspace/sub", "./sub/"] {
        let arguments = json!({"command": ["pwd"], "directory": directory});
        let at = bench.call(arguments).await.expect("it runs");
        assert!(text(&at).ends_with("/workspace/sub\n"), "{at:?}");
    }

    let failed = bench.script("echo out; echo err >&2; exit 3").await;
    assert_eq!(
        text(&failed),
        "[exit code 3]\n[stdout]\nout\n[stderr]\nerr\n"
    );

    assert!(failed.is_error);

    let asked: Vec<_> = bench
        .permits
        .asked()
        .into_iter()
        .map(|access| access.title)
        .collect();
    assert_eq!(asked[2], "run pwd in sub");
    assert_eq!(asked[5], "run sh -c 'echo out; echo err >&2; exit 3'");
}

#[tokio::test]
async fn only_listed_and_allowed_commands_run() {
    let bench = Bench::new(Commands::none().allow("touch a"));
    let refused = |arguments| {
        let call = bench.call(arguments);
        async { call.await.expect_err("it does not run").kind }
    };

    for command in [json!(["touch"]), json!(["touch", "b"]), json!(["touch a"])] {
        assert_eq!(
            refused(json!({"command": command})).await,
            ToolErrorKind::Denied
        );
    }

    for arguments in [
        json!({"command": []}),
        json!({"command": [""]}),
        json!({"command": ["touch", "a", "\0"]}),
        json!({"command": vec!["touch"; 2_000]}),
        json!({"command": ["./touch", "a"], "directory": "sub"}),
        json!({"command": "touch a"}),
    ] {
        assert_eq!(refused(arguments).await, ToolErrorKind::Invalid);
    }

    for directory in [
        "..",
        "/",
        "none",
        "../workspace",
        "/workspaces",
        "/workspace/..",
    ] {
        let arguments = json!({"command": ["touch", "a"], "directory": directory});
        assert!(
            bench.call(arguments).await.expect("it is tried").is_error,
            "{directory}"
        );
    }

    let mut denied = Bench::new(Commands::none().allow("touch"));
    denied.permits = Scripted::new(false);

    let kind = denied
        .call(json!({"command": ["touch", "a"]}))
        .await
        .expect_err("denied")
        .kind;
    assert_eq!(kind, ToolErrorKind::Denied);

    for bench in [&bench, &denied] {
        assert!(!bench.place.join("workspace/a").exists());
    }

    assert!(Bench::new(Commands::none()).tools.tools().is_none());
    let tool = bench.tools.tools().expect("there is a command");
    assert_is_read_whole(&tool.parameters);

    let missing = Bench::new(Commands::none().allow("no-such-program"));
    let missing = missing.call(json!({"command": ["no-such-program"]})).await;
    assert!(text(&missing.expect("it is tried")).contains("no such program"));
}

#[tokio::test]
async fn the_hosts_environment_is_not_inherited() {
    assert!(
        std::env::var("CARGO_MANIFEST_DIR").is_ok(),
        "a variable to look for"
    );

    let bench = Bench::new(Commands::none().allow("env").env("MINE", "1"));
    let seen = bench
        .call(json!({"command": ["env"]}))
        .await
        .expect("it runs");
    let lines = text(&seen).lines().skip(2);
    let mut names: Vec<_> = lines
        .filter_map(|line| Some(line.split_once('=')?.0))
        .collect();

    names.sort_unstable();
    assert_eq!(names, ["HOME", "LANG", "MINE", "PATH", "TERM", "TMPDIR"]);

    let shell = Bench::shell();
    let host = std::process::id();
    let read = shell
        .script(&format!("cat /proc/{host}/environ /proc/self/status"))
        .await;

    if must_enforce(&read, "landlock") {
        assert!(!text(&read).contains("CARGO_MANIFEST_DIR"), "{read:?}");
        assert!(text(&read).contains("NoNewPrivs:\t1"));
    }
}

#[tokio::test]
async fn files_outside_cannot_be_reached() {
    let bench = Bench::shell();
    let outside = bench.outside();

    let script = format!(
        "cat {outside}; echo pwned > {outside}; echo pwned > ../new; ln {outside} hard; \
         ln -s {outside} soft; cat soft; echo in > in; echo t > $TMPDIR/t; cat in $TMPDIR/t; \
         ls /tmp /root /home; echo x > /dev/null; sh -c 'echo sub'"
    );
    let tried = bench.script(&script).await;
    assert!(text(&tried).contains("in\nt\nsub\n"), "{tried:?}");

    if must_enforce(&tried, "landlock") {
        assert!(!text(&tried).contains("canary"), "{tried:?}");
        let secret = std::fs::read_to_string(&outside).expect("it is there");
        assert_eq!(secret, "canary");
        assert!(!bench.place.join("new").exists());
        assert!(!bench.place.join("workspace/hard").exists());
    }
}

#[tokio::test]
async fn sockets_and_privileged_calls_are_refused() {
    let bench = Bench::new(Commands::none().allow("python3 -c").allow("sh -c"));

    let script = "import socket, os, ctypes\n\
        c = ctypes.CDLL(None, use_errno=True)\n\
        def tried(name, call):\n    \
            try:\n        call(); print(name, 'worked')\n    \
            except OSError as e: print(name, e.errno)\n\
        for f in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):\n    \
            tried('socket', lambda: socket.socket(f, socket.SOCK_STREAM))\n\
        tried('setsid', os.setsid)\n\
        tried('setpgid', lambda: os.setpgid(0, 0))\n\
        tried('setns', lambda: os.setns(0, 0))\n\
        tried('unshare', lambda: os.unshare(os.CLONE_NEWUSER))\n\
        socket.socketpair(); print('pair worked')\n\
        print('ptrace', c.ptrace(0, 0, 0, 0), 'mount', c.mount(b'a', b'/', b'tmpfs', 0, 0))\n";

    let tried = bench
        .call(json!({"command": ["python3", "-c", script]}))
        .await;
    let tried = tried.expect("it is tried");
    let has_python = text(&tried).contains("pair worked");

    if must_enforce(&tried, "seccomp") && has_python {
        let expected = "socket 1\nsocket 1\nsocket 1\nsetsid 1\nsetpgid 1\nsetns 1\nunshare 1\n\
            pair worked\nptrace -1 mount -1\n";
        assert!(text(&tried).ends_with(expected), "{tried:?}");
    }

    if must_enforce(&tried, "seccomp") {
        let tried = bench.script("setsid sleep 100 || echo refused").await;
        assert!(text(&tried).contains("refused") || text(&tried).contains("not found"));
        let status = bench.script("cat /proc/self/status").await;
        assert!(text(&status).contains("Seccomp:\t2"), "{status:?}");
    }
}

#[tokio::test]
async fn limits_are_those_of_the_operator() {
    let commands = Commands::none()
        .allow("sh -c")
        .processes(50)
        .data_bytes(64 << 20);
    let bench = Bench::new(commands);
    let limits = bench
        .script("cat /proc/self/limits; ulimit -c unlimited")
        .await;

    let line = |name: &str| {
        let line = text(&limits).lines().find(|line| line.starts_with(name));
        line.expect(name)
            .split_whitespace()
            .rev()
            .nth(1)
            .map(str::to_owned)
    };

    for (name, limit) in [
        ("Max cpu time", "600"),
        ("Max file size", "1073741824"),
        ("Max data size", "67108864"),
        ("Max core file size", "0"),
        ("Max processes", "50"),
        ("Max open files", "1024"),
    ] {
        assert_eq!(line(name).as_deref(), Some(limit), "{name}");
    }

    assert!(limits.is_error, "a limit was raised: {limits:?}");
}

#[tokio::test]
async fn output_is_bounded() {
    let bench = Bench::shell();
    let much = bench
        .script("head -c 50000000 /dev/zero | tr '\\0' x; echo end")
        .await;
    assert!(text(&much).len() < 70_000);
    assert!(text(&much).contains("[truncated: ") && text(&much).ends_with("xend\n"));
    let structured = much.structured.expect("numbers");
    assert_eq!(structured["stdout_bytes"], 50_000_004);
}

#[tokio::test]
async fn background_processes_die_with_the_command() {
    let bench = Bench::shell();
    let begun = Instant::now();
    let left = bench
        .script("sleep 1000 & echo $! > pid; (sleep 1000 &) ; echo done")
        .await;
    assert!(text(&left).contains("done") && begun.elapsed() < SOON);
    let pid = std::fs::read_to_string(bench.place.join("workspace/pid")).expect("it is there");
    until("the background lives", || !lives(pid.trim())).await;
}

#[tokio::test]
async fn time_is_bounded() {
    let bench = Bench::shell();
    let script = "echo $$ > pid; trap '' TERM INT HUP; sleep 1000 & sleep 1000; sleep 1000";
    let arguments = json!({"command": ["sh", "-c", script], "timeout_s": 1});
    let late = bench.call(arguments).await.expect("it is tried");

    assert!(
        late.is_error && text(&late).starts_with("[killed after 1 s"),
        "{late:?}"
    );

    let pid = std::fs::read_to_string(bench.place.join("workspace/pid")).expect("it is there");
    assert!(!lives(pid.trim()));
}

/// Drops the call once the command and its children are running.
#[tokio::test]
async fn a_dropped_call_leaves_no_process() {
    let bench = Bench::shell();

    for _ in 0..20 {
        let file = bench.place.join("workspace/pids");
        let script = "sleep 1000 & (sleep 1000 & echo $! $$ > part; mv part pids; wait); wait";
        let call = tokio::spawn(bench.call(json!({"command": ["sh", "-c", script]})));
        until("nothing was started", || file.exists()).await;
        let pids = std::fs::read_to_string(&file).expect("it is there");
        assert!(pids.split_whitespace().all(lives));
        call.abort();
        until("a process is left", || !pids.split_whitespace().any(lives)).await;
        std::fs::remove_file(&file).expect("it is there");
    }
}

/// Drops the call at every moment of its start.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_dropped_early_leaves_no_process() {
    let bench = Bench::shell();
    let marker = format!("{}", 100_000 + u64::from(std::process::id()));

    for polls in 0..100 {
        let script = format!("sleep {marker} & sleep {marker}");
        let mut call = std::pin::pin!(bench.call(json!({"command": ["sh", "-c", script]})));
        for _ in 0..polls {
            let _pending = futures_util::future::poll_immediate(call.as_mut()).await;
            tokio::task::yield_now().await;
        }
    }

    let running = || {
        let processes = std::fs::read_dir("/proc").expect("processes");
        let line = |entry: std::io::Result<std::fs::DirEntry>| {
            std::fs::read(entry.ok()?.path().join("cmdline")).ok()
        };
        let mut lines = processes.filter_map(line);
        lines.any(|line| {
            line.split(|byte| *byte == 0)
                .any(|word| word == marker.as_bytes())
        })
    };
    until("a process is left", || !running()).await;
}

/// The kernel does not count root's processes, so only the death of the group bounds a fork bomb
/// for certain: no fork escapes it.
#[tokio::test]
async fn a_fork_bomb_ends_with_its_time() {
    let bench = Bench::new(Commands::none().allow("sh -c").processes(2_000));
    let script = "bomb() { n=$1; [ $n -gt 0 ] || exec sleep 1003; bomb $((n-1)) & bomb $((n-1)) & \
        wait; }; bomb 7";
    let arguments = json!({"command": ["sh", "-c", script], "timeout_s": 2});
    let bomb = bench.call(arguments).await.expect("it is tried");

    assert!(bomb.is_error);

    let running = || {
        let processes = std::fs::read_dir("/proc").expect("processes");
        let line = |entry: std::io::Result<std::fs::DirEntry>| {
            std::fs::read_to_string(entry.ok()?.path().join("cmdline")).ok()
        };
        let lines = processes.filter_map(line);
        lines
            .filter(|line| line.contains("bomb 7") || line.contains("1003"))
            .count()
    };
    until("a process is left", || running() == 0).await;
}

/// Set in the environment when this test starts itself as the host.
const HOST: &str = "LASTWORD_TEST_HOST";

/// A killed host cannot end its commands itself.
#[tokio::test]
async fn commands_die_with_a_host_that_is_killed() {
    const NAME: &str = "tools::command::tests::commands_die_with_a_host_that_is_killed";

    let script = "sleep 1000 & (sleep 1000 & echo $! $$ > part; mv part pids; wait); wait";
    let bench = Bench::shell();

    if let Ok(place) = std::env::var(HOST) {
        let workspace = File::open(place).expect("it is there");
        let call = bench.invocation(json!({"command": ["sh", "-c", script]}));
        let tools = bench.tools.clone();
        let ended = tools
            .call(Arc::new(workspace), call, Handle::current())
            .await;
        panic!("the host was not killed: {ended:?}");
    }

    let workspace = bench.place.join("workspace");
    let mut host = std::process::Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", NAME])
        .env(HOST, &workspace)
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("it starts");

    let file = workspace.join("pids");
    until("nothing was started", || file.exists()).await;

    let pids = std::fs::read_to_string(&file).expect("it is there");
    assert!(pids.split_whitespace().count() == 2 && pids.split_whitespace().all(lives));
    host.kill().expect("it is killed");
    host.wait().expect("it is gone");
    until("a process is left", || !pids.split_whitespace().any(lives)).await;
}
