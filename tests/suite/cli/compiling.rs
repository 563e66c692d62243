//! Components that are made to cost a compiler more than a machine has: memory and time are bounded,
//! the error says which, and the rest goes on.

use super::resources::Bounded;
use super::{Shell, agent, binary};
use lastword::{AgentSource, Compiler, ComponentError, Host, HostError};
use lastword_tests::fixture::builder;
use lastword_tests::guests::guest;
use lastword_tests::wat::{Core, costly};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// Takes gigabytes and minutes.
fn bomb() -> Vec<u8> {
    let fields = costly(10_000, 30_000);
    let core = Core {
        fields: &fields,
        ..Core::default()
    };
    core.component()
}

fn worker() -> Compiler {
    Compiler::worker(binary()).arg("compile-worker")
}

/// A host over a folder of its own, with nothing in its cache.
async fn host(compiler: Compiler) -> (Host, TempDir) {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let builder = builder(folder.path()).cache_dir(folder.path().join("cache"));
    let host = builder.compiler(compiler).build().await;
    (host.expect("the host starts"), folder)
}

async fn refusal(host: &Host, source: impl Into<AgentSource>) -> ComponentError {
    match host.load_agent("agent", source).await {
        Err(HostError::Component { source, .. }) => source,
        other => panic!("{other:?}"),
    }
}

/// The processes that compile for this one.
fn workers(of: u32) -> Vec<u32> {
    let threads = std::fs::read_dir(format!("/proc/{of}/task")).expect("it runs");
    let lists = threads.filter_map(|thread| {
        let path = thread.ok()?.path().join("children");
        std::fs::read_to_string(path).ok()
    });
    let numbers: Vec<u32> = lists
        .flat_map(|list| {
            let numbers = list.split_whitespace().map(str::parse);
            numbers.collect::<Result<Vec<_>, _>>().expect("numbers")
        })
        .collect();
    let compiles = |number: &u32| {
        let words = std::fs::read_to_string(format!("/proc/{number}/cmdline"));
        words.is_ok_and(|words| words.contains("compile-worker"))
    };
    numbers.into_iter().filter(compiles).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_and_time_of_a_compilation_are_bounded() {
    let (small, _folder) = host(worker().memory_bytes(200 << 20)).await;
    let bytes = 200 << 20;
    let refused = refusal(&small, bomb()).await;
    assert_eq!(refused, ComponentError::CompileMemory { bytes });
    let (short, _folder) = host(worker().time(Duration::from_secs(1))).await;
    let refused = refusal(&short, bomb()).await;
    assert_eq!(refused, ComponentError::CompileTime { seconds: 1 });
    // The same host compiles what costs little.
    small.load_agent("probe", guest("probe")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_process_compiled_runs_and_is_cached() {
    let (host, _folder) = host(worker()).await;
    let first = host.load_agent("probe", guest("probe")).await.unwrap();
    assert!(!first.was_cached());
    assert_eq!(first.manifest().name, "probe");
    let again = host.load_agent("probe", guest("probe")).await.unwrap();
    assert!(again.was_cached());
    let invalid = refusal(&host, b"\0asm\x0d\0\x01\0\x01\x01\x00".to_vec()).await;
    assert!(matches!(invalid, ComponentError::Invalid(_)), "{invalid}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_compiles_nothing_is_said_to_be_one() {
    for (program, words) in [
        ("/nowhere/lastword", "cannot be run"),
        ("/bin/false", "exit status: 1"),
        ("/bin/cat", "it ended with"),
    ] {
        let (host, _folder) = host(Compiler::worker(program)).await;
        // `cat` repeats what it is told, for as long as it is told something.
        let refused = tokio::time::timeout(Duration::from_secs(5), refusal(&host, guest("probe")));
        match refused.await {
            Ok(ComponentError::Compiler(why)) => assert!(why.contains(words), "{why}"),
            Ok(other) => panic!("{program}: {other}"),
            Err(_) => assert_eq!(program, "/bin/cat"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_program_what_looks_costly_is_refused_and_what_is_written_to_run_is_not() {
    let (host, _folder) = host(Compiler::in_process()).await;
    let refused = refusal(&host, bomb()).await;
    let words = refused.to_string();
    assert!(matches!(refused, ComponentError::CompileCost(_)), "{words}");
    assert!(
        words.contains("10001 variables") || words.contains("10000 variables"),
        "{words}"
    );
    host.load_agent("probe", guest("probe")).await.unwrap();
}

/// The runs beside it go on, and it is gone with the server.
#[tokio::test(flavor = "multi_thread")]
async fn a_bomb_disturbs_no_run_and_does_not_outlive_the_server() {
    let shell = Shell::new();
    let server = Bounded::start(&shell, "", &[]);
    let file = shell.file("bomb.wasm", bomb());
    let mut loading = shell.spawn(&["run", &file, "boom"]);
    loading.until_told("compiling bomb …");
    let process = server.served.started.child.as_ref().expect("it runs").id();
    let [compiling] = workers(process)[..] else {
        panic!("one compiles");
    };
    for round in 0..10 {
        let run = server.prompt(&format!("echo round {round}")).await;
        server.until(&run, &["event: run.ended"]).await;
    }
    assert_eq!(workers(process), [compiling]);
    server.served.started.signal("KILL");
    drop(server);
    let gone = move || !Path::new(&format!("/proc/{compiling}")).exists();
    let gone = tokio::task::spawn_blocking(move || {
        while !gone() {
            std::thread::yield_now();
        }
    });
    let gone = tokio::time::timeout(Duration::from_secs(60), gone).await;
    gone.expect("it is gone").unwrap();
    drop(loading);
}

#[test]
fn a_load_that_is_given_up_ends_its_process_and_a_file_of_the_folder_cannot_bound_it() {
    let shell = Shell::new();
    let file = shell.file("bomb.wasm", bomb());
    let mut loading = shell.spawn(&["run", &file, "boom"]);
    loading.until_told("compiling bomb …");
    loading.signal("INT");
    let done = loading.end().exits(130);
    done.tells(&["nothing was run"]);

    let settings = shell.file("lastword.toml", "[compile]\nmemory = '200MiB'\n");
    let done = shell.lastword(&["check", &agent("probe")]).exits(2);
    done.tells(&["[compile]", "--config-file"]);
    let done = shell.lastword(&["check", &file, "--config-file", &settings]);
    done.exits(2).tells(&["more than the 200 MiB of memory"]);
}
