//! Attacks: paths, links and special files that lead out of the workspace or block the host. The
//! canary outside is never read and never changed.

use super::{Bench, text};
use crate::tools::ToolErrorKind;
use rustix::fs::{CWD, FileType, Mode, RenameFlags, mknodat, renameat_with};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};

/// How many calls are made while the path's target is swapped.
const SWAPS: usize = 2_000;

fn calls(path: &str) -> [(&'static str, Value); 5] {
    [
        ("read_file", json!({"path": path})),
        ("list_files", json!({"path": path})),
        ("search_text", json!({"path": path, "pattern": "canary"})),
        ("write_file", json!({"path": path, "content": "pwned"})),
        (
            "edit_file",
            json!({"path": path, "old_string": "canary", "new_string": "pwned"}),
        ),
    ]
}

impl Bench {
    /// Calls every tool for a path, and checks that nothing outside is shown or changed.
    async fn stays_inside(&self, path: &str) {
        for (tool, arguments) in calls(path) {
            match self.call(tool, arguments).await {
                Err(error) => assert_eq!(error.kind, ToolErrorKind::Denied, "{tool} {path}"),
                Ok(output) => {
                    let leaks = text(&output).contains("canary");
                    assert!(!leaks && output.is_error, "{tool} {path}: {output:?}");
                }
            }
        }

        self.outside_is_whole();
    }

    #[track_caller]
    fn outside_is_whole(&self) {
        let secret = std::fs::read_to_string(self.outside("secret")).expect("it is there");
        assert_eq!(secret, "canary");
        let entries = std::fs::read_dir(self.outside("")).expect("it is there");
        assert_eq!(entries.count(), 1);
    }
}

#[tokio::test]
async fn no_path_leads_out() {
    let bench = Bench::new();
    bench.put("in", "x");

    let absolute = bench.outside("secret");

    for path in [
        "../outside/secret",
        "in/../../outside/secret",
        "..",
        "/",
        "/etc/passwd",
        "/workspace/../outside/secret",
        "/proc/self/root",
        "/proc/self/cwd/Cargo.toml",
        "/dev/stdin",
        &absolute.to_string_lossy(),
    ] {
        bench.stays_inside(path).await;
        assert_eq!(
            bench.refused("read_file", json!({"path": path})).await,
            ToolErrorKind::Denied
        );
    }

    assert_eq!(bench.asked(), [""; 0]);
}

#[tokio::test]
async fn no_link_leads_out() {
    let bench = Bench::new();
    bench.link("../outside/secret", "relative");
    bench.link(bench.outside("secret"), "absolute");
    bench.link("../outside", "directory");
    bench.link("/proc/self/root", "magic");
    bench.link("/", "root");
    bench.link("loop", "loop");
    bench.link("../outside/new", "dangling");
    bench.link("directory", "twice");

    let through_root = format!("root{}", bench.outside("secret").display());

    for path in [
        "relative",
        "absolute",
        "directory/secret",
        "directory/new",
        "directory",
        "magic/etc/passwd",
        &through_root,
        "loop",
        "loop/x",
        "dangling",
        "twice/secret",
        "relative/",
    ] {
        bench.stays_inside(path).await;
    }

    assert_eq!(bench.asked(), [""; 0]);
    let found = bench
        .succeed("search_text", json!({"pattern": "canary"}))
        .await;
    assert_eq!(text(&found), "[no matches]");
}

/// A link within the workspace is followed, and permission is asked for its target.
#[tokio::test]
async fn permission_is_asked_for_the_target_of_a_link() {
    let bench = Bench::new();
    bench.put("private/key", "x\n");
    bench.link("private", "public");
    bench
        .succeed("read_file", json!({"path": "public/key"}))
        .await;

    bench
        .succeed(
            "write_file",
            json!({"path": "public/key", "content": "y\n"}),
        )
        .await;

    bench
        .succeed(
            "write_file",
            json!({"path": "public/new", "content": "y\n"}),
        )
        .await;

    let asked = [
        "read-files private/key",
        "write-files private/key",
        "write-files private/new",
    ];
    assert_eq!(bench.asked(), asked);

    let link = std::fs::symlink_metadata(bench.at("public")).expect("it is there");
    assert!(link.is_symlink());
}

/// While the question is open, a directory of the path becomes a link to another one in the
/// workspace.
#[tokio::test]
async fn an_allowed_path_cannot_be_exchanged_for_another_inside() {
    let bench = Bench::new();
    // Large enough that nothing of it is read before the answer.
    bench.put("a/key", "harmless\n".repeat(50_000));
    bench.put("private/key", "canary\n".repeat(50_000));

    let place = bench.at("");
    let bench = bench.on_ask(move |_| {
        std::fs::rename(place.join("a"), place.join("b")).expect("it moves");
        std::os::unix::fs::symlink("private", place.join("a")).expect("a link");
        true
    });
    let read = bench.fail("read_file", json!({"path": "a/key"})).await;

    assert!(!read.contains("canary"), "{read}");
}

/// Swaps two names while the calls run.
async fn swapping(bench: &Bench, one: &str, other: &str, calls: impl AsyncFn(usize)) {
    let (one, other) = (bench.at(one), bench.at(other));
    let done = AtomicBool::new(false);
    let swaps = std::sync::atomic::AtomicUsize::new(0);
    let handle = tokio::runtime::Handle::current();

    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).expect("a swap");
                swaps.fetch_add(1, Ordering::AcqRel);
            }
        });

        tokio::task::block_in_place(|| {
            handle.block_on(async {
                for turn in 0..SWAPS {
                    calls(turn).await;
                }
            });
        });

        done.store(true, Ordering::Release);
    });

    assert!(
        swaps.into_inner() > 100,
        "the swaps were too slow to attack anything"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_becomes_a_link_leaks_nothing() {
    let bench = Bench::new();
    bench.put("f", "harmless\n");
    bench.link("../outside/secret", "swapped");

    swapping(&bench, "f", "swapped", async |turn| {
        let (tool, arguments) = match turn % 4 {
            0 => ("read_file", json!({"path": "f"})),
            1 => ("search_text", json!({"path": "f", "pattern": "."})),
            2 => ("search_text", json!({"pattern": "."})),
            _ => ("write_file", json!({"path": "f", "content": "harmless\n"})),
        };
        if let Ok(output) = bench.call(tool, arguments).await {
            assert!(!text(&output).contains("canary"), "{tool}: {output:?}");
        }
    })
    .await;

    bench.outside_is_whole();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_becomes_a_link_leaks_nothing() {
    let bench = Bench::new();
    bench.put("d/harmless", "harmless\n");
    bench.link("../outside", "swapped");

    swapping(&bench, "d", "swapped", async |turn| {
        let new = format!("d/new{turn}");
        let (tool, arguments) = match turn % 5 {
            0 => ("read_file", json!({"path": "d/secret"})),
            1 => ("search_text", json!({"path": "d", "pattern": "."})),
            2 => ("search_text", json!({"pattern": "."})),
            3 => ("list_files", json!({})),
            _ => ("write_file", json!({"path": new, "content": "harmless\n"})),
        };

        let output = bench.call(tool, arguments).await;
        if let Ok(output) = output.map(|output| (text(&output).to_owned(), output.is_error)) {
            let leaks = output.0.contains("canary") || (!output.1 && output.0.contains("secret"));
            assert!(!leaks, "{tool}: {output:?}");
        }
    })
    .await;

    bench.outside_is_whole();
}

#[tokio::test]
async fn pipes_and_devices_do_not_block() {
    let bench = Bench::new();
    let mode = Mode::from_raw_mode(0o666);
    mknodat(CWD, bench.at("pipe"), FileType::Fifo, mode, 0).expect("a pipe");

    let _socket = std::os::unix::net::UnixListener::bind(bench.at("socket")).expect("a socket");

    for path in ["pipe", "socket"] {
        for (tool, arguments) in calls(path) {
            let message = bench.fail(tool, arguments).await;
            let named =
                message.contains("a pipe, a socket or a device") || message.contains("directory");
            assert!(named, "{tool} {path}: {message}");
        }
    }

    let listed = bench.succeed("list_files", json!({})).await;
    assert_eq!(text(&listed), "pipe|\nsocket|\n");
    bench.succeed("search_text", json!({"pattern": "."})).await;
}

#[tokio::test]
async fn a_file_with_a_name_outside_is_not_changed() {
    let bench = Bench::new();
    std::fs::hard_link(bench.outside("secret"), bench.at("hard")).expect("a link");
    bench.succeed("read_file", json!({"path": "hard"})).await;

    let write = json!({"path": "hard", "content": "pwned"});
    assert!(
        bench
            .fail("write_file", write.clone())
            .await
            .contains("2 names (hard links)")
    );

    let edit = json!({"path": "hard", "old_string": "canary", "new_string": "pwned"});
    assert!(
        bench
            .fail("edit_file", edit)
            .await
            .contains("2 names (hard links)")
    );

    bench.outside_is_whole();
}

/// Even if the second name is created at the worst moment, only the name inside changes.
#[tokio::test]
async fn a_second_name_never_sees_a_change() {
    let bench = Bench::new();
    bench.put("a", "canary");

    let (a, b) = (bench.at("a"), bench.outside("other"));

    let bench = bench.on_ask(move |access| {
        if access.diff.is_some() {
            std::fs::hard_link(&a, &b).expect("a link");
        }
        true
    });
    bench.succeed("read_file", json!({"path": "a"})).await;

    let write = json!({"path": "a", "content": "pwned"});
    assert!(bench.fail("write_file", write).await.contains("2 names"));

    let other = std::fs::read_to_string(bench.outside("other")).expect("it is there");
    assert_eq!(other, "canary");
}

#[tokio::test]
async fn files_that_are_too_large_are_not_read() {
    let bench = Bench::new();
    let file = std::fs::File::create(bench.at("huge")).expect("a file");
    file.set_len(1 << 40).expect("a sparse file");

    for tool in ["read_file", "search_text"] {
        let mut arguments = json!({"path": "huge"});
        if tool == "search_text" {
            arguments["pattern"] = json!("x");
        }
        let message = bench.fail(tool, arguments).await;
        assert!(message.contains("more than the 16777216"), "{message}");
    }

    let found = bench.succeed("search_text", json!({"pattern": "x"})).await;
    assert!(text(&found).contains("1 files are binary, too large"));
}
