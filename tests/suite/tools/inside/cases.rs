//! How each tool is known to be in the middle of its work, and to have stopped.

use super::super::questions::asked;
use super::bench::Bench;
use super::{Case, Inside};
use crate::mcp_fake::{is_cancel, is_slow_call, is_there, pid, until_seen};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lastword::event::{EventBody, Position};
use lastword::{Capability, Run};
use lastword_tests::watch::Watch;
use serde_json::json;
use std::path::Path;

/// Names that a walk has to open, each of which takes it some milliseconds.
const NAMES: usize = 1500;

pub(super) const CASES: [Case; 16] = [
    Case {
        tool: "read_file",
        point: "asks for the file to which its path has led",
        enter: |bench, _| reading(bench, "read_file", r#"{"path":"link"}"#, "file"),
    },
    Case {
        tool: "list_files",
        point: "asks for the directory to which its path has led",
        enter: |bench, _| reading(bench, "list_files", r#"{"path":"way"}"#, "many/"),
    },
    Case {
        tool: "search_text",
        point: "asks for the directory to which its path has led",
        enter: |bench, _| {
            let arguments = r#"{"path":"way","pattern":"x"}"#;
            reading(bench, "search_text", arguments, "many/")
        },
    },
    Case {
        tool: "list_files",
        point: "has opened some directories of many",
        enter: |bench, _| listing(bench).boxed(),
    },
    Case {
        tool: "search_text",
        point: "has opened some files of many",
        enter: |bench, _| searching(bench).boxed(),
    },
    Case {
        tool: "write_file",
        point: "asks for the change that it has worked out",
        enter: |bench, _| {
            let call = r#"write_file {"path":"a/new","content":"after\n"}"#;
            changing(bench, call).boxed()
        },
    },
    Case {
        tool: "edit_file",
        point: "asks for the change that it has worked out",
        enter: |bench, _| {
            let edit = r#"edit_file {"path":"file","old_string":"before","new_string":"after"}"#;
            changing(bench, edit).boxed()
        },
    },
    Case {
        tool: "write_file",
        point: "writes the new content beside the old",
        enter: |bench, _| writing(bench).boxed(),
    },
    Case {
        tool: "run_command",
        point: "has a process whose child has told its number",
        enter: |bench, _| commanding(bench).boxed(),
    },
    Case {
        tool: "fetch_url",
        point: "waits for the answer of a server that has its request",
        enter: |bench, _| fetching(bench, "/hold").boxed(),
    },
    Case {
        tool: "fetch_url",
        point: "reads an answer that goes on and on",
        enter: |bench, _| fetching(bench, "/drip").boxed(),
    },
    Case {
        tool: "todo",
        point: "has handed the plan to a store that cannot write",
        enter: |bench, patience| planning(bench, patience).boxed(),
    },
    Case {
        tool: "ask_user",
        point: "has asked",
        enter: |bench, _| asking(bench).boxed(),
    },
    Case {
        tool: "run_agent",
        point: "has a child that is inside a tool itself",
        enter: |bench, _| nesting(bench).boxed(),
    },
    Case {
        tool: "test.hang",
        point: "is the embedder's, and has begun",
        enter: |bench, _| hanging(bench).boxed(),
    },
    Case {
        tool: "it.slow",
        point: "is an MCP server's, which has the call",
        enter: |bench, _| remote(bench).boxed(),
    },
];

/// Paths are links, so that only the tool itself can know the name that it asks for.
fn reading<'b>(
    bench: &'b mut Bench,
    tool: &'static str,
    arguments: &'static str,
    resolved: &'static str,
) -> BoxFuture<'b, Inside> {
    async move {
        let files = bench.fixture.files();
        bench.write("file", "content\n");
        std::fs::create_dir(files.join("many")).expect("a directory");
        std::os::unix::fs::symlink("file", files.join("link")).expect("a link");
        std::os::unix::fs::symlink("many", files.join("way")).expect("a link");
        bench.gate.hold(Capability::ReadFiles);
        let run = bench
            .fixture
            .start(&format!("tool {tool} {arguments}"))
            .await;
        assert_eq!(bench.gate.held().await.target, resolved);
        let gate = bench.gate.clone();
        Inside::of(run).left(move || assert!(gate.is_left(), "{tool} went on"))
    }
    .boxed()
}

/// Every directory has rules of what to ignore that take long to make ready.
async fn listing(bench: &mut Bench) -> Inside {
    let files = bench.fixture.files();
    let rules: String = (0..100).map(|n| format!("*a{n}*b?c[d-f]*{n}\n")).collect();
    bench.write("rules", &rules);
    let many = files.join("many");
    for name in 0..NAMES {
        let directory = many.join(format!("{name}"));
        std::fs::create_dir_all(&directory).expect("a directory");
        std::fs::hard_link(files.join("rules"), directory.join(".gitignore")).expect("a name");
    }
    walking(bench, &many, r#"tool list_files {"glob":"none"}"#).await
}

/// One text of many megabytes under many names.
async fn searching(bench: &mut Bench) -> Inside {
    let files = bench.fixture.files();
    bench.write("text", &format!("{}\n", "x".repeat(79)).repeat(200_000));
    let many = files.join("many");
    std::fs::create_dir(&many).expect("a directory");
    for name in 0..NAMES {
        let name = many.join(format!("{name}"));
        std::fs::hard_link(files.join("text"), name).expect("a name");
    }
    walking(bench, &many, r#"tool search_text {"pattern":"[a-w]{3}"}"#).await
}

async fn until(watch: &mut Watch, begins: &str, run: &Run) {
    tokio::select! {
        () = watch.until(begins) => {}
        ended = run.ended() => panic!("the run has ended: {ended:?}"),
    }
}

async fn walking(bench: &mut Bench, many: &Path, prompt: &str) -> Inside {
    let mut watch = Watch::opened(many);
    let run = bench.fixture.start(prompt).await;
    until(&mut watch, "", &run).await;
    Inside::of(run).left(move || {
        let opened = watch.names().len();
        assert!(opened < NAMES, "the walk went on to its end");
    })
}

async fn changing(bench: &mut Bench, call: &str) -> Inside {
    bench.write("file", "before\n");
    bench.gate.hold(Capability::WriteFiles);
    let prompt = format!("tools-each read_file {{\"path\":\"file\"}}\n{call}");
    let run = bench.fixture.start(&prompt).await;
    let diff = bench.gate.held().await.diff.expect("a diff");
    assert!(diff.contains("+after"), "{diff}");
    let (gate, files) = (bench.gate.clone(), bench.fixture.files());
    Inside::of(run).left(move || {
        assert!(gate.is_left(), "it went on");
        let content = std::fs::read_to_string(files.join("file")).expect("it is there");
        assert_eq!(
            (content.as_str(), names(&files)),
            ("before\n", vec!["file".to_owned()])
        );
    })
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    names
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}

/// From here on the change may still come or not, but whole.
async fn writing(bench: &mut Bench) -> Inside {
    bench.write("file", "before\n");
    let after = "after\n".repeat(100_000);
    let mut watch = Watch::made(&bench.fixture.files());
    let arguments = json!({ "path": "file", "content": after });
    let prompt = format!("tools-each read_file {{\"path\":\"file\"}}\nwrite_file {arguments}");
    let run = bench.fixture.start(&prompt).await;
    until(&mut watch, ".lastword-", &run).await;
    let files = bench.fixture.files();
    let inside = Inside {
        held: false,
        ..Inside::of(run)
    };
    inside.left(move || {
        assert_eq!(names(&files), ["file"], "nothing lies beside it");
        let content = std::fs::read_to_string(files.join("file")).expect("it is there");
        assert!(
            content == "before\n" || content == after,
            "a part of a change"
        );
    })
}

/// Whether a process is there and not merely waited for.
fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z"))
}

async fn commanding(bench: &mut Bench) -> Inside {
    let pipe = bench.fixture.files().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo runs").success());
    let words = json!({ "command": ["sh", "-c", "sleep 1000 & echo $! > pipe; wait"] });
    let run = bench
        .fixture
        .start(&format!("tool run_command {words}"))
        .await;
    // Opening a pipe waits for the other side.
    let told = tokio::task::spawn_blocking(move || std::fs::read_to_string(pipe));
    let pid = told.await.expect("no panic").expect("it is told");
    let pid = pid.trim().to_owned();
    assert!(lives(&pid));
    Inside::of(run).stopped(async move {
        // It is dead by then; the kernel takes a moment to bury it.
        while lives(&pid) {
            tokio::task::yield_now().await;
        }
    })
}

async fn fetching(bench: &mut Bench, path: &str) -> Inside {
    let url = json!({ "url": bench.server.url(path) });
    let run = bench.fixture.start(&format!("tool fetch_url {url}")).await;
    bench.server.until_asked(1).await;
    let gone = bench.server.gone(1);
    Inside::of(run).stopped(gone)
}

/// Nothing tells that the store has the plan; that it is there in the end though its call was
/// cancelled proves it.
async fn planning(bench: &mut Bench, patience: u32) -> Inside {
    let plan = json!({ "todo": [{ "content": "look", "status": "pending" }] });
    let prompt = format!("tools-each test.lock {{}}\ntodo {plan}");
    let run = bench.fixture.start(&prompt).await;
    bench.lock.until_held().await;
    for _ in 0..patience {
        tokio::task::yield_now().await;
    }
    let lock = bench.lock.clone();
    Inside {
        let_go: Box::new(move || lock.let_go()),
        proven: |record| record.todo.len() == 1,
        ..Inside::of(run)
    }
}

async fn asking(bench: &mut Bench) -> Inside {
    let run = bench
        .fixture
        .start(r#"tool ask_user {"question":"Which?"}"#)
        .await;
    let question = asked(&run).await;
    let host = bench.fixture.host.clone();
    Inside::of(run).stopped(async move {
        let (_, _, state) = host.question(question.id).await.expect("the question");
        assert_eq!(state, lastword::session::QuestionState::Dismissed);
    })
}

async fn nesting(bench: &mut Bench) -> Inside {
    let child = json!({ "agent": "probe", "prompt": "tool test.hang {\"text\":\"\"}" });
    let run = bench
        .fixture
        .start(&format!("tool run_agent {child}"))
        .await;
    bench.tools.wait_until_begun().await;
    let (host, tools, parent) = (bench.fixture.host.clone(), bench.tools.clone(), run.id());
    Inside::of(run).stopped(async move {
        let mut events = host.events(Position(0));
        let child = loop {
            let event = events
                .next()
                .await
                .expect("it goes on")
                .expect("it is read");
            match event.body {
                EventBody::RunEnded { receipt } if receipt.run != parent => break receipt,
                _ => {}
            }
        };
        assert_eq!(&*child.cause.name(), "parent");
        tools.until_dropped(1).await;
    })
}

async fn hanging(bench: &mut Bench) -> Inside {
    let run = bench.fixture.start(r#"tool test.hang {"text":""}"#).await;
    bench.tools.wait_until_begun().await;
    let tools = bench.tools.clone();
    Inside::of(run).stopped(async move {
        tools.until_dropped(1).await;
    })
}

async fn remote(bench: &mut Bench) -> Inside {
    let (servers, workspace) = (bench.servers.clone(), bench.fixture.workspace.id());
    let run = bench.fixture.start("tool it.slow {}").await;
    let call = until_seen(&servers, workspace, is_slow_call).await;
    let server = pid(&servers, workspace).await;
    let told = async move {
        let cancel = until_seen(&servers, workspace, is_cancel).await;
        assert_eq!(cancel["params"]["requestId"], call["id"]);
    };
    let left = move || assert!(!is_there(&server), "{server} outlives the host");
    Inside::of(run).stopped(told).left(left)
}
